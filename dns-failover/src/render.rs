//! What each name server reads: its configuration and the zones that it starts with.
//!
//! A rendered server is data. [`Rendered::write`] puts it into a folder, which then goes to the server
//! as it is.

mod bind;
mod knot;
mod nsd;
mod powerdns;
mod text;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "net")]
pub(crate) use text::zone_file;
pub use write::{WriteError, Written};

use crate::key::TsigKey;
use crate::name::Name;
use crate::topology::{Feed, NameServer, Software, Topology};
use crate::zone::Zone;

/// Zones as text, printed once and shared by all servers.
#[derive(Debug, Clone, Default)]
pub struct ZoneTexts(BTreeMap<Name, Arc<[u8]>>);

impl ZoneTexts {
    /// Prints zones.
    pub fn print<'a>(zones: impl IntoIterator<Item = &'a Zone>) -> ZoneTexts {
        let mut text = Vec::with_capacity(4096);
        let print = |zone: &Zone| {
            text.clear();
            zone.write_text(&mut text);
            (zone.origin().clone(), text.as_slice().into())
        };
        ZoneTexts(zones.into_iter().map(print).collect())
    }

    /// The file of a zone.
    pub(crate) fn file(&self, zone: &Name, path: PathBuf, keeper: Keeper) -> Option<RenderedFile> {
        let contents = Arc::clone(self.0.get(zone)?);
        Some(RenderedFile { path, contents, secret: false, keeper })
    }

    /// The text of a zone.
    pub fn get(&self, zone: &Name) -> Option<&[u8]> {
        self.0.get(zone).map(|text| &**text)
    }
}

/// Whether a file stays what was rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeper {
    /// We make it anew each time.
    Ours,
    /// The server changes it as it goes: it is only written where there is none.
    Servers,
}

/// A file for a server.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Where it goes, relative to the server's folder.
    pub path: PathBuf,
    /// What is in it.
    pub contents: Arc<[u8]>,
    /// Whether it holds a secret: then its mode is 0600, else 0644.
    pub secret: bool,
    /// Who changes it.
    pub keeper: Keeper,
}

/// The contents are not shown: there may be a secret in them.
impl fmt::Debug for RenderedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RenderedFile { path, contents, secret, keeper } = self;
        let octets = contents.len();
        write!(f, "RenderedFile {{ {path:?}, {octets} octets, secret: {secret}, {keeper:?} }}")
    }
}

/// All files of one name server, in the order of their paths.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The server.
    pub server: Name,
    /// Its program.
    pub software: Software,
    /// The files.
    pub files: Vec<RenderedFile>,
}

impl Rendered {
    /// The file at a path.
    pub fn file(&self, path: &str) -> Option<&RenderedFile> {
        self.files.iter().find(|file| file.path.as_os_str() == path)
    }
}

/// What the name server at `index` reads, where `zones` holds the text of every domain and of the
/// catalog.
pub fn render(topology: &Topology, index: usize, zones: &ZoneTexts) -> Option<Rendered> {
    let server = topology.name_servers().get(index)?;
    let context = Context::new(topology, server, zones);
    let mut files = match server.software {
        Software::Bind => bind::files(&context),
        Software::Knot => knot::files(&context),
        Software::Nsd => nsd::files(&context),
        Software::PowerDns => powerdns::files(&context),
    };
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Some(Rendered { server: server.name.clone(), software: server.software, files })
}

/// What a server's files are made from.
struct Context<'a> {
    topology: &'a Topology,
    server: &'a NameServer,
    zones: &'a ZoneTexts,
    /// Those who transfer zones from this server.
    secondaries: Vec<&'a NameServer>,
    /// Those that this server transfers zones from.
    primaries: Vec<&'a NameServer>,
}

impl<'a> Context<'a> {
    fn new(topology: &'a Topology, server: &'a NameServer, zones: &'a ZoneTexts) -> Context<'a> {
        let servers = topology.name_servers();
        let transfers = |other: &&NameServer| match &other.feed {
            Feed::Transfer { from } => from.contains(&server.name),
            _ => false,
        };
        let primaries = match &server.feed {
            Feed::Transfer { from } => {
                from.iter().filter_map(|name| servers.iter().find(|s| s.name == *name)).collect()
            }
            _ => Vec::new(),
        };
        let secondaries = servers.iter().filter(transfers).collect();
        Context { topology, server, zones, secondaries, primaries }
    }

    fn catalog(&self) -> &'a Name {
        &self.topology.authority().catalog
    }

    /// Whether this server is where zones are changed.
    fn is_primary(&self) -> bool {
        self.primaries.is_empty()
    }

    /// Every zone that is told by name: all of them where the server does not learn them from the
    /// catalog.
    fn listed(&self) -> impl Iterator<Item = &'a Name> + use<'a> {
        let catalog = self.is_primary().then(|| self.catalog());
        let by_name = self.is_primary() || !self.server.software.reads_catalogs();
        let domains = by_name.then(|| self.topology.domains().keys());
        domains.into_iter().flatten().chain(catalog)
    }

    /// The keys that this server must know: its own, and those of who transfers from it. No key
    /// twice, where servers share one.
    fn keys(&self) -> Vec<&'a TsigKey> {
        let mut keys: Vec<&TsigKey> = vec![&self.server.key];
        for secondary in &self.secondaries {
            if keys.iter().all(|key| key.name() != secondary.key.name()) {
                keys.push(&secondary.key);
            }
        }
        keys
    }

    /// The path of something in the server's folder.
    fn at(&self, path: &str) -> String {
        self.server.folder.join(path).display().to_string()
    }

    /// The files of all zones that this server starts with.
    fn seeds(&self) -> Vec<RenderedFile> {
        if !self.is_primary() {
            return Vec::new();
        }
        let keeper = match self.server.feed {
            Feed::Files { .. } => Keeper::Ours,
            _ => Keeper::Servers,
        };
        let file =
            |name: &Name| self.zones.file(name, PathBuf::from(text::zone_file(name)), keeper);
        self.listed().filter_map(file).collect()
    }

    fn file(path: &str, contents: String, secret: bool) -> RenderedFile {
        let contents = contents.into_bytes().into();
        RenderedFile { path: path.into(), contents, secret, keeper: Keeper::Ours }
    }
}

#[cfg(test)]
mod tests;
