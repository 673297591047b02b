//! What `zones` does with zone files, `print` and `check`, and with name servers: `render`, `plan`,
//! `publish` and `verify`.

pub mod check;
pub mod fleet;
pub mod print;
pub mod publish;
pub mod render;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dns_failover::{Diagnostic, IncludeFolder, Name, NoIncludes, Reading, ZoneReader};

use crate::capped;
use crate::keys::Failure;

/// Some ten million records.
const MOST: u64 = 1 << 30;

/// Reads a zone file. What it includes must lie in its folder or below it.
fn read(file: &Path, origin: Option<&Name>) -> Result<Reading, Failure> {
    let text = capped::bytes(file, MOST).map_err(|error| Failure::of(file, error))?;
    let parent = match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut reader = ZoneReader::new().file(file).with_places();
    if let Some(origin) = origin {
        reader = reader.origin(origin);
    }
    // A folder that cannot be opened matters only where something is included.
    Ok(match IncludeFolder::open(&parent) {
        Ok(folder) => reader.includes(&folder).read(&text),
        Err(_) => reader.includes(&NoIncludes).read(&text),
    })
}

/// Tells what is wrong, each with what to do about it.
///
/// # Errors
/// When nobody takes what is printed.
pub fn tell(diagnostics: &[Diagnostic], out: &mut impl Write) -> io::Result<()> {
    for diagnostic in diagnostics {
        writeln!(out, "{diagnostic}")?;
        writeln!(out, "    help: {} ({})", diagnostic.rule.help, diagnostic.rule.reference)?;
    }
    Ok(())
}
