//! Which paths take part in a mirror: ordered rules in the pattern language of gitignore.
//!
//! Patterns are parsed here, byte for byte as git reads them, and refused where git would silently
//! match nothing; what is left is handed to [`globset`] in a spelling that has one meaning. All
//! rules together are one automaton, so that a thousand rules cost little more than one and no
//! pattern takes more than linear time.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::entry::Digest;
use crate::error::{Error, explain};
use crate::path::RelPath;

/// The longest filter file that is read, and the most pattern text one filter holds, in bytes.
const TEXT_MAX: usize = 1 << 20;

/// Whether a path takes part in a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is scanned, copied and deleted like any other.
    Included,
    /// It is passed over on both sides, with everything below it.
    Excluded,
}

/// Which paths take part in a mirror, and which are never deleted.
///
/// Rules are tried in the order in which they were added and the last one that matches wins; a
/// path that none matches takes part. The default filter has no rules. Patterns are gitignore's:
///
/// | pattern | matches |
/// |---|---|
/// | `cache` | an entry named `cache` at any depth |
/// | `/cache` | `cache` directly in the root |
/// | `cache/` | directories named `cache` |
/// | `logs/*.gz` | what ends in `.gz` directly in the root's `logs`: an inner slash anchors |
/// | `**/tmp/*`, `a/**/b`, `a/**` | `**` stands for any number of directories |
/// | `?`, `[a-z]`, `[!0-9]`, `[[:space:]]` | one byte that is no slash, or one of a set |
/// | `\!x`, `\*` | a backslash takes away what a character means |
/// | `!cache` | no longer excluded |
///
/// Case matters, braces mean nothing, and names are compared as bytes. As in git, what lies in an
/// excluded directory is never looked at and so cannot be included again.
///
/// ```
/// use mirror_core::{Filter, RelPath, Verdict};
///
/// let filter = Filter::builder().exclude("*.log").include("/keep.log").protect("/uploads").build()?;
/// let verdict = |path: &str| filter.verdict(&RelPath::new(path.as_bytes()).unwrap(), false);
/// assert_eq!(verdict("a/b.log"), Verdict::Excluded);
/// assert_eq!(verdict("keep.log"), Verdict::Included);
/// assert!(filter.is_protected(&RelPath::new(b"uploads/cat.jpg").unwrap(), false));
/// # Ok::<(), mirror_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Filter {
    rules: Arc<[Rule]>,
    deletes_excluded: bool,
    choice: Option<Arc<Matcher>>,
    protection: Option<Arc<Matcher>>,
}

impl Filter {
    /// Starts a filter without rules.
    pub fn builder() -> FilterBuilder {
        FilterBuilder::default()
    }

    /// What the rules say of `path` alone; `is_directory` says what it is.
    ///
    /// Its parents are not asked: who walks a tree never enters an excluded directory. For a path
    /// out of the blue there is [`admits`](Self::admits). The root is always included.
    pub fn verdict(&self, path: &RelPath, is_directory: bool) -> Verdict {
        let last = self.choice.as_ref().and_then(|matcher| matcher.last(path, is_directory));
        match last {
            Some(RuleKind::Exclude) => Verdict::Excluded,
            _ => Verdict::Included,
        }
    }

    /// Whether a scan would list `path`: neither it nor a directory above it is excluded.
    pub fn admits(&self, path: &RelPath, is_directory: bool) -> bool {
        self.choice.is_none()
            || (self.verdict(path, is_directory) == Verdict::Included
                && parents(path).all(|parent| self.verdict(&parent, true) == Verdict::Included))
    }

    /// Whether `path` is never deleted on the target: a protect rule matches it or a directory
    /// above it.
    pub fn is_protected(&self, path: &RelPath, is_directory: bool) -> bool {
        let Some(matcher) = &self.protection else {
            return false;
        };
        matcher.last(path, is_directory).is_some()
            || parents(path).any(|parent| matcher.last(&parent, true).is_some())
    }

    /// Whether excluded entries are deleted on the target, where they are otherwise left alone.
    pub fn deletes_excluded(&self) -> bool {
        self.deletes_excluded
    }

    /// Whether there is no rule at all, so that every path takes part.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A digest that two filters share when they hold the same rules in the same order and agree
    /// on deleting what is excluded.
    ///
    /// A remembered tree belongs to the filter that it was seen through; this tells whether it is
    /// still the same one. The value stays the same from version to version.
    pub fn fingerprint(&self) -> Digest {
        let mut bytes = b"mirror-filter 1\n".to_vec();
        bytes.push(u8::from(self.deletes_excluded));
        for rule in self.rules.iter() {
            bytes.push(match rule.kind {
                RuleKind::Exclude => b'-',
                RuleKind::Include => b'+',
                RuleKind::Protect => b'P',
            });
            bytes.extend_from_slice(&(rule.pattern.len() as u64).to_le_bytes());
            bytes.extend_from_slice(rule.pattern.as_bytes());
        }
        Digest::of(&bytes)
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Filter) -> bool {
        self.rules == other.rules && self.deletes_excluded == other.deletes_excluded
    }
}

impl Eq for Filter {}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("rules", &self.rules)
            .field("deletes_excluded", &self.deletes_excluded)
            .finish_non_exhaustive()
    }
}

/// The directories above `path`, from the nearest up, without the root.
fn parents(path: &RelPath) -> impl Iterator<Item = RelPath> {
    std::iter::successors(Some(path.parent()), |path| Some(path.parent()))
        .take_while(|path| !path.is_root())
}

/// Collects the rules of a [`Filter`] in the order in which they are to be tried.
///
/// A rule that cannot be used is not skipped: [`build`](Self::build) then fails with what was
/// wrong with the first such rule.
#[derive(Debug, Default)]
pub struct FilterBuilder {
    rules: Vec<Rule>,
    text: usize,
    deletes_excluded: bool,
    error: Option<Error>,
}

impl FilterBuilder {
    /// Adds a pattern for paths to pass over, or with a leading `!` for paths to include again.
    ///
    /// The pattern is taken whole: `#` and closing blanks, which mean something in a file, are
    /// parts of the name here.
    pub fn exclude(&mut self, pattern: &str) -> &mut FilterBuilder {
        match pattern.strip_prefix('!') {
            Some(pattern) => self.include(pattern),
            None => self.add(RuleKind::Exclude, pattern),
        }
    }

    /// Adds a pattern for paths to include again: `include("x")` is `exclude("!x")`.
    ///
    /// A name that begins with `!` is written `\!`.
    pub fn include(&mut self, pattern: &str) -> &mut FilterBuilder {
        self.add(RuleKind::Include, pattern)
    }

    /// Adds a pattern for paths that are never deleted on the target, nor anything below them.
    ///
    /// Protecting stands beside excluding: a protected path is still copied and replaced.
    pub fn protect(&mut self, pattern: &str) -> &mut FilterBuilder {
        self.add(RuleKind::Protect, pattern)
    }

    /// Adds the rules of a file, which is read now: gitignore's syntax, and lines
    /// `protect: PATTERN`. A name that begins with `protect:` is written `\protect:`.
    ///
    /// At most 1 MiB is read. A symlink is followed, for the path is the caller's own.
    pub fn file(&mut self, file: &Path) -> &mut FilterBuilder {
        match read(file) {
            Ok(text) => self.lines(file, &text),
            Err(why) => self.fail(Some(file), 0, why),
        }
        self
    }

    /// Whether excluded entries are deleted on the target. They are left alone otherwise.
    pub fn delete_excluded(&mut self, yes: bool) -> &mut FilterBuilder {
        self.deletes_excluded = yes;
        self
    }

    /// Makes the filter.
    ///
    /// # Errors
    /// [`Error::Filter`] for the first rule that is malformed or can match nothing, for a file
    /// that cannot be read, is longer than 1 MiB or holds a line that is not UTF-8, and for more
    /// rules than fit into memory set aside for them. It names the line and never shows its text.
    pub fn build(&mut self) -> Result<Filter, Error> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let of = |wanted: fn(RuleKind) -> bool| {
            Matcher::new(self.rules.iter().filter(|rule| wanted(rule.kind))).map_err(|()| {
                Error::Filter {
                    file: None,
                    line: self.rules.len(),
                    why: "all rules together are too large".into(),
                }
            })
        };
        Ok(Filter {
            choice: of(|kind| kind != RuleKind::Protect)?,
            protection: of(|kind| kind == RuleKind::Protect)?,
            rules: self.rules.clone().into(),
            deletes_excluded: self.deletes_excluded,
        })
    }

    fn add(&mut self, kind: RuleKind, pattern: &str) -> &mut FilterBuilder {
        let place = self.rules.len() + 1;
        self.add_from(None, place, kind, pattern);
        self
    }

    fn add_from(&mut self, file: Option<&Path>, line: usize, kind: RuleKind, pattern: &str) {
        if self.error.is_some() {
            return;
        }
        self.text += pattern.len();
        match Pattern::parse(pattern) {
            Err(why) => self.fail(file, line, why.into()),
            Ok(_) if self.text > TEXT_MAX => {
                self.fail(file, line, "all rules together are longer than 1 MiB".into());
            }
            Ok(compiled) => self.rules.push(Rule { kind, pattern: pattern.into(), compiled }),
        }
    }

    fn lines(&mut self, file: &Path, text: &[u8]) {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Ok(line) = std::str::from_utf8(line) else {
                return self.fail(Some(file), number, "it is not UTF-8".into());
            };
            if line.starts_with('#') {
                continue;
            }
            let line = without_closing_blanks(line);
            if line.is_empty() {
                continue;
            }
            if let Some(pattern) = line.strip_prefix("protect:") {
                let pattern = pattern.trim_start_matches([' ', '\t']);
                self.add_from(Some(file), number, RuleKind::Protect, pattern);
            } else if let Some(pattern) = line.strip_prefix('!') {
                // Git takes a second `!` for a part of the name.
                if pattern.starts_with('!') {
                    let pattern = format!("\\{pattern}");
                    self.add_from(Some(file), number, RuleKind::Include, &pattern);
                } else {
                    self.add_from(Some(file), number, RuleKind::Include, pattern);
                }
            } else {
                self.add_from(Some(file), number, RuleKind::Exclude, line);
            }
        }
    }

    /// Keeps the first error: later ones may only follow from it.
    fn fail(&mut self, file: Option<&Path>, line: usize, why: String) {
        if self.error.is_none() {
            self.error = Some(Error::Filter { file: file.map(PathBuf::from), line, why });
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let length = File::open(file)
        .and_then(|file| file.take(TEXT_MAX as u64 + 1).read_to_end(&mut text))
        .map_err(|error| explain(&error))?;
    if length > TEXT_MAX {
        return Err("it is longer than 1 MiB".into());
    }
    Ok(text)
}

/// Cuts blanks off the end of a line as git does: a backslash keeps the one after it.
fn without_closing_blanks(line: &str) -> &str {
    let mut end = 0;
    let mut characters = line.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ' ' => {}
            '\\' => {
                end = characters
                    .next()
                    .map_or(line.len(), |(at, character)| at + character.len_utf8());
            }
            character => end = at + character.len_utf8(),
        }
    }
    &line[..end]
}

/// What a rule does to the paths it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RuleKind {
    Exclude,
    Include,
    Protect,
}

/// One rule. The pattern is kept as it was given, without the `!` that its kind stands for.
#[derive(Clone, PartialEq, Eq)]
struct Rule {
    kind: RuleKind,
    pattern: Box<str>,
    compiled: Pattern,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.kind, self.pattern)
    }
}

/// Some rules as one automaton.
#[derive(Debug)]
struct Matcher {
    set: GlobSet,
    rules: Vec<(RuleKind, bool)>,
}

impl Matcher {
    /// None where there are no rules.
    fn new<'a>(rules: impl Iterator<Item = &'a Rule>) -> Result<Option<Arc<Matcher>>, ()> {
        let mut set = GlobSetBuilder::new();
        let mut kinds = Vec::new();
        for rule in rules {
            let glob = GlobBuilder::new(&rule.compiled.glob)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|_| ())?;
            set.add(glob);
            kinds.push((rule.kind, rule.compiled.only_directories));
        }
        if kinds.is_empty() {
            return Ok(None);
        }
        let set = set.build().map_err(|_| ())?;
        Ok(Some(Arc::new(Matcher { set, rules: kinds })))
    }

    /// The kind of the last rule that matches.
    fn last(&self, path: &RelPath, is_directory: bool) -> Option<RuleKind> {
        if path.is_root() {
            return None;
        }
        let mut hits = Vec::new();
        self.set.matches_candidate_into(&Candidate::from_bytes(path.as_bytes()), &mut hits);
        hits.iter().rev().map(|&hit| self.rules[hit]).find_map(|(kind, only_directories)| {
            (is_directory || !only_directories).then_some(kind)
        })
    }
}

/// A gitignore pattern in globset's spelling, which must match the whole path.
#[derive(Clone, PartialEq, Eq)]
struct Pattern {
    glob: String,
    only_directories: bool,
}

impl Pattern {
    fn parse(pattern: &str) -> Result<Pattern, &'static str> {
        if pattern.is_empty() {
            return Err("the pattern is empty");
        }
        if pattern.starts_with('!') {
            return Err(
                "a leading \"!\" has no meaning here; write \"\\!\" for a name that begins with one",
            );
        }
        if pattern.contains('\0') {
            return Err("it holds a NUL byte, which no name does");
        }
        let body = pattern.strip_suffix('/').unwrap_or(pattern);
        let anchored = body.contains('/');
        let body = body.strip_prefix('/').unwrap_or(body);
        // None of these names an entry, so the rule would silently do nothing.
        for component in body.split('/') {
            match component {
                "" => return Err("it has an empty component, which no path has"),
                "." | ".." => return Err("it has a \".\" or \"..\" component, which no path has"),
                _ => {}
            }
        }
        let mut glob = String::with_capacity(body.len() + 3);
        if !anchored {
            glob.push_str("**/");
        }
        translate(body, anchored, &mut glob)?;
        Ok(Pattern { glob, only_directories: pattern.ends_with('/') })
    }
}

fn translate(body: &str, anchored: bool, glob: &mut String) -> Result<(), &'static str> {
    let mut rest = body;
    while let Some(character) = rest.chars().next() {
        let at_component = rest.len() == body.len() || glob.ends_with('/');
        rest = &rest[character.len_utf8()..];
        match character {
            '*' => {
                let after = rest.trim_start_matches('*');
                let run = 1 + rest.len() - after.len();
                rest = after;
                let ends_component = rest.is_empty() || rest.starts_with('/');
                if run >= 2 && anchored && at_component && ends_component {
                    // Two in a row mean what one means.
                    if glob == "**/" || glob.ends_with("/**/") {
                        glob.truncate(glob.len() - 3);
                    }
                    glob.push_str("**");
                } else {
                    glob.push('*');
                }
            }
            '?' => glob.push('?'),
            '[' => {
                let (class, after) = Class::parse(rest)?;
                rest = after;
                class.spell(glob)?;
            }
            '\\' => {
                let Some(escaped) = rest.chars().next() else {
                    return Err("it ends in a lone backslash");
                };
                rest = &rest[escaped.len_utf8()..];
                spell_literal(escaped, glob);
            }
            character => spell_literal(character, glob),
        }
    }
    Ok(())
}

fn spell_literal(character: char, glob: &mut String) {
    if matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | ',' | '\\') {
        glob.push('\\');
    }
    glob.push(character);
}

/// What stands between `[` and `]`: a set of ASCII characters, or all bytes but these.
struct Class {
    members: [bool; 128],
    negated: bool,
}

impl Class {
    /// Parses what follows a `[`, and returns what follows the `]`. The rules are those of git's
    /// `wildmatch`: a `]` that comes first and an escaped character are members.
    fn parse(text: &str) -> Result<(Class, &str), &'static str> {
        const UNCLOSED: &str = "a \"[\" has no \"]\"; write \"\\[\" for a name that holds one";
        // A class matches one byte; other characters have several.
        const NOT_ASCII: &str = "only ASCII can stand between \"[\" and \"]\"";
        let bytes = text.as_bytes();
        let mut class =
            Class { members: [false; 128], negated: matches!(bytes.first(), Some(b'!' | b'^')) };
        let mut at = usize::from(class.negated);
        let mut range_start = None;
        let mut first = true;
        loop {
            let mut byte = *bytes.get(at).ok_or(UNCLOSED)?;
            at += 1;
            if byte == b']' && !first {
                return Ok((class, &text[at..]));
            }
            first = false;
            let next = bytes.get(at).copied();
            if byte == b'-'
                && next.is_some_and(|next| next != b']')
                && let Some(start) = range_start.take()
            {
                let mut end = bytes[at];
                at += 1;
                if end == b'\\' {
                    end = *bytes.get(at).ok_or(UNCLOSED)?;
                    at += 1;
                }
                if !end.is_ascii() {
                    return Err(NOT_ASCII);
                }
                if end < start {
                    return Err("a range between \"[\" and \"]\" runs backwards");
                }
                class.members[usize::from(start)..=usize::from(end)].fill(true);
                continue;
            }
            if byte == b'[' && next == Some(b':') {
                let name = &text[at + 1..];
                let length = name.find(']').ok_or(UNCLOSED)?;
                if let Some(name) = name[..length].strip_suffix(':') {
                    let holds = named_class(name).ok_or("it names no class that is known")?;
                    for (member, byte) in class.members.iter_mut().zip(0..) {
                        *member |= holds(&byte);
                    }
                    at += 1 + length + 1;
                    range_start = None;
                    continue;
                }
            }
            if byte == b'\\' {
                byte = next.ok_or(UNCLOSED)?;
                at += 1;
            }
            *class.members.get_mut(usize::from(byte)).ok_or(NOT_ASCII)? = true;
            range_start = Some(byte);
        }
    }

    /// Appends the class in globset's spelling, which knows no escapes between brackets: `]` must
    /// come first, `-` first or last, and `!` and `^` not first.
    fn spell(&self, glob: &mut String) -> Result<(), &'static str> {
        let is_plain = |byte: &u8| !matches!(byte, 0 | b'/' | b']' | b'-' | b'!' | b'^');
        let has = |byte: u8| self.members[usize::from(byte)];
        let mut inside = String::new();
        if has(b']') {
            inside.push(']');
        }
        inside.extend((0..128).filter(is_plain).filter(|&b| has(b)).map(char::from));
        let dash_first = !self.negated && inside.is_empty() && has(b'-');
        if dash_first {
            inside.push('-');
        }
        let signs = (has(b'!'), has(b'^'));
        if !self.negated && inside.is_empty() {
            glob.push_str(match signs {
                (true, true) => "{!,^}",
                (true, false) => "!",
                (false, true) => "^",
                (false, false) => return Err("a \"[]\" that can match no name"),
            });
            return Ok(());
        }
        if signs.0 {
            inside.push('!');
        }
        if signs.1 {
            inside.push('^');
        }
        if self.negated {
            inside.push('/');
        }
        if has(b'-') && !dash_first {
            inside.push('-');
        }
        glob.push_str(if self.negated { "[!" } else { "[" });
        glob.push_str(&inside);
        glob.push(']');
        Ok(())
    }
}

/// The POSIX classes as git has them, for ASCII.
fn named_class(name: &str) -> Option<fn(&u8) -> bool> {
    Some(match name {
        "alnum" => u8::is_ascii_alphanumeric,
        "alpha" => u8::is_ascii_alphabetic,
        "blank" => |byte| matches!(byte, b' ' | b'\t'),
        "cntrl" => u8::is_ascii_control,
        "digit" => u8::is_ascii_digit,
        "graph" => u8::is_ascii_graphic,
        "lower" => u8::is_ascii_lowercase,
        "print" => |byte| matches!(byte, b' '..=b'~'),
        "punct" => u8::is_ascii_punctuation,
        "space" => |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'),
        "upper" => u8::is_ascii_uppercase,
        "xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

/// A rule as it is stored. Deleting what is excluded is one more entry at the end, so that a
/// filter stays one list. A struct rather than a tagged enum: binary formats can read it back.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    rule: StoredKind,
    #[serde(default)]
    pattern: std::borrow::Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredKind {
    Exclude,
    Include,
    Protect,
    DeleteExcluded,
}

/// As a list of `{"rule": "exclude", "pattern": "…"}`.
impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rules = self.rules.iter().map(|rule| Stored {
            rule: match rule.kind {
                RuleKind::Exclude => StoredKind::Exclude,
                RuleKind::Include => StoredKind::Include,
                RuleKind::Protect => StoredKind::Protect,
            },
            pattern: (&*rule.pattern).into(),
        });
        let last = self
            .deletes_excluded
            .then_some(Stored { rule: StoredKind::DeleteExcluded, pattern: "".into() });
        // A vector, because binary formats must know the length beforehand.
        rules.chain(last).collect::<Vec<_>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Filter, D::Error> {
        let mut builder = Filter::builder();
        for Stored { rule, pattern } in Vec::<Stored<'_>>::deserialize(deserializer)? {
            match rule {
                StoredKind::Exclude => builder.add(RuleKind::Exclude, &pattern),
                StoredKind::Include => builder.add(RuleKind::Include, &pattern),
                StoredKind::Protect => builder.add(RuleKind::Protect, &pattern),
                StoredKind::DeleteExcluded => builder.delete_excluded(true),
            };
        }
        builder.build().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn path(bytes: impl AsRef<[u8]>) -> RelPath {
        RelPath::new(bytes.as_ref()).unwrap()
    }

    fn excludes(pattern: &str, candidate: impl AsRef<[u8]>) -> bool {
        let filter = Filter::builder().exclude(pattern).build().unwrap();
        filter.verdict(&path(candidate), false) == Verdict::Excluded
    }

    fn from_file(text: &[u8]) -> Result<Filter, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        Filter::builder().file(file.path()).build()
    }

    #[test]
    fn a_pattern_matches_what_gitignore_says() {
        let table: [(&str, &[&str], &[&str]); 23] = [
            ("x", &["x", "a/x"], &["xx", "x/a"]),
            ("/x", &["x"], &["a/x"]),
            ("a/x", &["a/x"], &["b/a/x", "a"]),
            ("*.o", &["a.o", "d/b.o", ".o"], &["o", "a.o/x"]),
            ("a/*", &["a/b"], &["a", "a/b/c"]),
            ("a/**", &["a/b", "a/b/c"], &["a", "ab"]),
            ("**/x", &["x", "a/x", "a/b/x"], &["ax"]),
            ("a/**/x", &["a/x", "a/b/x", "a/b/c/x"], &["ax", "a/bx"]),
            ("a/**/**/x", &["a/x", "a/b/x"], &["ax"]),
            ("**/**", &["a", "a/b"], &[]),
            ("/**", &["a", "a/b"], &[]),
            ("**", &["a", "a/b"], &[]),
            ("a**b", &["ab", "axb", "d/axxb"], &["a/b"]),
            ("a?c", &["abc"], &["a/c", "ac"]),
            ("/a[!x]c", &["abc"], &["axc", "a/c"]),
            ("/a[+-9]c", &["a5c", "a-c"], &["a/c"]),
            ("[]-]x", &["]x", "-x"], &["ax"]),
            ("[!]-]x", &["ax"], &["]x", "-x"]),
            ("[\\!^]x", &["!x", "^x"], &["ax", "\\x"]),
            ("[-!]x", &["!x", "-x"], &["ax"]),
            ("[[:digit:]_]x", &["1x", "_x"], &["ax", ":x"]),
            ("{a,b}\\*", &["{a,b}*"], &["a*", "b", "{a,b}c"]),
            ("#x ", &["#x "], &["#x", "x"]),
        ];
        for (pattern, yes, no) in table {
            for candidate in yes {
                assert!(excludes(pattern, candidate), "{pattern} {candidate}");
            }
            for candidate in no {
                assert!(!excludes(pattern, candidate), "{pattern} {candidate}");
            }
        }
    }

    #[test]
    fn names_are_bytes() {
        assert!(excludes("*.txt", b"\xff\xfe.txt"));
        assert!(excludes("a*z", b"d/a\xff\nz"));
        assert!(excludes("/d/**/x", b"d/\xff/\n/x"));
        assert!(excludes("ü", "ü"));
        assert!(!excludes("ü", b"\xfc"));
        assert!(!excludes("\u{fffd}", b"\xff"));
        assert!(excludes("??", "ü"));
        assert!(excludes("[!a]", b"\xff"));
    }

    #[test]
    fn the_last_rule_wins() {
        let filter = Filter::builder()
            .exclude("*.log")
            .include("a.log")
            .exclude("/d/a.log")
            .exclude("!/d/e/a.log")
            .build()
            .unwrap();
        let verdict = |text: &str| filter.verdict(&path(text), false);
        assert_eq!(verdict("b.log"), Verdict::Excluded);
        assert_eq!(verdict("a.log"), Verdict::Included);
        assert_eq!(verdict("d/a.log"), Verdict::Excluded);
        assert_eq!(verdict("d/e/a.log"), Verdict::Included);
        assert_eq!(verdict("other"), Verdict::Included);
    }

    #[test]
    fn a_trailing_slash_matches_directories_and_what_they_hold_is_not_admitted() {
        let filter = Filter::builder().exclude("cache/").build().unwrap();
        assert_eq!(filter.verdict(&path("a/cache"), true), Verdict::Excluded);
        assert_eq!(filter.verdict(&path("a/cache"), false), Verdict::Included);
        assert_eq!(filter.verdict(&path("a/cache/x"), false), Verdict::Included);
        assert!(!filter.admits(&path("a/cache/x/y"), false));
        assert!(filter.admits(&path("a/cache"), false));
    }

    #[test]
    fn protection_covers_what_is_below_and_excludes_nothing() {
        let filter = Filter::builder().protect("up/").build().unwrap();
        assert!(filter.is_protected(&path("a/up/b/c"), false));
        assert!(filter.is_protected(&path("up"), true));
        assert!(!filter.is_protected(&path("up"), false));
        assert_eq!(filter.verdict(&path("up"), true), Verdict::Included);
        assert!(!filter.is_empty());
    }

    #[test]
    fn no_rules_let_everything_through() {
        let filter = Filter::default();
        assert!(filter.is_empty());
        assert!(filter.admits(&path("a"), true));
        assert!(!filter.is_protected(&path("a"), true));
        assert_eq!(filter, Filter::builder().build().unwrap());
        let all = Filter::builder().exclude("*").build().unwrap();
        assert_eq!(all.verdict(&RelPath::root(), true), Verdict::Included);
    }

    #[test]
    fn a_file_is_read_as_git_reads_it() {
        let text = b"\xef\xbb\xbf# comment\r\n\r\n\\#x\n*.o  \na\\ \n!keep.o\r\n!!y\nprotect:  /up\n\\protect: z\n   ";
        let direct = Filter::builder()
            .exclude("\\#x")
            .exclude("*.o")
            .exclude("a\\ ")
            .include("keep.o")
            .include("\\!y")
            .protect("/up")
            .exclude("\\protect: z")
            .build()
            .unwrap();
        let filter = from_file(text).unwrap();
        assert_eq!(filter, direct);
        assert_eq!(filter.fingerprint(), direct.fingerprint());
        for name in ["#x", "b.o", "a ", "protect: z"] {
            assert_eq!(filter.verdict(&path(name), false), Verdict::Excluded);
        }
        assert_eq!(filter.verdict(&path("!y"), false), Verdict::Included);
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        for bad in [
            "", "/", "//", "a//b", "a//", "./a", "a/..", "[a", "[!a", "[]", "[a\\", "[[:x:]]",
            "[z-a]", "[é]", "[/]", "a\\", "a\\/", "a\0b", "!!a",
        ] {
            let error = Filter::builder().exclude("x").exclude(bad).build().unwrap_err();
            assert!(
                matches!(error, Error::Filter { file: None, line: 2, .. }),
                "{bad:?} {error:?}"
            );
        }
        assert!(Filter::builder().include("!a").build().is_err());
        assert!(Filter::builder().protect("!a").build().is_err());
    }

    #[test]
    fn a_files_text_is_never_shown() {
        for (text, number) in
            [(&b"ok\nsecret[\n"[..], 2), (b"secret\xff", 1), (b"\n\nprotect: \n", 3)]
        {
            let error = from_file(text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("secret"), "{shown}");
            assert!(matches!(error, Error::Filter { file: Some(_), line, .. } if line == number));
        }
    }

    #[test]
    fn a_file_that_is_missing_or_too_long_stops_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("none");
        let error = Filter::builder().file(&missing).build().unwrap_err();
        assert!(error.to_string().contains("it does not exist"), "{error}");
        let error = Filter::builder().file(directory.path()).build();
        assert!(error.is_err());
        assert!(from_file(&vec![b'#'; TEXT_MAX + 1]).is_err());
        assert!(from_file(&vec![b'#'; TEXT_MAX]).is_ok());
        let long = "a".repeat(TEXT_MAX / 2 + 1);
        assert!(Filter::builder().exclude(&long).exclude(&long).build().is_err());
    }

    #[test]
    fn the_fingerprint_tells_order_and_kind() {
        let print = |builder: &mut FilterBuilder| builder.build().unwrap().fingerprint();
        let prints = [
            print(&mut Filter::builder()),
            print(Filter::builder().delete_excluded(true)),
            print(Filter::builder().exclude("a")),
            print(Filter::builder().include("a")),
            print(Filter::builder().protect("a")),
            print(Filter::builder().exclude("a").exclude("b")),
            print(Filter::builder().exclude("b").exclude("a")),
            print(Filter::builder().exclude("ab")),
        ];
        let distinct: std::collections::BTreeSet<_> = prints.iter().collect();
        assert_eq!(distinct.len(), prints.len());
        // Stored beside remembered trees: another value would throw them away.
        assert_eq!(
            prints[2].to_string(),
            "fcee9226d8962f006936da2b28ca3fab95092b524d710fdd1c1c113e03dfaf10"
        );
    }

    #[test]
    fn a_filter_survives_being_stored() {
        let filter = Filter::builder()
            .exclude("*.o")
            .include("/a.o")
            .protect("up/")
            .delete_excluded(true)
            .build()
            .unwrap();
        let json = serde_json::to_string(&filter).unwrap();
        assert_eq!(
            json,
            r#"[{"rule":"exclude","pattern":"*.o"},{"rule":"include","pattern":"/a.o"},{"rule":"protect","pattern":"up/"},{"rule":"delete-excluded","pattern":""}]"#
        );
        let back: Filter = serde_json::from_str(&json).unwrap();
        assert_eq!(back, filter);
        assert_eq!(back.verdict(&path("b/a.o"), false), Verdict::Excluded);
        let bytes = postcard::to_stdvec(&filter).unwrap();
        assert_eq!(postcard::from_bytes::<Filter>(&bytes).unwrap(), filter);
        let bad = r#"[{"rule":"exclude","pattern":"["}]"#;
        assert!(serde_json::from_str::<Filter>(bad).is_err());
    }

    /// A tree whose names meet the patterns below often: every name as a file and as a directory.
    const NAMES: [&str; 8] = ["a", "b", "ab", "a.b", "!a", "#a", "a b", "[a]"];

    fn paths() -> Vec<(String, bool)> {
        let mut all = Vec::new();
        for name in NAMES {
            all.push((format!("{name}f"), false));
            all.push((name.to_owned(), true));
            for inner in NAMES {
                all.push((format!("{name}/{inner}f"), false));
                all.push((format!("{name}/{inner}"), true));
                for leaf in ["a", "b", "ab"] {
                    all.push((format!("{name}/{inner}/{leaf}"), false));
                }
            }
        }
        all
    }

    fn rule() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => prop::sample::select(vec!["a", "b", "f", "ab", ".", "!", "#", " ", "{a,b}"]),
            3 => prop::sample::select(vec!["*", "?", "**", "/**/", "**/", "/**", "/", "/*"]),
            2 => prop::sample::select(vec![
                "[a]", "[!a]", "[^b.]", "[a-f]", "[!-a]", "[]a]", "[[:alpha:]]", "[ -/]", "[\\]a]",
                "[a-]", "[!]]", "[--9]", "[a/b]", "[", "\\[a\\]", "\\!", "\\#", "\\a", "\\ ",
            ]),
        ];
        let ends = (any::<bool>(), any::<bool>(), any::<bool>());
        (ends, prop::collection::vec(piece, 1..5)).prop_map(|((not, anchor, directory), pieces)| {
            format!(
                "{}{}{}{}",
                if not { "!" } else { "" },
                if anchor { "/" } else { "" },
                pieces.concat(),
                if directory { "/" } else { "" }
            )
        })
    }

    /// Whether git itself departs from its manual here. It compares the literal beginning of an
    /// anchored pattern first and forgets it, so that `/a**` is taken for `/a` and a free `**`.
    fn git_misreads(rule: &str) -> bool {
        let rule = rule.strip_prefix('!').unwrap_or(rule);
        rule.strip_suffix('/').unwrap_or(rule).contains('/')
            && rule.match_indices("**").any(|(at, _)| {
                let before = rule[..at].trim_end_matches('*');
                let after = rule[at..].trim_start_matches('*');
                !(before.is_empty() || before.ends_with('/'))
                    || !(after.is_empty() || after.starts_with('/'))
            })
    }

    #[test]
    fn git_agrees() {
        let git = |directory: &Path| {
            let mut git = Command::new("git");
            git.current_dir(directory)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_SYSTEM", "/dev/null")
                .env_remove("GIT_DIR");
            git
        };
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        if !git(root).args(["init", "-q"]).status().is_ok_and(|status| status.success()) {
            assert_ne!(std::env::var("INTEROP").as_deref(), Ok("required"), "no git");
            println!("skipped: no git");
            return;
        }
        let paths = paths();
        let mut input = Vec::new();
        for (path, is_directory) in &paths {
            if *is_directory {
                fs::create_dir(root.join(path)).unwrap();
            } else {
                fs::write(root.join(path), "").unwrap();
            }
            input.extend_from_slice(path.as_bytes());
            input.push(0);
        }
        fs::create_dir_all(root.join(".git/info")).unwrap();
        let listed = |rules: &str| {
            fs::write(root.join(".git/info/exclude"), rules).unwrap();
            let mut child = git(root)
                .args(["check-ignore", "--no-index", "-z", "--stdin"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let stdin = child.stdin.take().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut stdin = stdin;
                    stdin.write_all(&input).unwrap();
                });
                child.wait_with_output().unwrap().stdout
            })
        };
        let config =
            ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) };
        proptest!(config, |(rules in prop::collection::vec(rule(), 1..5))| {
            // Alone first: what we refuse matches nothing in git either.
            let mut usable = Vec::new();
            for rule in rules {
                if git_misreads(&rule) {
                    continue;
                }
                match from_file(rule.as_bytes()) {
                    Ok(_) => usable.push(rule),
                    // Git skips the range and uses the rest of the set.
                    Err(error) if error.to_string().contains("backwards") => {}
                    Err(_) if rule.starts_with('!') => {}
                    Err(_) => prop_assert!(listed(&rule).is_empty(), "git uses {rule:?}"),
                }
            }
            let text = usable.join("\n");
            let filter = from_file(text.as_bytes()).unwrap();
            let theirs = listed(&text);
            let theirs: std::collections::BTreeSet<&[u8]> = theirs.split(|&byte| byte == 0).collect();
            for (text, is_directory) in &paths {
                prop_assert_eq!(
                    !filter.admits(&path(text), *is_directory),
                    theirs.contains(text.as_bytes()),
                    "{:?} by {:?}", text, usable
                );
            }
        });
    }
}
