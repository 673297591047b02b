//! `dual-mail` as a user runs it, with real servers at both ends: Postfix hands over, two Dovecots
//! take it, over TLS, by their addresses.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

#[expect(dead_code, reason = "this program's own part of it is enough here")]
#[path = "../../mail-dual/tests/support/authority.rs"]
mod authority;
#[path = "../../mail-dual/tests/support/dovecot.rs"]
#[expect(dead_code, reason = "this program's own part of it is enough here")]
mod dovecot;
#[path = "../../mail-dual/tests/support/peers.rs"]
mod peers;
#[path = "../../mail-dual/tests/support/postfix.rs"]
#[expect(dead_code, reason = "this program's own part of it is enough here")]
mod postfix;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use authority::Authority;
use dovecot::{Dovecot, PASSWORD};
use peers::program;
use postfix::Postfix;
use support::peer;
use support::relay::{Relay, configure, run, until};

const USER: &str = "ann@example.org";

/// The configuration that somebody with these two servers would write.
fn configuration(folder: &Path, legs: [&Dovecot; 2]) -> String {
    let at = folder.display();
    let mut text = format!(
        "hostname = \"relay.example.org\"\nspool = \"{at}/spool\"\nreserve = 0\n\
         [retry]\nfirst = \"1s\"\nlongest = \"1s\"\nleg_first = \"1s\"\nleg_longest = \"1s\"\n\
         [[listen]]\nprotocol = \"lmtp\"\naddress = \"unix:{at}/lmtp\"\n"
    );
    fs::write(folder.join("password"), format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(folder.join("password"), Permissions::from_mode(0o600)).unwrap();
    for (name, leg) in ["uk", "us"].iter().zip(legs) {
        let tls = format!("tls = \"implicit\"\nverify_name = \"{}\"\n", leg.name);
        writeln!(
            text,
            "[[leg]]\nname = \"{name}\"\nprotocol = \"lmtp\"\naddress = \"{}\"\n{tls}\
             trust = \"{at}/ca.pem\"\n[leg.mailbox]\naddress = \"{}\"\n{tls}user = \"{{recipient}}\"\n\
             password_file = \"{at}/password\"",
            leg.lmtp, leg.imaps
        )
        .unwrap();
    }
    text + "[[route]]\nrecipients = [\"*@example.org\"]\nlegs = [\"uk\", \"us\"]\n"
}

/// How often each subject is in an account.
fn subjects(dovecot: &Dovecot) -> BTreeMap<String, usize> {
    let mut subjects = BTreeMap::new();
    for message in dovecot.inbox(USER) {
        let text = String::from_utf8_lossy(&message).into_owned();
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        *subjects.entry(subject.to_owned()).or_insert(0) += 1;
    }
    subjects
}

#[test]
fn the_program_from_postfix_to_two_dovecots_with_one_of_them_killed() {
    let folder = tempfile::Builder::new().prefix("dual-").tempdir().unwrap();
    // The servers' own users have to get in.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let authority = Authority::new(folder.path());
    let start = |ip, name| Dovecot::start(folder.path(), &authority, ip, name);
    let Some(uk) = start("127.0.0.2", "uk.example.org") else { return };
    let Some(mut us) = start("127.0.0.3", "us.example.org") else { return };
    let config = configure(folder.path(), &configuration(folder.path(), [&uk, &us]));
    let said = |arguments: &[&str], input: &str| {
        let output = run(&config, arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    // Is each leg usable? Reached by address, verified by name, taken, stored, found again.
    let probe = said(&["probe", "--send", USER], "");
    for words in [
        "verified as uk.example.org",
        "verified as us.example.org",
        "IMAP",
        "PIPELINING",
        "holds it, under our name for it",
        "stores it byte for byte",
    ] {
        assert!(probe.contains(words), "no {words:?}: {probe}");
    }
    let relay = Relay::start(&config);
    let ours = format!("unix:{}", folder.path().join("lmtp").display());

    // By hand, as sendmail(8).
    said(&["send", "-f", "bob@example.com", USER], "Subject: by hand\n\n.\nend\n");
    until("both have it", || {
        [&uk, &us].iter().all(|server| subjects(server).get("by hand") == Some(&1))
    });

    // One server is killed; what comes now waits for it, and the other has it at once.
    us.kill();
    let file = folder.path().join("message");
    fs::write(&file, "Subject: many\n\n.\nhello\n").unwrap();
    let (Some(source), postfix) =
        (program("smtp-source"), Postfix::start(folder.path(), &format!("lmtp:{ours}")))
    else {
        return;
    };
    let mut command = Command::new(source);
    command.args(["-s", "10", "-m", "200", "-f", "bob@example.com", "-t", USER, "-F"]).arg(&file);
    match &postfix {
        Some(postfix) => command.arg(format!("127.0.0.1:{}", postfix.port)),
        None => command.arg("-L").arg(&ours),
    };
    let sent = command.output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    until("the one that is up has it", || subjects(&uk).get("many") == Some(&200));
    let waiting = said(&["queue", "list"], "");
    assert_eq!(waiting.lines().filter(|line| line.contains("us")).count(), 200, "{waiting}");
    let status = said(&["queue", "status"], "");
    assert!(status.contains("200"), "{status}");
    let probe = run(&config, &["probe"], "");
    assert_eq!(probe.status.code(), Some(3));

    // One of them is held; the relay is killed meanwhile, too.
    let id = waiting.lines().find_map(|line| line.get(..26)).unwrap().to_owned();
    assert_eq!(said(&["queue", "hold", &id], ""), "1 held\n");
    assert!(said(&["queue", "show", &id], "").contains("Subject: many"));
    relay.kill();
    us.resume();
    let relay = Relay::start(&config);
    said(&["queue", "flush"], "");
    until("all but the held one are there", || subjects(&us).get("many") == Some(&199));
    assert_eq!(said(&["queue", "list"], "").lines().filter(|line| line.contains(&id)).count(), 1);
    assert_eq!(said(&["queue", "release", &id], ""), "1 released\n");
    until("it is there too", || subjects(&us).get("many") == Some(&200));
    until("nothing waits", || !said(&["queue", "list"], "").contains(&id));
    for server in [&uk, &us] {
        let found = subjects(server);
        assert_eq!((found["by hand"], found["many"]), (1, 200), "{}", relay.log());
    }
    assert!(!relay.log().contains("sent again"), "{}", relay.log());

    // The American account lost it.
    assert_eq!(said(&["queue", "resubmit", &id, "--leg", "us"], ""), "1 resubmitted\n");
    until("it is there once more", || subjects(&us).get("many") == Some(&201));
    assert_eq!(subjects(&uk)["many"], 200);
    relay.stop();
}
