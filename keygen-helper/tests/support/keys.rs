//! Key pairs by ssh-keygen, for tests that are not about making them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes `DIR/NAME` and `DIR/NAME.pub`, of a type as `ssh-keygen -t` has it, with more arguments
/// behind it: `"rsa -b 2048"`.
pub(crate) fn generate(dir: &Path, name: &str, kind: &str) -> PathBuf {
    let file = dir.join(name);
    let mut words = kind.split(' ');
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-C", name, "-t"]).args(words.by_ref()).arg("-f").arg(&file);
    run(&mut command);
    file
}

/// `ALGORITHM BASE64` of a pair.
pub(crate) fn public(pair: &Path) -> String {
    let text = fs::read_to_string(pair.with_extension("pub")).unwrap();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// Runs a command that has to succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
