//! Single records and RDATA from their text.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error};

use super::scan::{Fault, Scanner};
use super::{NoIncludes, ZoneReader, rules};
use crate::diagnostic::{Diagnostic, Rule};
use crate::name::Name;
use crate::rdata::read::{self, Input};
use crate::rdata::{Rdata, RecordType};
use crate::record::Record;
use crate::zone::Zone;

/// Why a text is no record or no RDATA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (column {column}; {}: {})", rule.id, rule.help)]
#[non_exhaustive]
pub struct TextError {
    /// Which rule it breaks.
    pub rule: &'static Rule,
    /// How.
    pub message: String,
    /// Where, counted from 1 in octets.
    pub column: u32,
}

impl From<Fault> for TextError {
    fn from(fault: Fault) -> TextError {
        let Fault { rule, at, message } = fault;
        TextError { rule, message, column: u32::try_from(at + 1).unwrap_or(u32::MAX) }
    }
}

impl Rdata {
    /// Reads RDATA as a zone file writes it. Relative names are relative to `origin`, where one is given.
    ///
    /// # Errors
    /// [`TextError`] says what is wrong, and where.
    ///
    /// ```
    /// use dns_failover::{Name, Rdata, RecordType};
    ///
    /// let origin: Name = "example.".parse()?;
    /// let mx = Rdata::parse(RecordType::MX, "10 mail", Some(&origin))?;
    /// assert_eq!(mx.to_string(), "10 mail.example.");
    /// let error = Rdata::parse(RecordType::MX, "ten mail", Some(&origin)).unwrap_err();
    /// assert_eq!((error.rule.id, error.column), ("READ19", 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse(
        rtype: RecordType,
        text: impl AsRef<[u8]>,
        origin: Option<&Name>,
    ) -> Result<Rdata, TextError> {
        let mut scanner = Scanner::new(text.as_ref());
        let mut wire = Vec::new();
        let mut input = Input { scanner: &mut scanner, origin };
        read::rdata(rtype, &mut input, &mut wire)?;
        match scanner.peek() {
            None => Ok(Rdata::trusted(rtype, &wire)),
            Some(_) => {
                let message = "the text goes on behind the end of the line";
                Err(Fault::new(rules::TOO_LONG, scanner.at(), message).into())
            }
        }
    }
}

/// A line of a zone file in full: owner, TTL and RDATA; names without a last dot are taken as absolute.
impl FromStr for Record {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Record, TextError> {
        let root = Name::root();
        let reader = ZoneReader { origin: Some(&root), includes: &NoIncludes, ..ZoneReader::new() };
        match reader.record(text.as_bytes()) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => {
                let message = "there is no record in this text, or more than one";
                Err(Fault::new(rules::NO_TYPE, 0, message).into())
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Record, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Zone {
    /// Reads a zone file without includes, and takes it only when nothing is wrong but for warnings.
    ///
    /// # Errors
    /// Everything that is wrong. [`ZoneReader`] has more to choose from, and gives what could be read.
    pub fn parse(origin: &Name, text: impl AsRef<[u8]>) -> Result<Zone, Vec<Diagnostic>> {
        let reading = ZoneReader::new().origin(origin).read(text.as_ref());
        if reading.is_clean() { Ok(reading.zone) } else { Err(reading.diagnostics) }
    }
}
