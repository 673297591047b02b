//! Zone files: reading them (RFC 1035 section 5.1, RFC 2308 section 4, RFC 3597 section 5).

mod build;
mod entry;
mod include;
mod period;
pub(crate) mod rules;
pub(crate) mod scan;
mod text;

use std::path::Path;

pub use build::Places;
pub use include::{IncludeFolder, Includes, NoIncludes};
pub(crate) use period::period;
pub use text::TextError;

use crate::diagnostic::Diagnostic;
use crate::name::Name;
use crate::zone::Zone;

/// How a zone file is read.
///
/// Everything that is wrong is told, and reading goes on behind it; what could be read is in the zone.
/// The text may hold any octets. Time and memory are bounded by the length of the text and of what it
/// includes.
///
/// ```
/// use dns_failover::ZoneReader;
///
/// let origin = "example.".parse()?;
/// let text = b"$TTL 1h\n@ SOA ns1 admin 1 4h 1h 1w 5m\n NS ns1\nns1 A 192.0.2.1\nwww A 192.0.2.300\n";
/// let reading = ZoneReader::new().origin(&origin).file("db.example").read(text);
/// assert_eq!(reading.zone.len(), 3);
/// assert_eq!(
///     reading.diagnostics[0].to_string(),
///     "db.example:5:7: error[READ20]: \"192.0.2.300\" is no IPv4 address"
/// );
/// # Ok::<(), dns_failover::NameError>(())
/// ```
#[derive(Clone, Copy)]
pub struct ZoneReader<'a> {
    origin: Option<&'a Name>,
    file: &'a Path,
    includes: &'a dyn Includes,
    most_faults: usize,
    with_places: bool,
}

impl<'a> ZoneReader<'a> {
    /// Takes relative names and the apex from the file itself, and includes nothing.
    pub fn new() -> ZoneReader<'a> {
        ZoneReader {
            origin: None,
            file: Path::new("zone"),
            includes: &NoIncludes,
            most_faults: 10_000,
            with_places: false,
        }
    }

    /// Which zone it is, and what names are relative to until `$ORIGIN` says otherwise. Without it the
    /// owner of the SOA record is the apex.
    #[must_use]
    pub fn origin(self, origin: &'a Name) -> ZoneReader<'a> {
        ZoneReader { origin: Some(origin), ..self }
    }

    /// What the file is called in diagnostics.
    #[must_use]
    pub fn file(self, file: &'a (impl AsRef<Path> + ?Sized)) -> ZoneReader<'a> {
        ZoneReader { file: file.as_ref(), ..self }
    }

    /// Where `$INCLUDE` reads from. At most ten levels deep, a thousand files and 1 GiB in all.
    #[must_use]
    pub fn includes(self, includes: &'a dyn Includes) -> ZoneReader<'a> {
        ZoneReader { includes, ..self }
    }

    /// After how many findings reading ends; 10,000 if nothing is said.
    #[must_use]
    pub fn most_findings(self, most: usize) -> ZoneReader<'a> {
        ZoneReader { most_faults: most, ..self }
    }

    /// Remembers where each RRset begins.
    #[must_use]
    pub fn with_places(self) -> ZoneReader<'a> {
        ZoneReader { with_places: true, ..self }
    }
}

impl Default for ZoneReader<'_> {
    fn default() -> Self {
        ZoneReader::new()
    }
}

impl std::fmt::Debug for ZoneReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZoneReader")
            .field("origin", &self.origin)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// What came out of reading a zone file.
#[derive(Debug, Clone)]
#[must_use]
pub struct Reading {
    /// The zone, as far as it could be read.
    pub zone: Zone,
    /// What is wrong, file by file, from top to bottom.
    pub diagnostics: Vec<Diagnostic>,
    /// Where each RRset begins; nothing unless [`ZoneReader::with_places`] asked for it.
    pub places: Places,
}

impl Reading {
    /// Whether nothing is wrong but for warnings.
    pub fn is_clean(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}
