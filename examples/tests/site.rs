//! `site`, and every other program, on one `network.toml`: the example, with folders of this machine.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
#[cfg(feature = "ssh")]
use support::Server;
use support::relay::{Relay, subjects, until};
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../network.toml");

/// Both servers' folders, and the file that tells of them.
struct Ground {
    folder: TempDir,
    config: PathBuf,
}

impl Ground {
    /// `edit` changes the example beyond what makes it one of this machine.
    fn new(edit: impl FnOnce(String) -> String) -> Ground {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("keys")).unwrap();
        for number in 1..=6 {
            let secret = "A".repeat(43) + "=";
            let key =
                format!("key \"ns{number}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n");
            let file = at(&format!("keys/ns{number}.key"));
            fs::write(&file, key).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut text = String::new();
        for line in EXAMPLE.lines() {
            // One machine needs no way to the other one.
            let of_ssh = ["ssh = ", "host-keys = ", "agent = ", "identity = ", "known-hosts = "];
            if !of_ssh.iter().any(|key| line.starts_with(key)) {
                text += line;
                text.push('\n');
            }
        }
        let home = folder.path().display().to_string();
        let text = text
            .replace("\"/srv/www\"", &format!("\"{home}/uk\""))
            .replace("\"/var/www\"", &format!("\"{home}/us\""))
            .replace("\"/var/lib/site\"", &format!("\"{home}/state\""))
            .replace("\"/var/lib/dns-failover\"", &format!("\"{home}/journal\""))
            .replace("/home/mirror/.ssh", &format!("{home}/.ssh"));
        let config = at("network.toml");
        fs::write(&config, edit(text)).unwrap();
        let ground = Ground { config, folder };
        for (file, content) in [
            ("uk/customer.example/index.html", "welcome"),
            ("uk/customer.example/debug.log", "left out"),
            ("uk/customer.example/keep.log", "taken after all"),
            ("us/parked.example/index.html", "parked"),
            ("us/internal/wiki/start", "a wiki"),
        ] {
            ground.write(file, content);
        }
        ground
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.at(name)).ok()
    }

    fn site(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_site"));
        command.args(words).args(["--here", "uk"]).arg(&self.config).output().unwrap()
    }

    /// The same on the other server, which keeps a state of its own.
    fn site_in_us(&self, words: &[&str]) -> Output {
        let text = fs::read_to_string(&self.config).unwrap();
        let config = self.at("network-us.toml");
        let state = self.at("state").display().to_string();
        let text = text.replace(&format!("\"{state}\""), &format!("\"{state}-us\""));
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_site"));
        command.args(words).args(["--here", "us"]).arg(config).output().unwrap()
    }

    /// Its outcome and its object.
    #[track_caller]
    fn told(&self, words: &[&str], code: i32) -> Value {
        let output = self.site(&[words, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["format"], 1);
        value
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn all_sites_are_mirrored_each_in_its_direction() {
    let ground = Ground::new(|text| text);
    let never = ground.site(&["status"]);
    assert_eq!(never.status.code(), Some(3), "{}", said(&never));
    assert!(said(&never).contains("customer.example  served by uk; never mirrored"));

    let run = ground.site(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    assert!(said(&run).contains("customer.example  uk to us  2 created"), "{}", said(&run));
    assert!(said(&run).contains("intranet          us to uk  1 created"), "{}", said(&run));
    assert_eq!(ground.read("us/customer.example/index.html").unwrap(), "welcome");
    assert_eq!(ground.read("us/customer.example/keep.log").unwrap(), "taken after all");
    assert_eq!(ground.read("us/customer.example/debug.log"), None, "an exception");
    assert_eq!(ground.read("uk/internal/wiki/start").unwrap(), "a wiki");
    assert_eq!(ground.read("uk/parked.example/index.html").unwrap(), "parked");

    let again = ground.told(&["run"], 0);
    assert_eq!((&again["outcome"], &again["files"]["created"]), (&"done".into(), &0.into()));
    assert_eq!(again["sites"].as_array().unwrap().len(), 3);
    assert_eq!(again["sites"][0]["from"], "us", "lanes go by their disks' names");
    let status = ground.told(&["status"], 0);
    assert_eq!(status["sites"][0]["last"]["outcome"], "done");
    let fits = ground.told(&["fits"], 0);
    assert!(fits["disks"].as_array().unwrap().iter().all(|disk| disk["fits"] == true), "{fits:#}");

    // One alone.
    ground.write("uk/customer.example/new.html", "new");
    ground.write("us/internal/wiki/new", "new");
    let mut command = Command::new(env!("CARGO_BIN_EXE_site"));
    command.args(["run", "--here", "uk"]).arg(&ground.config).arg("intranet");
    assert!(command.status().unwrap().success());
    assert_eq!(ground.read("uk/internal/wiki/new").unwrap(), "new");
    assert_eq!(ground.read("us/customer.example/new.html"), None);
    let unknown = command.arg("nowhere").output().unwrap();
    assert_eq!(unknown.status.code(), Some(1), "{}", said(&unknown));
    assert!(said(&unknown).contains("there is no site nowhere; there are customer.example"));
}

#[test]
fn two_runs_never_meet_and_a_hook_hears_of_each() {
    let ground = Ground::new(|text| {
        let hook = "after-run = [\"/bin/sh\", \"-c\", \"cat > \\\"$1\\\"; echo $SITE_OUTCOME >> \\\"$1\\\"\", \"hook\", \"HEARD\"]";
        text.replace("# after-run = [\"/usr/local/bin/after-run\"]", hook)
    });
    let heard = ground.at("heard").display().to_string();
    let text = fs::read_to_string(&ground.config).unwrap().replace("HEARD", &heard);
    fs::write(&ground.config, text).unwrap();
    fs::create_dir(ground.at("state")).unwrap();
    let lock = File::create(ground.at("state/lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    for command in [&["run"][..], &["fits"], &["failover", "--to", "us"]] {
        let refused = ground.site(command);
        assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
        assert!(said(&refused).contains("another run of site is at work"), "{}", said(&refused));
    }
    assert_eq!((ground.read("heard"), ground.at("us/customer.example").exists()), (None, false));
    drop(lock);
    assert_eq!(ground.site(&["run", "--quiet"]).status.code(), Some(0));
    let heard = ground.read("heard").unwrap();
    let (report, outcome) = heard.split_once('\n').unwrap();
    let report: Value = serde_json::from_str(report).unwrap();
    assert_eq!((outcome, &report["files"]["created"]), ("done\n", &4.into()), "{heard}");

    let text = fs::read_to_string(&ground.config).unwrap().replace("cat >", "exit 7; cat >");
    fs::write(&ground.config, text).unwrap();
    let run = ground.site(&["run"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("after the run: /bin/sh ended with exit status: 7"));
}

#[test]
fn a_failover_turns_the_direction_and_a_disk_that_burned_is_refilled() {
    let ground = Ground::new(|text| text);
    assert_eq!(ground.site(&["run"]).status.code(), Some(0));
    let moved = ground.told(&["failover", "--to", "us"], 0);
    let of = |value: &Value, name: &str| {
        let sites = value["sites"].as_array().unwrap();
        sites.iter().find(|site| site["name"] == name).unwrap().clone()
    };
    assert_eq!(of(&moved, "customer.example")["epoch"], 2);
    assert_eq!(of(&moved, "intranet")["changed"], false);
    for server in ["uk", "us"] {
        assert!(ground.at(server).join(".sites/customer.example.2.us").exists(), "{server}");
    }
    let status = said(&ground.site(&["status"]));
    assert!(
        status.contains("customer.example  served by us in place of uk (failover 2)"),
        "{status}"
    );

    // An outage: both were written to. The customer's site goes both ways.
    ground.write("us/customer.example/order-1", "taken in the US");
    ground.write("uk/customer.example/late", "written in the UK before it was away");
    let run = ground.told(&["run"], 0);
    assert_eq!(of(&run, "customer.example")["from"], "us");
    assert_eq!(ground.read("uk/customer.example/order-1").unwrap(), "taken in the US");
    assert_eq!(
        ground.read("us/customer.example/late").unwrap(),
        "written in the UK before it was away"
    );

    // A fire: the UK comes back empty.
    fs::remove_dir_all(ground.at("uk")).unwrap();
    let unmounted = ground.told(&["run"], 1);
    let why = unmounted["sites"][0]["error"].as_str().unwrap();
    assert!(why.contains("uk is not there: is a disk not mounted?"), "{why}");
    assert!(!ground.at("uk").exists());
    fs::create_dir(ground.at("uk")).unwrap();
    fs::rename(ground.at("us"), ground.at("elsewhere")).unwrap();
    let unmounted = ground.told(&["run"], 1);
    let why = unmounted["sites"][0]["error"].as_str().unwrap();
    assert!(why.contains("us") && why.contains("nothing was changed"), "{why}");
    assert!(!ground.at("us").exists());
    fs::rename(ground.at("elsewhere"), ground.at("us")).unwrap();
    let run = ground.told(&["run"], 0);
    assert_eq!(of(&run, "customer.example")["from"], "us", "{run:#}");
    assert_eq!(ground.read("uk/customer.example/order-1").unwrap(), "taken in the US");
    assert_eq!(ground.read("us/customer.example/order-1").unwrap(), "taken in the US");
    assert_eq!(ground.read("uk/internal/wiki/start").unwrap(), "a wiki");
    let back = ground.told(&["failover", "--to", "uk"], 0);
    assert_eq!(of(&back, "customer.example")["epoch"], 3);
    ground.write("uk/customer.example/back", "in the UK again");
    let run = ground.told(&["run"], 0);
    assert_eq!(of(&run, "customer.example")["from"], "uk");
    assert_eq!(ground.read("us/customer.example/back").unwrap(), "in the UK again");

    // An empty tree that serves empties nobody.
    for name in ["index.html", "debug.log", "keep.log", "order-1", "late", "back"] {
        // Exceptions did not survive the fire.
        let _ = fs::remove_file(ground.at("uk/customer.example").join(name));
    }
    assert_eq!(fs::read_dir(ground.at("uk/customer.example")).unwrap().count(), 0);
    let run = ground.told(&["run"], 3);
    assert_eq!(of(&run, "customer.example")["outcome"], "refused", "{run:#}");
    assert_eq!(ground.read("us/customer.example/back").unwrap(), "in the UK again");
}

#[test]
fn a_refill_that_stops_half_way_deletes_nothing_where_it_came_from() {
    let ground = Ground::new(|text| text);
    ground.write("uk/customer.example/large", &"x".repeat(2_000_000));
    assert_eq!(ground.site(&["run"]).status.code(), Some(0));
    // The folder stays, and with it the inode that what is remembered is about.
    for name in ["index.html", "keep.log", "large"] {
        fs::remove_file(ground.at("us/customer.example").join(name)).unwrap();
    }
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "sh"]);
    limited.arg(env!("CARGO_BIN_EXE_site")).args(["run", "--here", "uk"]).arg(&ground.config);
    let limited = limited.output().unwrap();
    assert_ne!(limited.status.code(), Some(0), "{}", said(&limited));
    assert_eq!(ground.read("us/customer.example/index.html").unwrap(), "welcome");
    assert_eq!(ground.read("us/customer.example/large"), None);
    let run = ground.site(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    for server in ["uk", "us"] {
        let large = ground.read(&format!("{server}/customer.example/large"));
        assert_eq!(large.map(|text| text.len()), Some(2_000_000), "{server}");
    }
}

#[test]
fn a_site_that_moves_while_a_run_is_under_way_is_left_alone() {
    let ground = Ground::new(|text| text);
    assert_eq!(ground.site(&["run"]).status.code(), Some(0));
    assert_eq!(ground.site_in_us(&["run"]).status.code(), Some(0));
    // It comes before the intranet on the same disk, and takes seconds.
    for number in 0..12_000 {
        ground.write(&format!("us/parked.example/new/{number}"), "new");
    }
    ground.write("us/internal/wiki/start", "a wiki, as the US has it");
    let mut run = Command::new(env!("CARGO_BIN_EXE_site"));
    run.args(["run", "--json", "--here", "uk"]).arg(&ground.config);
    let run = run.stdout(std::process::Stdio::piped()).spawn().unwrap();
    until("the run is at work", || ground.at("uk/parked.example/new").exists());
    let moved = ground.site_in_us(&["failover", "--to", "uk"]);
    assert_eq!(moved.status.code(), Some(0), "{}", said(&moved));
    ground.write("uk/internal/wiki/start", "a wiki, written where it is served now");
    let run = run.wait_with_output().unwrap();
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();
    let intranet = told["sites"].as_array().unwrap().iter().find(|site| site["name"] == "intranet");
    let why = intranet.unwrap()["error"].as_str().unwrap();
    assert!(why.contains("served by uk since failover 2"), "{why}");
    assert_eq!(
        ground.read("uk/internal/wiki/start").unwrap(),
        "a wiki, written where it is served now"
    );
}

#[test]
fn an_old_primary_that_comes_back_pushes_nothing() {
    let ground = Ground::new(|text| text);
    assert_eq!(ground.site_in_us(&["run"]).status.code(), Some(0));
    assert_eq!(ground.site(&["run"]).status.code(), Some(0));
    assert_eq!(ground.site_in_us(&["failover", "--to", "us"]).status.code(), Some(0));
    assert_eq!(ground.site(&["run"]).status.code(), Some(0));
    // The link goes; the UK thinks that it serves again, and burns before it can tell.
    let (www, away) = (ground.at("us"), ground.at("us-away"));
    fs::rename(&www, &away).unwrap();
    assert_eq!(ground.site(&["failover", "--to", "uk"]).status.code(), Some(3));
    fs::rename(&away, &www).unwrap();
    let (www, away) = (ground.at("uk"), ground.at("uk-away"));
    fs::rename(&www, &away).unwrap();
    for _ in 0..2 {
        assert_eq!(ground.site_in_us(&["failover", "--to", "us"]).status.code(), Some(3));
    }
    ground.write("us/parked.example/index.html", "written in the US meanwhile");
    fs::rename(&away, &www).unwrap();
    let run = ground.site(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    assert!(said(&run).contains("customer.example  us to uk"), "{}", said(&run));
    assert_eq!(ground.read("uk/parked.example/index.html").unwrap(), "written in the US meanwhile");
}

#[test]
fn whoever_serves_is_changed_by_an_order_alone() {
    let ground = Ground::new(|text| text);
    assert_eq!(ground.site(&["run"]).status.code(), Some(0));
    ground.write("us/internal/wiki/start", "newer");
    let text = fs::read_to_string(&ground.config).unwrap();
    fs::write(
        &ground.config,
        text.replace(
            "primary = \"us\"\nfolder = \"internal/wiki\"",
            "primary = \"uk\"\nfolder = \"internal/wiki\"",
        ),
    )
    .unwrap();
    let run = ground.site(&["run"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(
        said(&run).contains("intranet was served by us so far, and the configuration says uk"),
        "{}",
        said(&run)
    );
    assert_eq!(ground.read("us/internal/wiki/start").unwrap(), "newer");

    // Nor to a copy that is not known to be whole.
    fs::write(&ground.config, text).unwrap();
    assert_eq!(ground.site(&["run"]).status.code(), Some(0));
    assert_eq!(ground.site(&["failover", "--to", "uk"]).status.code(), Some(0));
    let back = ground.site(&["failover", "--to", "us"]);
    assert_eq!(back.status.code(), Some(4), "{}", said(&back));
    assert!(said(&back).contains("us is not known to have all that uk has"), "{}", said(&back));
    assert!(!ground.at("uk/.sites/intranet.3.us").exists());
    let wanted = ground.site(&["failover", "--to", "us", "--confirm"]);
    assert_eq!(wanted.status.code(), Some(0), "{}", said(&wanted));

    // A unit that was copied from the other server.
    let mut copied = Command::new(env!("CARGO_BIN_EXE_site"));
    let copied = copied.args(["run", "--here", "us"]).arg(&ground.config).output().unwrap();
    assert_eq!(copied.status.code(), Some(4), "{}", said(&copied));
    assert!(said(&copied).contains("this machine has been uk so far, not us"), "{}", said(&copied));
}

#[test]
fn both_parted_servers_that_took_a_site_are_told_and_nothing_moves() {
    let ground = Ground::new(|text| text);
    assert_eq!(ground.site(&["run"]).status.code(), Some(0));
    for server in ["uk", "us"] {
        ground.write(&format!("{server}/.sites/intranet.2.{server}"), "");
    }
    ground.write("us/internal/wiki/start", "newer");
    let run = ground.site(&["run"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("both servers were made to serve intranet"), "{}", said(&run));
    assert_eq!(ground.read("uk/internal/wiki/start").unwrap(), "a wiki");
    assert_eq!(ground.site(&["failover", "--to", "us"]).status.code(), Some(0));
    assert_eq!(ground.site(&["run"]).status.code(), Some(0));
    assert_eq!(ground.read("uk/internal/wiki/start").unwrap(), "newer");
}

#[test]
fn the_units_are_what_systemd_takes() {
    let ground = Ground::new(|text| text);
    let shown = said(&ground.site(&["units"]));
    assert!(shown.contains("OnCalendar=daily\nPersistent=yes"), "{shown}");
    assert!(shown.contains(" run --quiet --here uk "), "{shown}");
    let out = ground.at("units");
    let written = ground.site(&["units", "--out", out.to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0), "{}", said(&written));
    let every_minute = Ground::new(|text| text.replace("every = \"1d\"", "every = \"1m\""));
    let minutely = said(&every_minute.site(&["units"]));
    assert!(minutely.contains("OnCalendar=minutely\n"), "{minutely}");
    // It comes with systemd only, which a container has no need of: no peer that could be required.
    if Path::new("/usr/bin/systemd-analyze").is_file() {
        let units = [out.join("site.service"), out.join("site.timer")];
        let verified = Command::new("systemd-analyze").arg("verify").args(units).output().unwrap();
        // Without a systemd that runs, as in a container, it cannot look at more than the words.
        assert!(!said(&verified).contains("Unknown"), "{}", said(&verified));
        assert!(!said(&verified).contains("Failed to parse"), "{}", said(&verified));
    }
}

#[cfg(feature = "ssh")]
#[test]
fn the_other_server_is_reached_over_a_real_sshd() {
    let there = TempDir::new().unwrap();
    let Some(server) = Server::start(there.path()) else { return };
    let address = format!("ssh://127.0.0.1:{}", server.port());
    let pin = server.read("host.pub").trim().to_owned();
    let ground = Ground::new(|text| {
        let key = server.path("user").display().to_string();
        let agent = Server::agent(Path::new("/"));
        let far = format!("ssh = \"{address}\"\nhost-keys = [\"{pin}\"]\nagent = \"{agent}\"");
        text.replace("[servers.us]\n", &format!("[servers.us]\n{far}\n"))
            .replace("[mirror]\n", &format!("[mirror]\nidentity = \"{key}\"\n"))
    });
    let run = ground.told(&["run"], 0);
    assert!(run["wire_sent"].as_u64().unwrap() > 0, "{run:#}");
    assert_eq!(ground.read("us/customer.example/index.html").unwrap(), "welcome");
    assert_eq!(ground.read("uk/internal/wiki/start").unwrap(), "a wiki");
    assert_eq!(ground.told(&["run"], 0)["files"]["created"], 0);
    assert_eq!(ground.told(&["fits"], 0)["problems"].as_array().unwrap().len(), 0);

    // It is gone: that is noted here, and told when it is back.
    drop(server);
    ground.write("us/customer.example/while-away", "1");
    let moved = ground.told(&["failover", "--to", "us"], 3);
    assert!(moved["note"].as_str().unwrap().starts_with("us learns of it when"), "{moved:#}");
    let run = ground.told(&["run"], 1);
    assert_eq!(run["outcome"], "failed");
    assert!(!ground.at("us/.sites/customer.example.2.us").exists());
    let status = ground.told(&["status"], 3);
    assert_eq!(status["sites"][0]["last"]["outcome"], "failed");
}

fn program(path: &str, words: &[&str]) -> Output {
    Command::new(path).args(words).output().unwrap()
}

#[test]
fn one_file_drives_every_program() {
    let ground = Ground::new(|text| text);
    let config = ground.config.to_str().unwrap();
    let ran = |output: Output, codes: &[i32]| {
        assert!(
            output.status.code().is_some_and(|code| codes.contains(&code)),
            "{}",
            said(&output)
        );
        said(&output)
    };
    ran(ground.site(&["run"]), &[0]);
    ran(program(env!("CARGO_BIN_EXE_zones"), &["check", config]), &[0]);
    let out = ground.at("rendered").display().to_string();
    ran(program(env!("CARGO_BIN_EXE_zones"), &["render", config, "--out", &out]), &[0]);
    // No controller has run, and that is told.
    ran(program(env!("CARGO_BIN_EXE_failover"), &["status", config]), &[0, 1, 3]);
    let pages = ground.at("pages").display().to_string();
    ran(
        program(env!("CARGO_BIN_EXE_status-page"), &[config, "--here", "us", "--out", &pages]),
        &[0, 3],
    );
    let feed = ground.read("pages/feed.atom").unwrap();
    assert!(feed.contains("https://status-us.host.uk"), "{feed}");

    let keys = env!("CARGO_BIN_EXE_keys");
    for site in ["uk", "us"] {
        let key = ground.at(&format!("keys/mirror-{site}")).display().to_string();
        ran(program(keys, &["generate", &key]), &[0]);
    }
    fs::create_dir(ground.at(".ssh")).unwrap();
    fs::set_permissions(ground.at(".ssh"), fs::Permissions::from_mode(0o700)).unwrap();
    let planned = ran(program(keys, &["let-in", config, "--here", "us", "--plan"]), &[0]);
    assert!(planned.contains("authorized_keys") && !ground.at(".ssh/authorized_keys").exists());
    ran(program(keys, &["let-in", config, "--here", "us"]), &[0]);
    let line = ground.read(".ssh/authorized_keys").unwrap();
    assert!(
        line.contains("restrict") && line.contains("from=\"192.0.2.10,2001:db8:1::10\""),
        "{line}"
    );
    assert!(line.contains("command=\"mirror-agent --root /var/www\""), "{line}");
    assert_eq!(line.lines().count(), 1);
    let again = ran(program(keys, &["let-in", config, "--here", "us"]), &[0]);
    assert!(again.contains("nothing to do"), "{again}");
}

#[test]
fn both_relays_read_their_half_of_the_file() {
    let ground = Ground::new(|text| text);
    let held = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = held.each_ref().map(|held| held.local_addr().unwrap().port());
    drop(held);
    let mut text = String::new();
    let mut server = "";
    for line in fs::read_to_string(&ground.config).unwrap().lines() {
        for name in ["uk", "us"] {
            if line.contains(&format!("[mail.{name}")) || line.contains(&format!("[[mail.{name}."))
            {
                server = name;
            }
        }
        let home = ground.folder.path().display();
        let of_tls = ["certificate = ", "key = \"/etc", "clients = ", "verify_name = ", "trust = "];
        let changed = match line {
            line if of_tls.iter().any(|key| line.starts_with(key)) => continue,
            "tls = \"implicit\"" => "tls = \"none\"".to_owned(),
            "spool = \"/var/spool/dual-mail\"" => format!("spool = \"{home}/spool-{server}\""),
            "address = \"unix:/run/dual-mail/lmtp\"" => {
                format!("address = \"unix:{home}/{server}.sock\"")
            }
            "protocol = \"lmtp\"" if text.ends_with(&format!("leg]]\nname = \"{server}\"\n")) => {
                "protocol = \"maildir\"".to_owned()
            }
            "address = \"127.0.0.1:24\"" => format!("maildir = \"{home}/mail-{server}/{{local}}\""),
            "address = \"192.0.2.25:2424\"" => format!("address = \"127.0.0.1:{}\"", ports[0]),
            "address = \"198.51.100.25:2424\"" => format!("address = \"127.0.0.1:{}\"", ports[1]),
            line => line.to_owned(),
        };
        text += &changed;
        text.push('\n');
        if changed.starts_with("address = \"127.0.0.1:") && text.contains("protocol = \"peer\"") {
            let block = text.rsplit("[[").next().unwrap().to_owned();
            if block.starts_with("mail") && block.contains("listen]]") {
                text += "allow = [\"127.0.0.1\"]\n";
            }
        }
    }
    fs::write(&ground.config, text).unwrap();
    let program = env!("CARGO_BIN_EXE_dual-mail");
    let config = ground.config.to_str().unwrap();
    let nobody = Command::new(program).args(["relay", config]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(2), "{}", said(&nobody));
    assert!(said(&nobody).contains("say --here uk or --here us"), "{}", said(&nobody));
    let relays = ["uk", "us"].map(|here| Relay::start_with(&ground.config, &["--here", here]));
    let words = ["--here", "us", "send", "-f", "ann@example.net", "bob@customer.example"];
    let sent = support::relay::run(&ground.config, &words, "Subject: hello\n\nBoth of you.\n");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    for site in ["uk", "us"] {
        let account = ground.at(&format!("mail-{site}/bob"));
        until("both accounts have it", || account.is_dir() && subjects(&account).len() == 1);
    }
    drop(relays);
}
