//! Small file systems, mounted where nobody else sees them.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::ground::am_root;

/// A mount namespace with something mounted in it. It is gone with its holder.
#[derive(Debug)]
pub(crate) struct Mounts {
    holder: Child,
    at: PathBuf,
}

impl Mounts {
    /// Mounts a tmpfs over the folder `at`, with options such as `size=1m,nr_inodes=20`.
    /// Where mounting is not possible this is told, and there is none.
    pub(crate) fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        Self::made(r#"mount -t tmpfs -o "$1" none "$2""#, options, at)
    }

    /// Puts the files of the folder `at` over those in /etc that have the same names. Nobody but
    /// root may.
    pub(crate) fn over_etc(at: &Path, names: &[&str]) -> Option<Self> {
        if !am_root() {
            println!("skipped: only root can become somebody else");
            return None;
        }
        let script = r#"for name in $1; do mount --bind "$2/$name" "/etc/$name" || exit; done"#;
        Self::made(script, &names.join(" "), at)
    }

    fn made(script: &str, options: &str, at: &Path) -> Option<Self> {
        let script = format!("{script} && echo mounted && read -r _");
        let mut holder = Command::new("unshare")
            .args(if am_root() { &["-m"][..] } else { &["-m", "--map-root-user"] })
            .args(["--", "sh", "-c", &script, "sh", options])
            .arg(at)
            // The holder waits on its standard input, so it ends when the test does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let stdout = holder.stdout.take()?;
        let mounts = Self { holder, at: at.to_owned() };
        let read = BufReader::new(stdout).read_line(&mut line);
        if read.is_err() || line != "mounted\n" {
            println!("skipped: mounting is not possible here");
            return None;
        }
        Some(mounts)
    }

    /// The words before a program that has to run inside.
    pub(crate) fn enter(&self) -> Vec<OsString> {
        let mut words = vec!["nsenter".into(), format!("-t{}", self.holder.id()).into()];
        if !am_root() {
            words.extend(["-U".into(), "--preserve-credentials".into()]);
        }
        words.extend(["-m".into(), "--".into()]);
        words
    }

    /// A path inside, for the test itself.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(path)
    }

    /// Makes the tmpfs read-only.
    pub(crate) fn freeze(&self) {
        let words = self.enter();
        let status = Command::new(&words[0])
            .args(&words[1..])
            // Of the mount alone: a user namespace may not set the options of the file system again.
            .args(["mount", "-o", "remount,bind,ro"])
            .arg(&self.at)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
