//! `dual-mail` from outside: relays that are killed, that lose their disk, and that are told
//! nonsense.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use support::am_root;
use support::peer::{peer, skipped};
use support::relay::{Client, Relay, configure, run, subjects, until};

/// A relay with two Maildirs.
fn two_maildirs(folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    format!(
        "hostname = \"uk.example.net\"\nspool = \"{}\"\nreserve = 0\n\
         [retry]\nfirst = \"1s\"\ndoubt = \"1s\"\n\
         [[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\n\
         [[leg]]\nname = \"uk\"\nprotocol = \"maildir\"\nmaildir = \"{}\"\n\
         [[leg]]\nname = \"us\"\nprotocol = \"maildir\"\nmaildir = \"{}\"\n\
         [[route]]\nrecipients = [\"*@example.org\"]\nlegs = [\"uk\", \"us\"]\n",
        at("spool"),
        at("uk"),
        at("us")
    )
}

/// Clients that send until they are told to stop or the relay is gone.
struct Load {
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(relay: &Relay, numbers: &Arc<AtomicU64>) -> Load {
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let to = relay.tcp();
        let threads = (0..6).map(|_| {
            let (acknowledged, stop) = (Arc::clone(&acknowledged), Arc::clone(&stop));
            let numbers = Arc::clone(numbers);
            thread::spawn(move || {
                let Ok(mut client) = Client::connect(to) else { return };
                while !stop.load(Ordering::SeqCst) {
                    let subject = format!("m{}", numbers.fetch_add(1, Ordering::SeqCst));
                    match client.send("bob@example.org", &subject) {
                        Ok(250) => acknowledged.lock().unwrap().insert(subject),
                        _ => return,
                    };
                }
            })
        });
        Load { threads: threads.collect(), acknowledged, stop }
    }

    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        Arc::try_unwrap(self.acknowledged).unwrap().into_inner().unwrap()
    }
}

/// I1, I2, I8, S1.
#[test]
fn killed_under_load_again_and_again_nothing_is_lost_and_nothing_doubled() {
    let scratch = tempfile::tempdir().unwrap();
    let config = configure(scratch.path(), &two_maildirs(scratch.path()));
    let numbers = Arc::new(AtomicU64::new(0));
    let mut acknowledged = BTreeSet::new();
    for round in 0..12 {
        let relay = Relay::start(&config);
        let load = Load::start(&relay, &numbers);
        thread::sleep(Duration::from_millis(60 + 37 * (round % 5)));
        relay.kill();
        acknowledged.extend(load.end());
    }
    let relay = Relay::start(&config);
    until("the queue is empty", || {
        let listed = run(&config, &["queue", "list"], "");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        listed.stdout.is_empty()
    });
    relay.stop();
    assert!(acknowledged.len() > 100, "only {} messages were taken", acknowledged.len());
    for name in ["uk", "us"] {
        let found = subjects(&scratch.path().join(name));
        let lost: Vec<_> = acknowledged.iter().filter(|one| !found.contains_key(*one)).collect();
        let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
        assert!(lost.is_empty(), "{name} lost {lost:?}");
        assert!(doubled.is_empty(), "{name} has {doubled:?}");
    }
}

#[test]
fn what_was_acknowledged_survives_the_host_and_its_disk() {
    let scratch = tempfile::tempdir().unwrap();
    let (uk, us) = (scratch.path().join("uk"), scratch.path().join("us"));
    for folder in [&uk, &us] {
        fs::create_dir(folder).unwrap();
    }
    let config = |folder: &Path, name: &str, listen: &str, legs: &str| {
        let text = format!(
            "hostname = \"{name}.example.net\"\nspool = \"{}\"\nreserve = 0\n{listen}\
             [[leg]]\nname = \"here\"\nprotocol = \"maildir\"\nmaildir = \"{}\"\n{legs}",
            folder.join("spool").display(),
            folder.join("mail").display()
        );
        configure(folder, &text)
    };
    let peer_listen = "[[listen]]\nprotocol = \"peer\"\naddress = \"127.0.0.1:0\"\n";
    let us_route = "[[route]]\nrecipients = [\"*@example.org\"]\nlegs = [\"here\"]\n";
    let us_config = config(&us, "us", peer_listen, us_route);
    let us_relay = Relay::start(&us_config);
    let numbers = Arc::new(AtomicU64::new(0));
    let mut all = BTreeSet::new();
    for round in 0..5 {
        // A new host each time, with nothing on its disk.
        let _ = fs::remove_dir_all(&uk);
        fs::create_dir(&uk).unwrap();
        let listen = "[[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\n";
        let legs = format!(
            "[[leg]]\nname = \"us\"\nprotocol = \"peer\"\naddress = \"{}\"\n\
             [[route]]\nrecipients = [\"*@example.org\"]\nlegs = [\"here\", \"us\"]\n",
            us_relay.tcp()
        );
        let relay = Relay::start(&config(&uk, "uk", listen, &legs));
        let load = Load::start(&relay, &numbers);
        thread::sleep(Duration::from_millis(300 + 100 * round));
        let log = relay.log();
        relay.kill();
        fs::remove_dir_all(&uk).unwrap();
        all.extend(load.end());
        assert!(!log.contains("on this host alone"), "{log}");
    }
    assert!(all.len() > 50, "only {} messages were taken", all.len());
    let mail = us.join("mail");
    until("the other side has delivered all of them", || {
        let found = subjects(&mail);
        all.iter().all(|subject| found.contains_key(subject))
    });
    assert!(subjects(&mail).values().all(|count| *count == 1));
    us_relay.stop();
}

/// What a relay under strace asked of the kernel, thread by thread, while `happens`; none, and
/// told, where strace may not look.
fn traced(relay: &Relay, folder: &Path, happens: impl FnOnce()) -> Option<Vec<Vec<String>>> {
    let strace = peer("strace")?;
    let calls = folder.join("trace");
    let mut process = Command::new(strace)
        .args(["-ff", "-y", "-e", "trace=openat,fsync,fdatasync,rename,renameat,renameat2"])
        .arg("-o")
        .arg(&calls)
        .args(["-p", &relay.id().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    // Kept open: it writes a line for each new thread.
    let mut errors = BufReader::new(process.stderr.take().unwrap());
    errors.read_line(&mut said).unwrap();
    if !said.contains("attached") {
        process.wait().unwrap();
        skipped("strace that may trace");
        return None;
    }
    happens();
    assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
    process.wait().unwrap();
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.to_string_lossy().contains("/trace."));
    let lines = |path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    Some(files.map(lines).collect())
}

/// I8: what counts as delivered is on the disk, and so are the folders that it lies in.
#[test]
fn a_maildir_that_is_new_and_its_first_message_survive_a_power_cut() {
    let scratch = tempfile::tempdir().unwrap();
    let text =
        two_maildirs(scratch.path()).replace("/uk\"\n[[leg]]", "/uk/{domain}/{local}\"\n[[leg]]");
    let config = configure(scratch.path(), &text);
    fs::create_dir(scratch.path().join("uk")).unwrap();
    let relay = Relay::start(&config);
    let new = scratch.path().join("uk/example.org/bob/new");
    let found = traced(&relay, scratch.path(), || {
        let mut client = Client::connect(relay.tcp()).unwrap();
        assert_eq!(client.send("bob@example.org", "first").unwrap(), 250);
        until("it is delivered", || relay.log().contains("done"));
    });
    assert_eq!(fs::read_dir(&new).unwrap().count(), 1);
    relay.stop();
    let Some(threads) = found else { return };
    let worker = threads.iter().find(|calls| calls.iter().any(|call| call.contains("/bob/new")));
    let calls = worker.unwrap();
    let at = |start: &str, path: &str| {
        let end = format!("{path}>)");
        let found = calls.iter().position(|call| {
            call.starts_with(start) && (call.contains(&end) || call.contains(&format!("{path}\"")))
        });
        found.unwrap_or_else(|| panic!("no {start} of {path}: {calls:#?}"))
    };
    let order = [
        at("fsync(", "/uk"),
        at("fsync(", "/uk/example.org"),
        at("fsync(", "/uk/example.org/bob"),
        at("fsync(", ".dual"),
        calls.iter().position(|call| call.starts_with("renameat")).unwrap(),
        at("fsync(", "/uk/example.org/bob/new"),
    ];
    assert!(order.is_sorted(), "{order:?}: {calls:#?}");
}

/// An authority and a certificate by it for each name, in PEM.
fn certificates(openssl: &Path, folder: &Path, names: &[&str]) {
    let run = |arguments: &[&str]| {
        let made = Command::new(openssl).args(arguments).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    run(&[
        &["req", "-x509", "-subj", "/CN=our CA", "-keyout", "ca.key", "-out", "ca.pem"],
        &key[..],
    ]
    .concat());
    for name in names {
        let (subject, alt) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
        let (private, public) = (format!("{name}.key"), format!("{name}.pem"));
        let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", &alt];
        let names = ["req", "-x509", "-subj", &subject, "-keyout", &private, "-out", &public];
        let not_ca = ["-addext", "basicConstraints=critical,CA:FALSE"];
        run(&[&names[..], &key[..], &by[..], &not_ca[..]].concat());
    }
}

#[test]
fn relays_know_each_other_by_their_certificates() {
    let Some(openssl) = support::peer("openssl") else { return };
    let scratch = tempfile::tempdir().unwrap();
    certificates(&openssl, scratch.path(), &["us.example.net", "uk.example.net", "stranger"]);
    let at = |name: &str| scratch.path().join(name).display().to_string();
    let shown = |name: &str| {
        let (pem, key) = (at(&format!("{name}.pem")), at(&format!("{name}.key")));
        format!("certificate = \"{pem}\"\nkey = \"{key}\"\n")
    };
    fs::create_dir(at("us")).unwrap();
    let us = configure(
        Path::new(&at("us")),
        &format!(
            "hostname = \"us.example.net\"\nspool = \"{}\"\nreserve = 0\n\
             [[listen]]\nprotocol = \"peer\"\naddress = \"127.0.0.1:0\"\ntls = \"implicit\"\n\
             clients = \"{}\"\nallow = [\"127.0.0.1\"]\n{}\
             [[leg]]\nname = \"us\"\nprotocol = \"maildir\"\nmaildir = \"{}\"\n\
             [[route]]\nrecipients = [\"*@example.org\"]\nlegs = [\"us\"]\n",
            at("us/spool"),
            at("ca.pem"),
            shown("us.example.net"),
            at("us/mail")
        ),
    );
    let us = Relay::start(&us);
    let leg = |verify: &str, own: &str| {
        format!(
            "[[leg]]\nname = \"peer\"\nprotocol = \"peer\"\naddress = \"{}\"\ntls = \"implicit\"\n\
             verify_name = \"{verify}\"\ntrust = \"{}\"\n{own}[[route]]",
            us.tcp(),
            at("ca.pem")
        )
    };
    let base = two_maildirs(scratch.path())
        .replace("legs = [\"uk\", \"us\"]", "legs = [\"uk\", \"peer\"]");
    let with = |leg: &str| configure(scratch.path(), &base.replace("[[route]]", leg));
    // Another name than the server has, and no certificate of ours.
    for (leg, said) in [
        (leg("uk.example.net", &shown("uk.example.net")), "not valid for name"),
        (leg("us.example.net", ""), "CertificateRequired"),
    ] {
        let probe = run(&with(&leg), &["probe"], "");
        let text = String::from_utf8_lossy(&probe.stdout).into_owned();
        assert_eq!(probe.status.code(), Some(3), "{text}");
        assert!(text.contains("leg peer cannot be used") && text.contains(said), "{text}");
    }
    let config = with(&leg("us.example.net", &shown("uk.example.net")));
    let relay = Relay::start(&config);
    let mut client = Client::connect(relay.tcp()).unwrap();
    assert_eq!(client.send("bob@example.org", "over TLS").unwrap(), 250);
    assert!(!relay.log().contains("on this host alone"), "{}", relay.log());
    let probe = run(&config, &["probe", "--send", "bob@example.org"], "");
    let text = String::from_utf8_lossy(&probe.stdout).into_owned();
    assert!(probe.status.success() && text.contains("verified as us.example.net"), "{text}");
    assert_eq!(text.matches("holds it, under our name for it").count(), 3, "{text}");
    until("both have it", || {
        ["uk", "us/mail"].iter().all(|mail| subjects(Path::new(&at(mail))).contains_key("over TLS"))
    });
    relay.stop();
    us.stop();
}

#[test]
fn with_the_peer_away_mail_is_taken_and_that_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = two_maildirs(scratch.path()).replace(
        "[[route]]",
        &format!("[[leg]]\nname = \"peer\"\nprotocol = \"peer\"\naddress = \"{free}\"\n[[route]]"),
    );
    let text = text.replace("legs = [\"uk\", \"us\"]", "legs = [\"uk\", \"peer\"]");
    let config = configure(scratch.path(), &text);
    let relay = Relay::start(&config);
    let mut client = Client::connect(relay.tcp()).unwrap();
    assert_eq!(client.send("bob@example.org", "one").unwrap(), 250);
    until("this is told", || relay.log().contains("acknowledged on this host alone"));
    let status = run(&config, &["queue", "status"], "");
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("leg peer: away") && status.contains("connection refused"), "{status}");
    relay.stop();
}

#[test]
fn the_queue_can_be_changed_with_the_relay_running_or_not() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", scratch.path().join("lmtp").display());
    let listen = format!("[[listen]]\nprotocol = \"lmtp\"\naddress = \"{socket}\"\n[[listen]]");
    let text = two_maildirs(scratch.path()).replacen("[[listen]]", &listen, 1);
    let config = configure(scratch.path(), &text);
    let said = |arguments: &[&str], input: &str| {
        let output = run(&config, arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let relay = Relay::start(&config);
    let input = "Subject: sent\n\nA line with a dot:\n.\nend\n";
    said(&["send", "-f", "ann@example.com", "bob@example.org", "eve@example.org"], input);
    until("both have it", || {
        subjects(&scratch.path().join("uk")).len() == 1
            && subjects(&scratch.path().join("us")).values().sum::<usize>() == 2
    });
    let refused = run(&config, &["send", "bob@example.com"], input);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "dual-mail: refused: <bob@example.com>: RCPT TO: 550 5.1.1 nobody here has this address\n"
    );
    until("it is done", || said(&["queue", "list", "--done"], "").contains(" done "));
    relay.stop();
    // Nobody listens now: what is sent comes back with EX_TEMPFAIL, what is kept can be seen.
    assert_eq!(run(&config, &["send", "bob@example.org"], input).status.code(), Some(75));
    let done = said(&["queue", "list", "--done"], "");
    let id = &done[..26];
    let shown = said(&["queue", "show", id], "");
    assert!(shown.contains("from <ann@example.com>") && shown.contains("Subject: sent"), "{shown}");
    // The American account was lost and made anew.
    fs::remove_dir_all(scratch.path().join("us")).unwrap();
    assert_eq!(said(&["queue", "resubmit", "--since", "1h", "--leg", "us"], ""), "1 resubmitted\n");
    assert_eq!(said(&["queue", "hold", id], ""), "1 held\n");
    assert!(said(&["queue", "list"], "").contains("held"));
    let relay = Relay::start(&config);
    assert_eq!(said(&["queue", "release", id], ""), "1 released\n");
    until("it has it again", || subjects(&scratch.path().join("us")).values().sum::<usize>() == 2);
    assert_eq!(subjects(&scratch.path().join("uk"))["sent"], 2);
    assert_eq!(said(&["queue", "flush"], ""), "0 due now\n");
    let unknown = run(&config, &["queue", "show", "01M82C2QJ29F758RA0AMPWTG89"], "");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no message 01M82C2QJ29F"));
    let probe = said(&["probe", "--send", "bob@example.org"], "");
    assert!(probe.contains("holds it, under our name for it"), "{probe}");
    assert_eq!(probe.matches("stores it byte for byte").count(), 2, "{probe}");
    relay.stop();
}

#[test]
fn what_is_wrong_is_one_sentence_that_says_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    let good = two_maildirs(scratch.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let two = |first: &str, second: &str| {
        format!(
            "hostname = \"x.example\"\nspool = \"/nowhere/spool\"\n\
             [[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\n\
             [[leg]]\nname = \"uk\"\n{first}\n[[leg]]\nname = \"us\"\n{second}\n\
             [[route]]\nrecipients = [\"*\"]\nlegs = [\"uk\", \"us\"]\n"
        )
    };
    let remote = "protocol = \"lmtp\"\naddress = \"192.0.2.7:24\"\ntls = \"implicit\"\nverify_name = \"a.example\"";
    let maildir = "protocol = \"maildir\"\nmaildir = \"/nowhere/mail\"";
    let key = "certificate = \"/nowhere/c.pem\"\nkey = \"/nowhere/c.key\"";
    for (text, code, sentence) in [
        (good.replace("reserve", "reserv"), 2, "dual-mail.toml, line 3: unknown field `reserv`"),
        (
            good.replace("\"127.0.0.1:0\"", "\"mx.example.org:25\""),
            2,
            "line 9: \"mx.example.org:25\" is no address; give an IP address and a port",
        ),
        (good.replace("127.0.0.1:0", &taken), 1, "something listens at"),
        (
            good.replace("legs = [\"uk\", \"us\"]", "legs = [\"uk\", \"de\"]"),
            2,
            "names leg de, which there is not; add it as a [[leg]]",
        ),
        (
            good.replace("reserve = 0", "ack = \"spooled-and-peer\""),
            2,
            "needs a leg with protocol = \"peer\"; add it, or say",
        ),
        (good.replace("\"*@example.org\"", "\"a b\""), 2, "a pattern of recipients is user@domain"),
        (
            two(remote, remote),
            2,
            "legs uk and us of the route of * both go to 192.0.2.7, so one failure takes both copies",
        ),
        (two(maildir, maildir), 2, "both go to /nowhere/mail"),
        (two(maildir, &format!("{remote}\n{key}")), 2, "leg us: cannot read /nowhere/c.pem"),
        (
            two(maildir, remote),
            1,
            "cannot use the spool folder /nowhere/spool: make the folder that holds it",
        ),
        (
            two(maildir, "protocol = \"lmtp\"\naddress = \"192.0.2.7:24\""),
            2,
            "leg us: say tls = \"implicit\" or \"starttls\" with verify_name",
        ),
        (two(maildir, &remote.replace(":24", ":25")), 2, "LMTP must not be spoken at port 25"),
    ] {
        let config = configure(scratch.path(), &text);
        let output = run(&config, &["relay"], "");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(sentence), "{sentence:?} is not in {errors:?}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert_eq!(output.status.code(), Some(code), "{errors}");
    }
    let missing = run(Path::new("/nowhere/dual-mail.toml"), &["relay"], "");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot read the configuration"));
    // A second relay, and a spool that others can read.
    let config = configure(scratch.path(), &good);
    let relay = Relay::start(&config);
    let second = run(&config, &["relay"], "");
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another process"));
    relay.stop();
    let spool = scratch.path().join("spool");
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o755)).unwrap();
    let open = run(&config, &["relay"], "");
    assert!(String::from_utf8_lossy(&open.stderr).contains("run chmod 700"));
    if !am_root() {
        fs::set_permissions(&spool, fs::Permissions::from_mode(0o000)).unwrap();
        let denied = run(&config, &["relay"], "");
        assert!(String::from_utf8_lossy(&denied.stderr).contains("give this user the right to it"));
        fs::set_permissions(&spool, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

/// The documented configuration is one, and no key is missing from it.
#[test]
fn every_key_is_described() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dual-mail.toml");
    let text = fs::read_to_string(path).unwrap();
    examples::mail::Config::parse(&text, "dual-mail.toml").unwrap();
    let tables = include_str!("../src/mail/tables.rs");
    let keys = tables.lines().filter_map(|line| {
        let (key, _) = line.strip_prefix("    pub ")?.split_once(':')?;
        (!key.contains(['(', ' '])).then_some(key)
    });
    let keys: Vec<&str> = keys.collect();
    assert!(keys.len() > 35, "{keys:?}");
    for key in keys {
        let table = format!("[{key}]");
        let given =
            text.contains(&format!("\n{key} = ")) || text.contains(&format!("\n# {key} = "));
        assert!(given || text.contains(&table) || text.contains(&format!(".{key}]")), "{key}");
    }
}

/// The recipe of the crate's README is a configuration that would be taken, keys and all.
#[test]
fn the_recipe_is_a_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mail-dual/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (recipe, _) = rest.split_once("```").unwrap();
    let config = examples::mail::Config::parse(recipe, "the recipe").unwrap();
    assert_eq!(config.settings().ack, mail_dual::AckPolicy::SpooledAndPeer);
    assert_eq!(config.settings().routes.peers().len(), 1);
}
