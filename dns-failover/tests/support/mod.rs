//! What the tests of this crate share.
#![allow(dead_code, reason = "every test file uses its own part of this folder")]
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

#[path = "../../../examples/tests/support/peer.rs"]
pub(crate) mod peer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dns_failover::{IncludeFolder, Name, Reading, ZoneReader};

/// Where the zone files of the tests are.
pub(crate) fn zones() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones")
}

/// All of them, by name.
pub(crate) fn zone_files() -> Vec<(String, PathBuf)> {
    let mut files: Vec<_> = fs::read_dir(zones())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "zone"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    files.sort();
    files
}

/// The apex that all of them have.
pub(crate) fn example() -> Name {
    "example.".parse().unwrap()
}

/// Reads a zone file as users do.
pub(crate) fn read(path: &Path) -> Reading {
    let folder = IncludeFolder::open(path.parent().unwrap()).unwrap();
    let text = fs::read(path).unwrap();
    ZoneReader::new().origin(&example()).file(path).includes(&folder).read(&text)
}

/// What a program says, and whether it ended well.
pub(crate) fn said(command: &mut Command) -> (bool, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}
