//! Servers that read files.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::render::{Keeper, Rendered, ZoneTexts, zone_file};
use crate::topology::{Feed, NameServer};
use crate::zone::Zone;

/// How zone files get to a server that takes neither UPDATE nor transfers.
pub trait Deploy: Sync {
    /// Puts zones in place and has the server read them.
    ///
    /// # Errors
    /// What kept it from that; what is served then is for the next look to find out.
    fn deploy(&self, server: &NameServer, zones: &[&Zone]) -> io::Result<()>;
}

/// Servers whose folder is reachable here, on this machine or mounted: files are written there, each
/// whole, and the server's reload command runs in it. No shell has a hand in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalFiles;

impl Deploy for LocalFiles {
    fn deploy(&self, server: &NameServer, zones: &[&Zone]) -> io::Result<()> {
        let Feed::Files { reload } = &server.feed else { return Ok(()) };
        let texts = ZoneTexts::print(zones.iter().copied());
        let file = |zone: &&Zone| {
            let path = PathBuf::from(zone_file(zone.origin()));
            texts.file(zone.origin(), path, Keeper::Ours)
        };
        let files = zones.iter().filter_map(file).collect();
        let (name, software) = (server.name.clone(), server.software);
        let rendered = Rendered { server: name, software, files };
        rendered.write(&server.folder).map_err(io::Error::other)?;
        let Some((program, arguments)) = reload.command.split_first() else { return Ok(()) };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&server.folder).stdin(Stdio::null());
        let said = command.output()?;
        if said.status.success() {
            return Ok(());
        }
        // The end of what it said, which is where programs put the reason.
        let words = [said.stdout, said.stderr].concat();
        let words = String::from_utf8_lossy(&words[words.len().saturating_sub(500)..]).into_owned();
        let why = format!("{program} ended with {}: {}", said.status, words.trim().escape_debug());
        Err(io::Error::other(why))
    }
}
