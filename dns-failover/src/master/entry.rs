//! Entries one after the other: records and directives.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::{Noted, Parsed, Source, Text};
use super::scan::{Fault, Scanner, Token};
use super::{ZoneReader, period, rules};
use crate::name::Name;
use crate::rdata::read::{self, Input, read_name, shown};
use crate::rdata::{Rdata, RecordType};
use crate::record::{Class, Record, Ttl};

/// How deep files may include one another.
const MOST_LEVELS: usize = 10;

/// How many files may be included in all.
const MOST_INCLUDES: usize = 1000;

/// How many octets they may have together.
const MOST_INCLUDED: u64 = 1 << 30;

/// How often reading goes back to where something without an end began. Each time may take the rest of
/// the file, so that this keeps the whole linear.
const MOST_RETURNS: usize = 16;

/// Reading a file and what it includes.
pub(super) struct Run<'a> {
    options: ZoneReader<'a>,
    pub(super) sources: Vec<Source<'a>>,
    pub(super) records: Vec<Parsed>,
    pub(super) noted: Vec<Noted>,
    default_ttl: Option<Ttl>,
    last_ttl: Option<Ttl>,
    told_last_ttl: bool,
    class: Option<Class>,
    included: u64,
    returns: usize,
    /// The wire form of the RDATA that is being read.
    scratch: Vec<u8>,
}

/// Where reading is in one file.
struct File<'t> {
    number: u32,
    scanner: Scanner<'t>,
    origin: Option<Name>,
    owner: Option<Owner<'t>>,
    level: usize,
}

/// The last owner, and how it was written: zones repeat their owners a great deal.
struct Owner<'t> {
    text: &'t [u8],
    name: Name,
}

impl<'a> Run<'a> {
    pub(super) fn new(options: ZoneReader<'a>) -> Run<'a> {
        Run {
            options,
            sources: Vec::new(),
            records: Vec::new(),
            noted: Vec::new(),
            default_ttl: None,
            last_ttl: None,
            told_last_ttl: false,
            class: None,
            included: 0,
            returns: 0,
            scratch: Vec::with_capacity(512),
        }
    }

    pub(super) fn main(&mut self, text: &'a [u8]) {
        // Most lines are longer.
        self.records.reserve(text.len() / 40);
        self.sources.push(Source { path: self.options.file.into(), text: Text::Borrowed(text) });
        self.file(text, 0, self.options.origin.cloned(), 0);
    }

    fn file(&mut self, text: &[u8], number: u32, origin: Option<Name>, level: usize) {
        let scanner = Scanner::new(text);
        let mut file = File { number, scanner, origin, owner: None, level };
        if u32::try_from(text.len()).is_err() {
            self.note(number, Fault::new(rules::TOO_LARGE, 0, "the file has 4 GiB or more"));
            return;
        }
        while let Some(octet) = file.scanner.peek() {
            if octet == b'\n' {
                file.scanner.skip();
            } else if let Err(fault) = self.entry(octet, &mut file) {
                self.recover(fault, &mut file);
                if self.is_full() {
                    return;
                }
            }
        }
        if text.last().is_some_and(|last| *last != b'\n') {
            let message = "the last line does not end";
            self.note(number, Fault::new(rules::NO_LINE_END, text.len(), message));
        }
    }

    fn is_full(&self) -> bool {
        self.noted.len() > self.options.most_faults
    }

    #[cold]
    fn note(&mut self, file: u32, fault: Fault) {
        // One more than is told, which stands for all the others.
        if !self.is_full() {
            self.noted.push(Noted::new(file, fault));
        }
    }

    /// Notes a fault and goes to the next record.
    #[cold]
    fn recover(&mut self, fault: Fault, file: &mut File<'_>) {
        let endless =
            |fault: &Fault| [rules::NEVER_CLOSED, rules::OPEN_QUOTES].contains(&fault.rule);
        let fault = if endless(&fault) {
            fault
        } else {
            match file.scanner.skip_record() {
                // What stood between is no fault of its own.
                Some(open) if open.at < fault.at => open,
                Some(open) => {
                    self.note(file.number, fault);
                    open
                }
                None => return self.note(file.number, fault),
            }
        };
        if self.returns < MOST_RETURNS {
            self.returns += 1;
            file.scanner.rewind(fault.at);
        }
        self.note(file.number, fault);
    }

    #[inline]
    fn entry<'t>(&mut self, first: u8, file: &mut File<'t>) -> Result<(), Fault> {
        let is_blank = matches!(first, b' ' | b'\t' | b'\r');
        let Some(token) = file.scanner.next()? else { return Ok(()) };
        let mut next = Some(token);
        if !is_blank {
            if token.text.first() == Some(&b'$') && !token.quoted {
                return self.directive(token, file);
            }
            self.owner(token, file)?;
            next = file.scanner.next()?;
        }
        let (mut ttl, mut class) = (None, None);
        let rtype_token = loop {
            let Some(token) = next else {
                let message = "the record ends before its type";
                return Err(Fault::new(rules::NO_TYPE, file.scanner.end(), message));
            };
            if ttl.is_none() && token.text.first().is_some_and(u8::is_ascii_digit) {
                ttl = Some(read_ttl(token)?);
            } else if let (None, Some(found)) = (class, Class::from_text(token.text)) {
                class = Some(found);
            } else {
                break token;
            }
            next = file.scanner.next()?;
        };
        let rtype = read_type(rtype_token)?;
        let Some(Owner { name, .. }) = &file.owner else {
            return Err(Fault::new(rules::NO_OWNER, token.at, "no record before tells the owner"));
        };
        self.scratch.clear();
        let mut input = Input { scanner: &mut file.scanner, origin: file.origin.as_ref() };
        read::rdata(rtype, &mut input, &mut self.scratch)?;
        let rdata = Rdata::trusted(rtype, &self.scratch);
        let owner = name.clone();
        let ttl = self.ttl(ttl, &rdata, token.at, file.number)?;
        let class = class.or(self.class).unwrap_or(Class::IN);
        self.class = Some(class);
        let record = Record { owner, class, ttl, rdata };
        // Offsets fit, because the file's length does.
        self.records.push(Parsed { record, file: file.number, at: token.at as u32 });
        Ok(())
    }

    #[inline]
    fn owner<'t>(&mut self, token: Token<'t>, file: &mut File<'t>) -> Result<(), Fault> {
        if file.owner.as_ref().is_some_and(|owner| owner.text == token.text) && !token.quoted {
            return Ok(());
        }
        // A record whose owner cannot be read must not pass its owner on either.
        file.owner = None;
        if token.quoted {
            let message = "the owner must not stand in quotation marks";
            return Err(Fault::new(rules::QUOTED, token.at, message));
        }
        let name = read_name(token, file.origin.as_ref())?;
        file.owner = Some(Owner { text: token.text, name });
        Ok(())
    }

    /// The TTL of a record that says none (RFC 2308 section 4): that of `$TTL`, else the minimum of the
    /// SOA, else that of the record before (RFC 1035 section 5.1).
    #[inline]
    fn ttl(
        &mut self,
        said: Option<Ttl>,
        rdata: &Rdata,
        at: usize,
        file: u32,
    ) -> Result<Ttl, Fault> {
        if let Some(ttl) = said {
            self.last_ttl = Some(ttl);
            return Ok(ttl);
        }
        if let Some(ttl) = self.default_ttl {
            return Ok(ttl);
        }
        if let Some(soa) = rdata.soa() {
            let ttl = Ttl::saturating(soa.minimum);
            self.default_ttl = Some(ttl);
            let message = format!("neither $TTL nor the SOA record says a TTL; {ttl} is taken");
            self.note(file, Fault::new(rules::SOA_TTL, at, message));
            return Ok(ttl);
        }
        let ttl = self.last_ttl.ok_or_else(|| {
            Fault::new(rules::NO_TTL, at, "there is no TTL here, nor before, nor a $TTL")
        })?;
        if !std::mem::replace(&mut self.told_last_ttl, true) {
            let message =
                format!("there is no TTL here and no $TTL; {ttl} of the record before is taken");
            self.note(file, Fault::new(rules::LAST_TTL, at, message));
        }
        Ok(ttl)
    }

    fn directive(&mut self, token: Token<'_>, file: &mut File<'_>) -> Result<(), Fault> {
        let scanner = &mut file.scanner;
        if token.text.eq_ignore_ascii_case(b"$TTL") {
            let word = directive_word(scanner, "a TTL")?;
            let ttl = read_ttl(word)?;
            end_directive(scanner)?;
            self.default_ttl = Some(ttl);
        } else if token.text.eq_ignore_ascii_case(b"$ORIGIN") {
            let word = directive_word(scanner, "a name")?;
            let origin = read_name(word, file.origin.as_ref())?;
            end_directive(scanner)?;
            file.origin = Some(origin);
            // The same words may mean another name from here on, but a blank owner still means the
            // last one.
            if let Some(owner) = &mut file.owner {
                owner.text = b"";
            }
        } else if token.text.eq_ignore_ascii_case(b"$INCLUDE") {
            self.include(file)?;
        } else {
            let message = format!("{} is no directive", shown(token));
            return Err(Fault::new(rules::UNKNOWN_DIRECTIVE, token.at, message));
        }
        Ok(())
    }

    fn include(&mut self, file: &mut File<'_>) -> Result<(), Fault> {
        let scanner = &mut file.scanner;
        let Some(word) = scanner.next()? else {
            let message = "$INCLUDE wants the name of a file";
            return Err(Fault::new(rules::BAD_DIRECTIVE, scanner.end(), message));
        };
        let mut path = Vec::new();
        read::unescape_all(word, &mut path)?;
        let origin = match scanner.next()? {
            Some(token) => Some(read_name(token, file.origin.as_ref())?),
            None => file.origin.clone(),
        };
        end_directive(scanner)?;
        let path = PathBuf::from(OsStr::from_bytes(&path));
        let refused = |why: &str| {
            let message = format!("{path:?} is not included: {why}");
            Fault::new(rules::REFUSED_INCLUDE, word.at, message)
        };
        if file.level + 1 > MOST_LEVELS {
            return Err(refused("files include one another more than ten levels deep"));
        }
        if self.sources.len() > MOST_INCLUDES {
            return Err(refused("a thousand files are included already"));
        }
        let most = MOST_INCLUDED.saturating_sub(self.included);
        let text = self.options.includes.read(&path, most).map_err(|why| refused(&why))?;
        self.included += text.len() as u64;
        let text: Arc<[u8]> = text.into();
        // At most a thousand.
        let number = self.sources.len() as u32;
        let shown: Arc<Path> = shown_path(self.options.file, &path).into();
        self.sources.push(Source { path: shown, text: Text::Shared(text.clone()) });
        self.file(&text, number, origin, file.level + 1);
        Ok(())
    }
}

impl ZoneReader<'_> {
    /// Reads a text that is one record.
    pub(super) fn record(self, text: &[u8]) -> Result<Option<Record>, Fault> {
        let mut run = Run::new(self);
        let scanner = Scanner::new(text);
        let mut file = File {
            number: 0,
            scanner,
            origin: self.origin.cloned(),
            owner: None,
            level: MOST_LEVELS,
        };
        while let Some(octet) = file.scanner.peek() {
            match octet {
                b'\n' => file.scanner.skip(),
                octet => run.entry(octet, &mut file)?,
            }
        }
        let one = run.records.len() == 1;
        Ok(run.records.pop().filter(|_| one).map(|parsed| parsed.record))
    }
}

/// An included file is shown as lying beside the one that was asked for.
fn shown_path(main: &Path, path: &Path) -> PathBuf {
    main.parent().unwrap_or(Path::new("")).join(path)
}

fn directive_word<'a>(scanner: &mut Scanner<'a>, what: &str) -> Result<Token<'a>, Fault> {
    match scanner.next()? {
        Some(token) if !token.quoted => Ok(token),
        _ => {
            let message = format!("the directive wants {what}");
            Err(Fault::new(rules::BAD_DIRECTIVE, scanner.end(), message))
        }
    }
}

fn end_directive(scanner: &mut Scanner<'_>) -> Result<(), Fault> {
    match scanner.next()? {
        None => Ok(()),
        Some(token) => {
            let message = format!("{} stands after the end of the directive", shown(token));
            Err(Fault::new(rules::BAD_DIRECTIVE, token.at, message))
        }
    }
}

#[inline]
fn read_ttl(token: Token<'_>) -> Result<Ttl, Fault> {
    period(token.text)
        .and_then(|seconds| Ttl::try_from(seconds).ok())
        .ok_or_else(|| Fault::new(rules::BAD_TTL, token.at, format!("{} is no TTL", shown(token))))
}

#[inline]
fn read_type(token: Token<'_>) -> Result<RecordType, Fault> {
    if token.quoted {
        let message = "the type must not stand in quotation marks";
        return Err(Fault::new(rules::QUOTED, token.at, message));
    }
    let rtype = RecordType::from_text(token.text).ok_or_else(|| {
        Fault::new(rules::UNKNOWN_TYPE, token.at, format!("{} is no type", shown(token)))
    })?;
    if rtype.is_meta() {
        let message = format!("no zone holds records of type {rtype}");
        return Err(Fault::new(rules::META_TYPE, token.at, message));
    }
    Ok(rtype)
}
