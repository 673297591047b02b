//! What happens, phase by phase, and what must hold in each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dns_failover::SiteId::{self, Uk, Us};
use dns_failover::decision::{Cause, Command, Effect, Note, Stay, Timestamp};
use mirror_core::{Extraneous, Filter, Policy, Report as MirrorReport, Transport};

use super::controller::{Controller, OBSERVERS, is_move};
use super::ground::Ground;
use super::host::{Ashes, Host};
use super::keys::{self, Access};
use super::names::{Names, SERVERS};
use super::post::{self, Sender};
use super::process::Process;
use super::report::{Messages, Phase, Report};
use super::sites::{self, Run};
use super::visitor::Visitors;
use super::{
    HILL, LAKE, Options, SERVICES, Sabotage, Tale, Trouble, clock, ground, observer, ssh, web,
};

/// For so long something is waited for that takes a second or two.
const PATIENCE: Duration = Duration::from_secs(15);
/// Where visitors leave something behind, below a site.
const UPLOADS: &str = "drill-uploads";

/// Everything that is at work. What ends first stands first.
struct Drill<'a> {
    options: &'a Options,
    report: &'a mut Report,
    sender: Option<Sender>,
    visitors: Option<Visitors>,
    controller: Option<Controller>,
    uk: Host,
    us: Host,
    outside: Option<Process>,
    /// Who may mirror to the UK, and to the US.
    access: BTreeMap<SiteId, Access>,
    sshd: BTreeMap<SiteId, ssh::Server>,
    names: Arc<Names>,
    exchange_key: Vec<u8>,
    marks: Vec<(Timestamp, String)>,
    fire: Timestamp,
    /// Written in the UK after the last run.
    unmirrored: Vec<String>,
    /// What must be in the site in the end, written while the US served; none for what was deleted.
    kept: BTreeMap<String, Option<String>>,
    ashes: Option<Ashes>,
    ground: Ground,
}

type Work<'a> = fn(&mut Drill<'a>) -> Result<String, Trouble>;

/// Plays all phases, and tells of each.
pub(super) fn all(options: &Options, tale: &Tale, report: &mut Report) -> Result<(), Trouble> {
    // Files of the drill are for whoever runs it, whatever the shell says.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let ground = Ground::new()?;
    let (uk, us) = (Host::new(Uk, &ground)?, Host::new(Us, &ground)?);
    let now = clock::now();
    let names = Names::start(now.as_millis().unsigned_abs() / 1000)?;
    let mut drill = Drill {
        options,
        report,
        sender: None,
        visitors: None,
        controller: None,
        uk,
        us,
        outside: None,
        access: BTreeMap::new(),
        sshd: BTreeMap::new(),
        names: Arc::new(names),
        exchange_key: Vec::new(),
        marks: Vec::new(),
        fire: now,
        unmirrored: Vec::new(),
        kept: BTreeMap::new(),
        ashes: None,
        ground,
    };
    let phases: [(&'static str, Work<'_>); 9] = [
        ("keys", Drill::keys),
        ("mirror", Drill::mirror),
        ("publish", Drill::publish),
        ("mail", Drill::mail),
        ("fire", Drill::burn),
        ("failover", Drill::failover),
        ("life", Drill::life),
        ("return", Drill::come_back),
        ("fail-back", Drill::fail_back),
    ];
    for (name, work) in phases {
        tale.say(name, "…");
        let begun = clock::now();
        let done = work(&mut drill).and_then(|told| drill.check().map(|()| told));
        let seconds = clock::seconds(begun, clock::now());
        drill.report.phases.push(Phase { name, seconds });
        match done {
            Ok(told) => tale.say(name, told),
            Err(trouble) => {
                tale.say(name, format_args!("failed: {trouble}"));
                return Err(Trouble::new(format!("{name}: {trouble}")));
            }
        }
    }
    drill.finish()
}

impl Drill<'_> {
    /// Whether everything that should run does.
    fn check(&mut self) -> Result<(), Trouble> {
        self.uk.check()?;
        self.us.check()?;
        self.outside.as_mut().map_or(Ok(()), Process::check)?;
        self.controller.as_ref().map_or(Ok(()), Controller::check)
    }

    /// Waits until something is so; says what is not when it takes too long.
    fn wait(
        &mut self,
        what: &str,
        is_so: impl Fn(&mut Self) -> Result<bool, Trouble>,
    ) -> Result<(), Trouble> {
        let begun = clock::now();
        while !is_so(self)? {
            self.check()?;
            if clock::now().since(begun).to_std() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                return Err(Trouble::new(format!("after {seconds} s {what}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn mark(&mut self, what: impl Into<String>) {
        self.marks.push((clock::now(), what.into()));
    }

    fn host(&mut self, site: SiteId) -> &mut Host {
        match site {
            Uk => &mut self.uk,
            Us => &mut self.us,
        }
    }

    fn keys(&mut self) -> Result<String, Trouble> {
        self.exchange_key = fresh_key()?;
        fs::write(self.ground.path("exchange-key"), &self.exchange_key)
            .map_err(|error| Trouble::at("cannot write", self.ground.folder(), &error))?;
        for to in [Us, Uk] {
            self.let_in(to)?;
        }
        let prints: Vec<&str> = self.access.values().map(|one| one.fingerprint.as_str()).collect();
        Ok(format!(
            "two made, each let in for one command; sshd's StrictModes has nothing against them: {}",
            prints.join(" ")
        ))
    }

    /// Lets the other host's key into a host, and audits that.
    fn let_in(&mut self, to: SiteId) -> Result<(), Trouble> {
        let (here, there) = match to {
            Us => (&self.uk, &self.us),
            Uk => (&self.us, &self.uk),
        };
        let program = std::env::current_exe();
        let program = program.map_err(|error| Trouble::new(format!("who am I? {error}")))?;
        let command = format!("'{}' host-agent '{}'", program.display(), there.data().display());
        let access = keys::provide(&here.folder, &there.folder, &command)?;
        keys::audit(&access)?;
        if self.options.ssh {
            let name = format!("sshd in the {to}");
            let (server, process) = ssh::start(&name, &there.folder, there.logs(), &access)?;
            self.sshd.insert(to, server);
            self.host(to).add(process);
        }
        self.access.insert(to, access);
        Ok(())
    }

    /// A mirror run from one host to the other, of a place in their data.
    fn mirror_run(
        &self,
        from: &Host,
        to: &Host,
        place: &Path,
        rules: (Policy, Filter),
        state: Option<&Path>,
    ) -> Result<MirrorReport, Trouble> {
        let reach = |data: &Path| -> Result<Transport, Trouble> {
            match (self.sshd.get(&to.site), self.access.get(&to.site)) {
                (Some(server), Some(access)) => server.reach(access),
                _ => sites::agent(data),
            }
        };
        let (from, data) = (from.data().join(place), to.data());
        let (policy, filter) = rules;
        Run { from: &from, to: (&data, place), policy, filter, state }.carry_out(&reach)
    }

    /// The daily run of the site whose primary is the UK. Its base is one of both directions, which is
    /// what a fail-back needs; while nobody writes in the US that is the same as a mirror.
    fn daily_run(&self) -> Result<MirrorReport, Trouble> {
        let state = self.uk.state(HILL);
        let rules = (Policy::both_ways(), Filter::default());
        self.mirror_run(&self.uk, &self.us, &www(HILL), rules, Some(&state))
    }

    /// That of the site whose primary is the US.
    fn daily_run_of_lake(&self) -> Result<MirrorReport, Trouble> {
        let state = self.us.state(LAKE);
        let rules = (Policy::mirror(), Filter::default());
        self.mirror_run(&self.us, &self.uk, &www(LAKE), rules, Some(&state))
    }

    fn mirror(&mut self) -> Result<String, Trouble> {
        let (hill, lake) = (self.uk.tree(HILL), self.us.tree(LAKE));
        match &self.options.site {
            Some(site) => sites::copy(site, &hill)?,
            None => sites::sample(&hill, HILL, 400)?,
        }
        sites::sample(&lake, LAKE, 40)?;
        for name in ["old.txt", "page.txt"] {
            let folder = hill.join(UPLOADS);
            fs::create_dir_all(&folder)
                .and_then(|()| fs::write(folder.join(name), "written before the last run\n"))
                .map_err(|error| Trouble::at("cannot write to", &folder, &error))?;
        }
        for (host, domain) in [(&self.us, HILL), (&self.uk, LAKE)] {
            let tree = host.tree(domain);
            fs::create_dir_all(&tree)
                .map_err(|error| Trouble::at("cannot make a folder at", &tree, &error))?;
        }
        self.report.files.total = sites::count(&hill)? + sites::count(&lake)?;
        if self.options.sabotage == Some(Sabotage::SkipMirror) {
            return Ok("skipped".to_owned());
        }
        let runs = [self.daily_run()?, self.daily_run_of_lake()?];
        self.mark("the last mirror run is over");
        let bytes = runs.iter().map(|run| run.bytes_copied).sum();
        Ok(format!(
            "{} files of {HILL} (UK to US) and {LAKE} (US to UK), {}, through an agent{}",
            self.report.files.total,
            crate::outcome::bytes(bytes),
            if self.options.ssh { " behind sshd" } else { "" },
        ))
    }

    fn publish(&mut self) -> Result<String, Trouble> {
        self.uk.start_web()?;
        self.us.start_web()?;
        self.names.publish_all()?;
        let everyone: Vec<usize> = (0..SERVERS).collect();
        for (_, domain, primary) in SERVICES {
            self.names.check(&everyone, domain, primary)?;
        }
        let journal = match &self.options.report {
            Some(folder) => folder.join("journal"),
            None => self.ground.path("journal"),
        };
        // That of an earlier drill.
        let _ = fs::remove_dir_all(&journal);
        let mute = self.options.sabotage == Some(Sabotage::SkipPublish);
        let controller =
            Controller::start(&self.names.topology, &journal, &self.exchange_key, mute)?;
        self.controller = Some(controller);
        self.start_observer(Some(Uk))?;
        self.start_observer(Some(Us))?;
        self.start_observer(None)?;
        let visitors = Visitors::start(&self.names, [self.uk.web, self.us.web]);
        self.visitors = Some(visitors);
        self.wait("not all sites are seen as up", |drill| Ok(drill.all_up()))?;
        let everyone = everyone.len();
        Ok(format!("two zones are the same on all {everyone} name servers, over UDP and TCP"))
    }

    fn all_up(&self) -> bool {
        self.controller.as_ref().is_some_and(Controller::all_up)
    }

    /// The observer that stands in a site, or outside.
    fn start_observer(&mut self, site: Option<SiteId>) -> Result<(), Trouble> {
        let Some((name, ..)) = OBSERVERS.into_iter().find(|(.., stands)| *stands == site) else {
            return Ok(());
        };
        let Some(controller) = &self.controller else { return Ok(()) };
        let mut arguments = vec!["host-observer".into(), name.into()];
        arguments.push(controller.address().to_string().into());
        arguments.push(self.ground.path("exchange-key").into());
        // A name server in a third place, where no site stands.
        let elsewhere = self.names.elsewhere();
        arguments.push(elsewhere.to_string().into());
        for (service, domain, _) in SERVICES {
            for host in [&self.uk, &self.us] {
                let target = observer::target(service, domain, host.site.as_str(), host.web);
                arguments.push(target.into());
            }
        }
        match site {
            Some(site) => self.host(site).start_observer(arguments),
            None => {
                let logs = self.us.logs();
                self.outside = Some(Process::start("observer outside", logs, arguments)?);
                Ok(())
            }
        }
    }

    fn mail(&mut self) -> Result<String, Trouble> {
        let both = self.options.sabotage != Some(Sabotage::DropLeg);
        let (uk, us) = (self.uk.office.clone(), self.us.office.clone());
        self.uk.start_relay(&us, both)?;
        self.us.start_relay(&uk, both)?;
        let drill = format!("{:08x}", ground::random()? as u32);
        self.sender = Some(Sender::start([uk.smtp, us.smtp], &drill));
        self.wait("not even 20 messages were acknowledged", |drill| {
            Ok(drill.acknowledged_since(Timestamp::default()) >= 20)
        })?;
        Ok("it comes in all the time, at both servers in turn, and goes to both accounts"
            .to_owned())
    }

    fn acknowledged_since(&self, instant: Timestamp) -> usize {
        self.sender.as_ref().map_or(0, |sender| sender.since(instant))
    }

    fn burn(&mut self) -> Result<String, Trouble> {
        for number in 1..=3 {
            let path = format!("{UPLOADS}/late-{number}.txt");
            self.put(&path, "written after the last run\n")?;
            self.unmirrored.push(path);
        }
        self.report.files.written_since_last_run = self.unmirrored.len() as u64;
        self.compare(true)?;
        self.fire = clock::now();
        self.names.silence(Uk);
        let processes = self.uk.kill();
        let what = if self.options.outage {
            "outage in the UK"
        } else {
            self.ashes = Some(self.uk.burn(&self.ground)?);
            "fire in the UK"
        };
        self.marks.push((self.fire, what.to_owned()));
        Ok(format!(
            "{what}: {processes} processes killed, 2 name servers silent, {}",
            if self.options.outage { "the disk stays" } else { "the disk is gone" }
        ))
    }

    /// Holds both copies of both sites against each other. While the UK is written to, what was written
    /// there since the last run is known to differ.
    fn compare(&mut self, with_unmirrored: bool) -> Result<(), Trouble> {
        let mut known: BTreeSet<PathBuf> = BTreeSet::new();
        if with_unmirrored {
            // The folder has another time then.
            known.insert(UPLOADS.into());
            known.extend(self.unmirrored.iter().map(PathBuf::from));
        }
        let mut first = None;
        let mut different: BTreeSet<(&str, PathBuf)> = BTreeSet::new();
        for (domain, primary) in [(HILL, Uk), (LAKE, Us)] {
            let [uk, us] = [self.uk.tree(domain), self.us.tree(domain)];
            let trees = if primary == Uk { [&uk, &us] } else { [&us, &uk] };
            for difference in sites::compare(trees[0], trees[1])? {
                let path = sites::path_of(&difference);
                if domain == LAKE || !known.contains(&path) {
                    // The root's own time follows from what is missing in it.
                    if first.is_none()
                        || different.iter().all(|(_, path)| path.as_os_str().is_empty())
                    {
                        first = Some(format!("{domain}: {difference}"));
                    }
                    different.insert((domain, path));
                }
            }
        }
        self.report.files.different = different.len() as u64;
        match first {
            None => Ok(()),
            Some(first) => Err(Trouble::new(format!(
                "{} paths differ between the two servers that must not; the first is {first}",
                different.len()
            ))),
        }
    }

    /// Writes to the site as a visitor: by the name, over HTTP.
    fn put(&self, path: &str, content: &str) -> Result<(), Trouble> {
        self.visit("PUT", path, content.as_bytes()).map(drop)
    }

    fn visit(&self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, Trouble> {
        let failed = |why: String| Trouble::new(format!("a visitor's {method} of {path}: {why}"));
        // A resolver asks the next server when one does not answer.
        let site = (0..SERVERS).rev().find_map(|server| self.names.resolve(server, HILL));
        let site = site.ok_or_else(|| failed("no name server answers".to_owned()))?;
        let server = if site == Uk { self.uk.web } else { self.us.web };
        let answer = web::ask(server, method, HILL, &format!("/{path}"), body);
        match answer.map_err(|error| failed(error.to_string()))? {
            (200 | 201, body) => Ok(body),
            (status, _) => Err(failed(format!("the {site} answers {status}"))),
        }
    }

    fn failover(&mut self) -> Result<String, Trouble> {
        let surviving = self.names.surviving(Uk);
        let arrived = |drill: &mut Self| {
            let visitors = drill.visitors.as_ref();
            Ok(surviving.iter().all(|server| {
                let look = visitors.and_then(|visitors| visitors.last(*server));
                look.is_some_and(|look| look.sent_to == Some(Us) && look.page)
            }))
        };
        if let Err(trouble) = self.wait("visitors are not all served by the US", arrived) {
            // The reason is a better sentence than the wait.
            self.names.check(&surviving, HILL, Us)?;
            return Err(trouble);
        }
        self.wait(
            "no mail was acknowledged",
            |drill| Ok(drill.acknowledged_since(drill.fire) > 0),
        )?;
        self.names.check(&surviving, HILL, Us)?;
        self.names.check(&surviving, LAKE, Us)?;
        self.recovered(&surviving);
        let decision = self.controller.as_ref().and_then(|all| all.decisions().into_iter().next());
        let Some(decision) = decision else {
            return Err(Trouble::new("visitors are served by the US, and nobody decided that"));
        };
        Ok(decision.to_string())
    }

    /// Takes the times from what visitors and the sender noted.
    fn recovered(&mut self, surviving: &[usize]) {
        let fire = self.fire;
        let Some(visitors) = &self.visitors else { return };
        let latest = |like: &dyn Fn(super::visitor::Look) -> bool| {
            let firsts: Option<Vec<Timestamp>> =
                surviving.iter().map(|server| visitors.first_after(*server, fire, like)).collect();
            firsts?.into_iter().max()
        };
        let names = latest(&|look| look.sent_to == Some(Us));
        let pages = latest(&|look| look.sent_to == Some(Us) && look.page);
        let sent = self.sender.as_ref().map(Sender::sent).unwrap_or_default();
        let mail = sent.iter().map(|sent| sent.at).find(|at| *at > fire);
        let seconds = |at: Option<Timestamp>| at.map(|at| clock::seconds(fire, at));
        let recovery = &mut self.report.recovery;
        recovery.dns_seconds = seconds(names);
        recovery.web_seconds = seconds(pages);
        recovery.mail_seconds = seconds(mail);
        for (at, what) in [
            (mail, "the first message after it is acknowledged"),
            (names, "all surviving name servers send visitors to the US"),
            (pages, "pages come from the US for all of them"),
        ] {
            self.marks.extend(at.map(|at| (at, what.to_owned())));
        }
    }

    fn life(&mut self) -> Result<String, Trouble> {
        for number in 1..=5 {
            self.write_in_us(&format!("us-{number}.txt"), "written in the US\n")?;
        }
        self.write_in_us("us-1.txt", "written in the US, and again\n")?;
        self.write_in_us("page.txt", "changed in the US\n")?;
        let old = format!("{UPLOADS}/old.txt");
        self.visit("DELETE", &old, b"")?;
        self.kept.insert(old, None);
        self.report.files.written_in_the_us = self.kept.len() as u64;
        let begun = clock::now();
        self.wait("the US does not take 20 messages", |drill| {
            Ok(drill.acknowledged_since(begun) >= 20)
        })?;
        Ok(format!("{} files are written, changed and deleted; mail goes on", self.kept.len()))
    }

    fn write_in_us(&mut self, name: &str, content: &str) -> Result<(), Trouble> {
        let path = format!("{UPLOADS}/{name}");
        self.put(&path, content)?;
        self.kept.insert(path, Some(content.to_owned()));
        Ok(())
    }

    fn come_back(&mut self) -> Result<String, Trouble> {
        let refilled = match self.options.outage {
            true => None,
            false => Some(self.refill()?),
        };
        if self.options.outage && self.options.ssh {
            self.let_in(Uk)?;
        }
        self.names.wake(Uk, !self.options.outage);
        self.mark("the UK is back");
        let us = self.us.office.clone();
        let both = self.options.sabotage != Some(Sabotage::DropLeg);
        self.uk.start_relay(&us, both)?;
        self.uk.start_web()?;
        self.start_observer(Some(Uk))?;
        us.flush()?;
        self.wait("the UK is not seen as up", |drill| Ok(drill.all_up()))?;
        Ok(match refilled {
            Some((files, messages)) => format!(
                "a new and empty UK: {files} entries of sites and {messages} messages came from the US"
            ),
            None => "the UK is there again, with its disk".to_owned(),
        })
    }

    /// Fills an empty UK from the US: sites, and of the account what is not on its way by mail anyway.
    /// Gives how many entries of sites and how many messages.
    fn refill(&mut self) -> Result<(u64, u64), Trouble> {
        self.uk.format()?;
        for to in [Us, Uk] {
            self.let_in(to)?;
        }
        let mut entries = 0;
        for domain in [HILL, LAKE] {
            let rules = (Policy::mirror(), Filter::default());
            entries +=
                self.mirror_run(&self.us, &self.uk, &www(domain), rules, None)?.counts.created;
        }
        // In this order: what comes in after the first look is not copied, and what is queued at the
        // second will be delivered. The relay in the UK does not run, so nothing leaves the queue.
        let files = self.us.office.files()?;
        let queued = self.us.office.queue()?;
        let mut filter = Filter::builder();
        filter.exclude("new/*").exclude("cur/*").exclude("tmp/*");
        let mut messages = 0;
        for (path, id) in files {
            if id.is_some_and(|id| queued.contains(&id)) {
                continue;
            }
            let parts = (path.parent().and_then(Path::file_name), path.file_name());
            if let (Some(folder), Some(name)) = parts {
                let (folder, name) = (folder.to_string_lossy(), name.to_string_lossy());
                filter.include(&format!("{folder}/{name}"));
                messages += 1;
            }
        }
        let filter = filter.build().map_err(|error| Trouble::new(error.to_string()))?;
        let policy = Policy { extraneous: Extraneous::Keep, ..Policy::mirror() };
        let maildir = self.us.office.maildir();
        let data = self.us.data();
        let place = maildir.strip_prefix(&data).unwrap_or(&maildir).to_owned();
        let into = self.uk.office.maildir();
        fs::create_dir_all(&into)
            .map_err(|error| Trouble::at("cannot make a folder at", &into, &error))?;
        self.mirror_run(&self.us, &self.uk, &place, (policy, filter), None)?;
        Ok((entries, messages))
    }

    fn fail_back(&mut self) -> Result<String, Trouble> {
        // What was written in the US meanwhile goes back before visitors do.
        if self.options.outage {
            self.daily_run()?;
        } else {
            let rules = (Policy::mirror(), Filter::default());
            self.mirror_run(&self.us, &self.uk, &www(HILL), rules, None)?;
        }
        self.daily_run_of_lake()?;
        self.compare(false)?;
        self.wait("the controller does not see that the UK is back", |drill| {
            let Some(controller) = &drill.controller else { return Ok(false) };
            let stays = controller.stay(SERVICES[0].0) == Some(Stay::FailBackIsManual);
            Ok(stays && controller.is_everywhere())
        })?;
        let bad = |error| Trouble::new(format!("{error}"));
        let order = Command::Move {
            service: SERVICES[0].0.parse().map_err(bad)?,
            site: Uk.as_str().parse().map_err(bad)?,
            who: "the drill".to_owned(),
            why: "the UK is level again".to_owned(),
        };
        if let Some(controller) = &self.controller {
            controller.order(&order)?;
        }
        self.wait("visitors are not all served by the UK", |drill| {
            let visitors = drill.visitors.as_ref();
            Ok((0..SERVERS).all(|server| {
                let look = visitors.and_then(|visitors| visitors.last(server));
                look.is_some_and(|look| look.sent_to == Some(Uk) && look.page)
            }))
        })?;
        self.mark("all six name servers send visitors to the UK again");
        self.wait("the journal does not say that all name servers know", |drill| {
            Ok(drill.controller.as_ref().is_some_and(Controller::is_everywhere))
        })?;
        let back = format!("{UPLOADS}/back.txt");
        self.put(&back, "written in the UK again\n")?;
        self.kept.insert(back, Some("written in the UK again\n".to_owned()));
        self.daily_run()?;
        let sent = self.sender.as_mut().map(Sender::stop).unwrap_or_default();
        self.wait("the queues of the relays are not empty", |drill| {
            let offices = [&drill.uk.office, &drill.us.office];
            for office in offices {
                office.flush()?;
            }
            Ok(offices.into_iter().map(|office| office.queued()).sum::<Result<usize, _>>()? == 0)
        })?;
        Ok(format!(
            "visitors are back in the UK, {} messages in all, the queues are empty",
            sent.len()
        ))
    }

    /// Checks, once all is quiet, everything that the table says.
    fn finish(mut self) -> Result<(), Trouble> {
        let sent = self.sender.take().map(|mut sender| sender.stop()).unwrap_or_default();
        let everyone: Vec<usize> = (0..SERVERS).collect();
        for (_, domain, primary) in SERVICES {
            if let Err(trouble) = self.names.check(&everyone, domain, primary) {
                self.report.fail(trouble.0);
            }
        }
        if let Err(trouble) = self.compare(false) {
            self.report.fail(trouble.0);
        }
        self.check_pages();
        if self.options.sabotage == Some(Sabotage::LoseMessage) {
            post::lose_one(&sent, [&self.uk.office, &self.us.office])?;
        }
        let tally = post::tally(&sent, &self.uk.office, &self.us.office)?;
        self.report.messages = Messages {
            sent: tally.sent,
            uk: tally.uk,
            us: tally.us,
            lost: tally.lost,
            doubled: tally.doubled,
            repeated: tally.repeated,
        };
        tally.faults.into_iter().for_each(|fault| self.report.fail(fault));
        self.check_journal()?;
        self.report.draw(std::mem::take(&mut self.marks), self.fire);
        Ok(())
    }

    /// What was written is there, or is not, as it must be.
    fn check_pages(&mut self) {
        let mut faults = Vec::new();
        let read = |path: &str| fs::read_to_string(self.uk.tree(HILL).join(path)).ok();
        for (path, content) in &self.kept {
            if read(path) != *content {
                let is =
                    if content.is_some() { "is not there as it was written" } else { "is back" };
                faults.push(format!("{path} {is}, though that was while the US served"));
            }
        }
        let gone = self.unmirrored.iter().filter(|path| read(path).is_none()).count() as u64;
        self.report.files.lost = gone;
        if self.options.outage && gone > 0 {
            faults.push(format!("{gone} files written before the outage are gone"));
        }
        faults.into_iter().for_each(|fault| self.report.fail(fault));
    }

    /// Takes decisions and their times from the journal, which must lead to them again, and holds what
    /// was measured against it.
    fn check_journal(&mut self) -> Result<(), Trouble> {
        let Some(controller) = self.controller.take() else { return Ok(()) };
        let decided = controller.decisions();
        let history = controller.finish(self.options.report.as_deref())?;
        let mut told = Vec::new();
        for (at, effect) in history {
            match effect {
                Effect::Decided(decision) if is_move(&decision) => {
                    self.marks.push((at, format!("journal: {decision}")));
                    told.push(decision);
                }
                Effect::Noted(note @ Note::Everywhere { .. }) => {
                    self.marks.push((at, format!("journal: {note}")));
                }
                _ => {}
            }
        }
        if told != decided {
            self.report.fail("the journal tells of other decisions than were made");
        }
        let failover = told.iter().find(|decision| decision.cause == Cause::Failover);
        let Some(failover) = failover else {
            self.report.fail("the journal tells of no failover");
            return Ok(());
        };
        let detection = clock::seconds(self.fire, failover.at);
        let names = self.report.recovery.dns_seconds;
        self.report.recovery.detection_seconds = Some(detection);
        if failover.at < self.fire || names.is_some_and(|names| names < detection) {
            self.report.fail("by the journal, names changed before that was decided");
        }
        let moves = told.len();
        if moves != 2 {
            self.report.fail(format!("{moves} moves were decided, not one away and one back"));
        }
        Ok(())
    }
}

/// A domain's site within a host's data.
fn www(domain: &str) -> PathBuf {
    Path::new("www").join(domain)
}

/// A secret in letters and digits, as files of keys hold them.
fn fresh_key() -> Result<Vec<u8>, Trouble> {
    let mut text = String::new();
    for _ in 0..4 {
        text.push_str(&format!("{:016x}", ground::random()?));
    }
    Ok(text.into_bytes())
}
