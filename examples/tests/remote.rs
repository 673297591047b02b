//! Trees on another machine: a real sshd on loopback, and our agent behind it.
#![cfg(feature = "ssh")]
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs;
use std::path::Path;

use support::every_kind::noise;
use support::ground::ORDINARY;
use support::{
    EveryKind, Ground, Mirror, Mounts, Run, Server, am_root, assert_level, assert_rsync_agrees,
    edit, names_in, peer,
};

fn every_kind() -> Ground {
    let ground = Ground::new();
    fs::create_dir(ground.path("outside")).unwrap();
    EveryKind::full().build(&ground.src(), &ground.path("outside"));
    ground
}

#[track_caller]
fn assert_agreed(ground: &Ground, target: &Path) {
    assert_level(&ground.src(), target);
    if let Some(rsync) = peer("rsync") {
        assert_rsync_agrees(&rsync, &ground.src(), target, &[]);
    }
}

/// Which sides are behind an agent.
#[derive(Debug, Clone, Copy)]
enum Way {
    Push,
    Pull,
    AgentToAgent,
}

fn ways(ground: &Ground, server: &Server, mirror: &Mirror, way: Way) -> Mirror {
    let (src, dst) = (ground.src(), ground.dst());
    match way {
        Way::Push => mirror.clone().to(server.address(&dst)),
        Way::Pull => mirror.clone().from(server.address(&src)),
        Way::AgentToAgent => mirror.clone().from(server.address(&src)).to(server.address(&dst)),
    }
}

/// Mirrors every kind of entry, edits it all, mirrors again, and has nothing to do then.
fn mirrored(reach: fn(&Server, Mirror) -> Mirror, way: Way) {
    let ground = every_kind();
    let Some(server) = Server::start(&ground.path("")) else { return };
    let mirror = ways(&ground, &server, &reach(&server, ground.mirror()), way);
    let first = mirror.done();
    assert_agreed(&ground, &ground.dst());
    assert!(first.count("wire_sent") > 500 && first.count("wire_received") > 500);
    let literal = first.count("bytes_literal");
    let copied = first.count("bytes_copied");
    let times = if matches!(way, Way::AgentToAgent) { 2 } else { 1 };
    assert!(literal > 0 && literal <= times * copied, "{literal} of {copied}");
    edit::everything(&ground.src(), am_root());
    mirror.done();
    assert_agreed(&ground, &ground.dst());
    mirror.done().assert_idle();
}

#[test]
fn a_push_over_the_built_in_ssh() {
    mirrored(Server::reach, Way::Push);
}

#[test]
fn a_pull_over_the_built_in_ssh() {
    mirrored(Server::reach, Way::Pull);
}

#[test]
fn from_agent_to_agent_over_the_built_in_ssh() {
    mirrored(Server::reach, Way::AgentToAgent);
}

#[test]
fn a_push_through_the_program_ssh() {
    mirrored(Server::reach_by_program, Way::Push);
}

#[test]
fn a_pull_through_the_program_ssh() {
    mirrored(Server::reach_by_program, Way::Pull);
}

#[test]
fn from_agent_to_agent_through_the_program_ssh() {
    mirrored(Server::reach_by_program, Way::AgentToAgent);
}

#[test]
fn local_and_remote_runs_make_the_same_plan() {
    let ground = every_kind();
    let Some(server) = Server::start(&ground.path("")) else { return };
    let plan = |mirror: Mirror| mirror.no_state().text().arg("--plan").run().ends(0).out;
    let local = plan(ground.mirror());
    for way in [Way::Push, Way::Pull, Way::AgentToAgent] {
        let there = ways(&ground, &server, &server.reach(ground.mirror()), way);
        assert_eq!(
            String::from_utf8_lossy(&plan(there)),
            String::from_utf8_lossy(&local),
            "{way:?}"
        );
    }
}

#[test]
fn s32_a_restricted_key_reaches_its_root_and_nothing_else() {
    let ground = every_kind();
    let Some(server) = Server::start(&ground.path("")) else { return };
    server.restrict(&Server::agent(&ground.dst()));
    let mirror = server.knock(ground.mirror());
    mirror.clone().to(server.address(&ground.dst())).done();
    assert_agreed(&ground, &ground.dst());
    // Without a path it is the agent's own root.
    mirror.clone().to(server.address(Path::new(""))).done().assert_idle();
    for outside in ["outside", "dst/../outside", "dst-other", ""] {
        let run = mirror.clone().to(server.address(&ground.path(outside))).run().ends(1);
        assert!(run.stderr().contains("lies outside of what it serves"), "{}", run.shown());
    }
    assert!(!ground.path("dst-other").exists());

    server.restrict(&format!("{} --read-only", Server::agent(&ground.src())));
    let run = mirror.clone().from(ground.dst()).to(server.address(Path::new("")));
    fs::write(ground.dst().join("new"), "new").unwrap();
    let run = run.run().ends(1);
    assert!(run.stderr().contains("for reading only"), "{}", run.shown());
    assert!(!ground.src().join("new").exists());
}

#[test]
fn s12_a_hosted_agent_decides_what_it_takes() {
    let ground = every_kind();
    let Some(server) = Server::start(&ground.path("")) else { return };
    let agent = format!("{} --fidelity hosted", Server::agent(Path::new("/")));
    let mirror = server.knock(ground.mirror()).args(["--agent-command", &agent]);
    let run = mirror.to(server.address(&ground.path("there"))).run().ends(3);
    assert!(run.count("created") > 0);
    ground.mirror().no_state().args(["--fidelity", "hosted"]).to(ground.path("here")).run().ends(3);
    assert_level(&ground.path("here"), &ground.path("there"));
}

#[test]
fn a_missing_target_is_made_and_a_missing_source_is_an_error() {
    let ground = every_kind();
    let Some(server) = Server::start(&ground.path("")) else { return };
    let mirror = server.reach(ground.mirror());
    let target = ground.path("new/folder");
    let plan = mirror.clone().to(server.address(&target)).text().arg("--plan").run().ends(0);
    assert!(!plan.out.is_empty() && !ground.path("new").exists());
    mirror.clone().to(server.address(&target)).done();
    assert_agreed(&ground, &target);
    let run = mirror.from(server.address(&ground.path("gone"))).run().ends(1);
    assert!(run.stderr().contains("it does not exist"), "{}", run.shown());
}

#[test]
fn several_connections_bring_over_what_one_does() {
    let ground = every_kind();
    ground.source("noise", noise(3, 20 << 20));
    let Some(server) = Server::start(&ground.path("")) else { return };
    server.restrict(&Server::agent(&ground.dst()));
    let mirror = server.knock(ground.mirror()).args(["--connections", "4", "--bwlimit", "4M"]);
    // Slow enough that all of them are there before it is over.
    let run = mirror.to(server.address(&ground.dst())).done();
    assert_agreed(&ground, &ground.dst());
    assert!(run.err.is_empty(), "{}", run.shown());
    let opened = server.read("log").matches("Accepted publickey").count();
    assert_eq!(opened, 4, "{}", server.read("log"));
    fs::remove_file(ground.src().join("noise")).unwrap();
    server.authorize("");
    let mirror = server.reach_by_program(ground.mirror()).args(["--connections", "3"]);
    mirror.from(server.address(&ground.src())).to(server.address(&ground.dst())).done();
    assert_agreed(&ground, &ground.dst());
}

#[test]
fn a_limited_bandwidth_is_not_exceeded_and_changes_nothing_else() {
    let ground = Ground::new();
    ground.source("noise", noise(1, 300_000));
    let Some(server) = Server::start(&ground.path("")) else { return };
    let mirror = server.reach(ground.mirror()).args(["--bwlimit", "200k"]);
    let run = mirror.to(server.address(&ground.dst())).done();
    assert_level(&ground.src(), &ground.dst());
    // Only a lower bound: however fast the machine, it takes this long.
    assert!(run.json()["seconds"].as_f64().unwrap() > 1.2, "{}", run.shown());
}

/// One sentence on standard error, nothing made, no secret shown.
#[track_caller]
fn assert_sentence(ground: &Ground, run: &Run, part: &str) {
    let stderr = run.stderr();
    assert!(stderr.contains(part), "no {part:?}: {}", run.shown());
    assert_eq!(stderr.trim().lines().count(), 1, "{}", run.shown());
    assert!(!stderr.contains("PRIVATE KEY"), "{}", run.shown());
    assert_eq!(names_in(&ground.dst()), Vec::<String>::new(), "{}", run.shown());
}

#[test]
fn s23_what_keeps_from_connecting_is_told_in_one_sentence() {
    let ground = every_kind();
    let Some(server) = Server::start(&ground.path("")) else { return };
    let to = server.address(&ground.dst());
    let base = ground.mirror().to(&to);
    let identity = |mirror: Mirror| mirror.arg("--identity").arg(server.path("user"));
    let pinned = |key: &str| identity(base.clone()).args(["--pin", server.read(key).trim()]);

    let run = pinned("other.pub").run().ends(1);
    assert_sentence(&ground, &run, "is not the one that is pinned");

    let known = ground.path("known");
    let knows = |line: String| {
        fs::write(&known, line).unwrap();
        identity(base.clone()).arg("--known-hosts").arg(&known).run().ends(1)
    };
    assert_sentence(&ground, &knows(String::new()), "is not known");
    let (host, other) = (server.read("host.pub"), server.read("other.pub"));
    let here = format!("[127.0.0.1]:{}", server.port());
    assert_sentence(&ground, &knows(format!("{here} {other}")), "is not the one that is known");
    assert_sentence(&ground, &knows(format!("{here} {host}@revoked * {host}")), "is revoked");

    let line = format!("[127.0.0.?]:* {other}{here} {host}");
    fs::write(&known, line).unwrap();
    let planned = identity(base.clone().text().no_state()).arg("--known-hosts").arg(&known).args([
        "--plan",
        "--agent-command",
        &Server::agent(Path::new("/")),
    ]);
    planned.run().ends(0);

    let pin = server.read("host.pub");
    let stranger =
        base.clone().arg("--identity").arg(server.path("other")).args(["--pin", pin.trim()]);
    assert_sentence(&ground, &stranger.run().ends(1), "does not let");

    let password = ground.path("password");
    fs::write(&password, "a canary\n").unwrap();
    let run = base.clone().args(["--pin", pin.trim()]).arg("--password-file").arg(&password);
    let run = run.run().ends(1);
    assert_sentence(&ground, &run, "it takes publickey");
    assert!(!run.stderr().contains("canary"));

    let public = base.clone().arg("--identity").arg(server.path("user.pub"));
    let run = public.args(["--pin", pin.trim()]).run().ends(1);
    assert_sentence(&ground, &run, "holds no private key");
    assert!(!run.stderr().contains("cannot be reached"), "{}", run.shown());

    let nobody = ground.mirror().to("ssh://127.0.0.1:1/x");
    assert_sentence(&ground, &nobody.run().ends(1), "cannot be reached");
}

#[test]
fn what_answers_instead_of_an_agent_is_told_in_one_sentence() {
    let ground = every_kind();
    let Some(server) = Server::start(&ground.path("")) else { return };
    let reaches: [fn(&Server, Mirror) -> Mirror; 2] = [Server::knock, Server::reach_by_program];
    for reach in reaches {
        let agent = Server::agent(Path::new("/"));
        for (command, part) in [
            ("no-such-agent --root /".to_owned(), "there is no mirror-agent"),
            (format!("echo Welcome to host; {agent}"), "\"Welcome to host\" came instead"),
            ("exit 9".to_owned(), "ended before the agent spoke with status 9"),
            (format!("{agent} --no-such-option"), "error: unexpected argument"),
            (Server::agent(&ground.path("nowhere")), "it does not exist"),
        ] {
            let mirror = ground.mirror().to(server.address(&ground.dst()));
            let mut mirror = reach(&server, mirror);
            mirror = mirror.instead("--agent-command", &command);
            assert_sentence(&ground, &mirror.run().ends(1), part);
        }
    }
}

#[test]
fn an_agent_that_was_killed_has_no_status() {
    let ground = every_kind();
    let Some(server) = Server::start(&ground.path("")) else { return };
    let mirror = server.knock(ground.mirror().to(server.address(&ground.dst())));
    let run = mirror.args(["--agent-command", "kill -KILL $$"]).run().ends(1);
    assert_sentence(&ground, &run, "ended before the agent spoke by signal KILL");
    // Nobody has counted what was done.
    let json = run.json();
    assert!(json["outcome"] == "failed" && json.get("created").is_none(), "{json}");
}

#[test]
fn what_looks_like_another_machine_makes_no_folder() {
    let ground = every_kind();
    for wrong in ["host:/srv/www", "sftp://host/x", "SSH://host/x", "ssh://host/~/x", "ssh://h:0/"]
    {
        let run = ground.mirror().to(wrong).run().ends(2);
        assert!(run.stderr().contains("Usage: mirror "), "{}", run.shown());
        assert!(!Path::new(wrong).exists());
    }
}

#[test]
fn verifying_independently_over_a_link_says_what_it_was() {
    let ground = every_kind();
    let Some(server) = Server::start(&ground.path("")) else { return };
    let mirror = server.reach(ground.mirror().to(server.address(&ground.dst())));
    let run = mirror.arg("--verify=independent").done();
    let notes = run.json()["notes"].to_string();
    assert!(notes.contains("as by --verify=digest"), "{}", run.shown());
    let run = ground.mirror().to(ground.path("local")).arg("--verify=independent").done();
    assert!(run.json().get("notes").is_none(), "{}", run.shown());
}

#[test]
fn limits_that_are_met_are_told_with_their_remedy() {
    let ground = Ground::new();
    for name in ["a", "b", "c"] {
        ground.source(&format!("folder/{name}"), name);
    }
    let Some(server) = Server::start(&ground.path("")) else { return };
    let pull = server.reach(ground.mirror()).from(server.address(&ground.src()));
    let run = pull.clone().args(["--max-folder-entries", "2"]).run().ends(1);
    assert_sentence(&ground, &run, "its folder folder has more than 2 entries");
    assert!(run.stderr().contains("--max-folder-entries"), "{}", run.shown());
    let agent = format!("{} --max-steps 2", Server::agent(Path::new("/")));
    let push = server.reach(ground.mirror().to(server.address(&ground.dst())));
    let run = push.clone().instead("--agent-command", &agent).run().ends(1);
    assert_sentence(&ground, &run, "start it with a higher --max-steps");
    pull.done();
    push.done().assert_idle();
}

#[test]
fn a_server_that_allows_only_sftp_is_told_in_one_sentence() {
    let ground = every_kind();
    let Some(server) = Server::with(&ground.path(""), "ForceCommand internal-sftp") else {
        return;
    };
    let reaches: [fn(&Server, Mirror) -> Mirror; 2] = [Server::reach, Server::reach_by_program];
    for reach in reaches {
        let mirror = reach(&server, ground.mirror().to(server.address(&ground.dst())));
        assert_sentence(&ground, &mirror.run().ends(1), "may only use SFTP");
    }
}

#[test]
fn what_the_other_side_may_not_write_is_a_sentence_a_path() {
    if !am_root() {
        println!("skipped: only root can become somebody else");
        return;
    }
    let ground = Ground::new();
    ground.source("file", "content");
    let Some(server) = Server::start(&ground.path("")) else { return };
    // The agent as somebody who owns nothing there.
    let copy = ground.path("agent-program");
    fs::copy(env!("CARGO_BIN_EXE_mirror-agent"), &copy).unwrap();
    let agent = format!(
        "setpriv --reuid={ORDINARY} --regid={ORDINARY} --clear-groups {} --root /",
        copy.display()
    );
    let mirror = server.knock(ground.mirror()).args(["--agent-command", &agent]);
    let run = mirror.to(server.address(&ground.dst())).run().ends(3);
    assert!(run.stderr().contains("permission denied"), "{}", run.shown());
    assert_eq!(names_in(&ground.dst()), Vec::<String>::new());
}

#[test]
fn a_disk_that_is_too_small_on_the_other_side_is_told_before_anything_is_done() {
    let ground = Ground::new();
    let Some(server) = Server::start(&ground.path("")) else { return };
    let Some(mounts) = Mounts::tmpfs(&ground.dst(), "size=1m") else { return };
    ground.source("large", noise(1, 3 << 20));
    let words: Vec<String> =
        mounts.enter().iter().map(|word| word.to_str().unwrap().to_owned()).collect();
    let agent = format!("{} {}", words.join(" "), Server::agent(Path::new("/")));
    let mirror = server.knock(ground.mirror()).args(["--agent-command", &agent]);
    let run = mirror.to(server.address(&ground.dst())).run().ends(4);
    assert!(run.stderr().contains("the target's file system has"), "{}", run.shown());
    assert_eq!(names_in(&mounts.inside(&ground.dst())), Vec::<String>::new());
}

/// The process that runs `program` with `word` in its command line.
fn process_with(program: &str, word: &str) -> Option<rustix::process::Pid> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        let is_it = words.first().is_some_and(|first| first.ends_with(program.as_bytes()))
            && words.contains(&word.as_bytes());
        is_it
            .then(|| entry.file_name().to_str()?.parse().ok())?
            .and_then(rustix::process::Pid::from_raw)
    })
}

/// Starts a push that takes its time, and does something to one of its ends in the middle.
fn disturb(
    what: impl FnOnce(&Server, rustix::process::Pid, &mut support::run::Running),
) -> (Ground, Option<Run>) {
    let ground = Ground::new();
    ground.source("a/first", "first");
    ground.source("noise", noise(7, 6 << 20));
    ground.target("a/first", "older");
    let Some(server) = Server::start(&ground.path("")) else { return (ground, None) };
    // A root of its own tells this test's agent from those of others.
    let agent = Server::agent(&ground.path(""));
    let mirror = server.knock(ground.mirror()).args(["--agent-command", &agent]);
    let mirror = mirror.to(server.address(&ground.dst()));
    let mut running = mirror.clone().args(["--bwlimit", "1M"]).spawn();
    let root = ground.path("").display().to_string();
    let agent = loop {
        if let Some(agent) = process_with("mirror-agent", &root)
            && names_in(&ground.dst()).iter().any(|name| name.contains(".mirror-tmp-"))
        {
            break agent;
        }
        assert!(!running.has_ended(), "it was over before it could be disturbed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    what(&server, agent, &mut running);
    let run = running.wait();
    assert!(["first", "older"].contains(&ground.read("a/first").as_str()));
    assert!(!ground.has("noise"));
    // The other end is over as well, and the next run goes on from there.
    while process_with("mirror-agent", &root).is_some() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    mirror.done();
    assert_agreed(&ground, &ground.dst());
    (ground, Some(run))
}

#[test]
fn an_agent_that_is_killed_is_told_and_the_next_run_goes_on() {
    let (_ground, run) = disturb(|_, agent, _| {
        rustix::process::kill_process(agent, rustix::process::Signal::KILL).unwrap();
    });
    if let Some(run) = run {
        assert!(run.stderr().contains("running again goes on from there"), "{}", run.shown());
        assert_eq!(run.code(), 1, "{}", run.shown());
    }
}

#[test]
fn a_server_that_goes_away_is_told_and_the_next_run_goes_on() {
    let (_ground, run) = disturb(|server, _, _| server.drop_connections());
    if let Some(run) = run {
        assert!(run.stderr().contains("running again goes on from there"), "{}", run.shown());
        assert_eq!(run.code(), 1, "{}", run.shown());
    }
}

#[test]
fn a_caller_that_is_killed_leaves_nothing_behind() {
    let ground = Ground::new();
    ground.source("noise", noise(7, 6 << 20));
    let Some(server) = Server::start(&ground.path("")) else { return };
    let agent = Server::agent(&ground.path(""));
    let mirror = server.knock(ground.mirror()).args(["--agent-command", &agent]);
    let running = mirror.to(server.address(&ground.dst())).args(["--bwlimit", "1M"]).spawn();
    while names_in(&ground.dst()).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.kill();
    let root = ground.path("").display().to_string();
    while process_with("mirror-agent", &root).is_some() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // The agent heard of it and removed what it had not finished.
    assert_eq!(names_in(&ground.dst()), Vec::<String>::new());
}
