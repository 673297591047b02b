//! What an agent's memory comes to at most under attack (S14, S17, S20). The agent is a process of
//! its own, this one started anew, so that nothing else is counted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use mirror_core::testing::{Attack, attack};
use mirror_core::{AgentConfig, Transport, serve};

const MOST: u64 = 256 << 20;

fn main() {
    if let Some(root) = std::env::var_os("ATTACKED_AGENT_ROOT") {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
        let output = File::from(io::stdout().as_fd().try_clone_to_owned().unwrap());
        // However it ends, it has shown how much it kept.
        let _ = serve(Transport::new(input, output, ()), &AgentConfig::new(root));
        thread::sleep(Duration::from_secs(600));
        return;
    }
    for how in [Attack::Streams, Attack::Steps, Attack::Filter, Attack::Frames, Attack::Everything]
    {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let mut agent = Command::new(std::env::current_exe().unwrap())
            .env("ATTACKED_AGENT_ROOT", folder.path())
            .stdin(Stdio::piped())
            // What it answers is not taken, but for what a pipe holds.
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = agent.stdin.take().unwrap();
        let ended = attack(how, &mut input, agent.stdout.take().unwrap());
        let peak = settled_peak(agent.id());
        agent.kill().unwrap();
        agent.wait().unwrap();
        println!("{how:?}: {} MiB ({ended:?})", peak >> 20);
        assert!(peak < MOST, "{how:?} makes an agent keep {} MiB", peak >> 20);
    }
}

/// The most memory that a process has had, once that grows no more.
fn settled_peak(id: u32) -> u64 {
    let (mut peak, mut since) = (0, 0);
    while since < 30 {
        thread::sleep(Duration::from_millis(100));
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let now = now.map_or(0, |kibibytes| kibibytes << 10);
        since = if now > peak { 0 } else { since + 1 };
        peak = peak.max(now);
    }
    peak
}
