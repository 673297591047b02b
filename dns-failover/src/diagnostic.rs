//! What is wrong, where, by which rule, and what to do about it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::name::Name;
use crate::rdata::RecordType;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// It works, but not in every situation or not with everybody.
    Warning,
    /// A server refuses it, or it does not work.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// A rule that zones or zone files are held against. Ids never change their meaning; those that
/// Zonemaster has are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Rule {
    /// What it is called, such as `ZONE02`.
    pub id: &'static str,
    /// How bad it is to break it.
    pub severity: Severity,
    /// Where it is written down.
    pub reference: &'static str,
    /// What to do about it.
    pub help: &'static str,
}

impl Rule {
    pub(crate) const fn error(
        id: &'static str,
        reference: &'static str,
        help: &'static str,
    ) -> Rule {
        Rule { id, severity: Severity::Error, reference, help }
    }

    pub(crate) const fn warning(
        id: &'static str,
        reference: &'static str,
        help: &'static str,
    ) -> Rule {
        Rule { id, severity: Severity::Warning, reference, help }
    }

    pub(crate) const fn notice(
        id: &'static str,
        reference: &'static str,
        help: &'static str,
    ) -> Rule {
        Rule { id, severity: Severity::Notice, reference, help }
    }
}

/// Every rule that zone files and zones are held against, for documents and translations.
pub fn all_rules() -> impl Iterator<Item = &'static Rule> {
    crate::master::rules::ALL.iter().chain(crate::check::rules::ALL).copied()
}

/// A module's rules: constants, and all of them together.
macro_rules! rules {
    ($($name:ident $kind:ident $id:literal $reference:expr, $help:literal;)*) => {
        $(pub(crate) const $name: &$crate::diagnostic::Rule =
            &$crate::diagnostic::Rule::$kind($id, $reference, $help);)*

        /// Every rule of this module.
        pub(crate) const ALL: &[&$crate::diagnostic::Rule] = &[$($name),*];
    };
}
pub(crate) use rules;

/// A place in a file. Lines and columns are counted from 1, columns in octets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Place {
    /// The file, as the caller named it or as `$INCLUDE` did.
    pub file: Arc<Path>,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Place {
    /// The place of this line and column.
    pub fn new(file: impl Into<Arc<Path>>, line: u32, column: u32) -> Place {
        Place { file: file.into(), line, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut place = serializer.serialize_struct("Place", 3)?;
        place.serialize_field("file", &self.file.to_string_lossy())?;
        place.serialize_field("line", &self.line)?;
        place.serialize_field("column", &self.column)?;
        place.end()
    }
}

/// One thing that is wrong. It prints as `FILE:LINE:COLUMN: error[ID]: message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Which rule is broken.
    #[serde(flatten)]
    pub rule: &'static Rule,
    /// How.
    pub message: String,
    /// Where, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Whose records it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// Of which type they are.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub rtype: Option<RecordType>,
    /// In which failover state, where not in all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl Diagnostic {
    pub(crate) fn new(rule: &'static Rule, message: impl Into<String>) -> Diagnostic {
        let message = message.into();
        Diagnostic { rule, message, place: None, owner: None, rtype: None, state: None }
    }

    /// Whether this is an error and no mere warning.
    pub fn is_error(&self) -> bool {
        self.rule.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}[{}]: ", self.rule.severity, self.rule.id)?;
        if let Some(state) = &self.state {
            write!(f, "in state {state}: ")?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_rule_has_an_id_of_its_own_a_source_and_a_remedy() {
        let mut ids = BTreeSet::new();
        for rule in all_rules() {
            assert!(ids.insert(rule.id), "{} is there twice", rule.id);
            assert!(!rule.reference.is_empty() && !rule.help.ends_with('.'), "{}", rule.id);
            // Types and the like aside, sentences begin small.
            let capitals = rule.help.chars().take_while(|letter| letter.is_uppercase()).count();
            assert_ne!(capitals, 1, "{}", rule.id);
        }
    }
}
