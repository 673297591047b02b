//! NAPTR (RFC 3403). named refuses a whole zone for one substitution that cannot be carried out.

use super::{View, rules};
use crate::rdata::{Rdata, RecordType};

pub(super) fn check(view: &mut View<'_>) {
    for set in view.own(RecordType::NAPTR) {
        for rdata in set.rdatas() {
            let Some((regexp, replaces)) = parts(rdata) else { continue };
            let owner = set.owner();
            if let Err(why) = substitution(regexp) {
                let shown = regexp.escape_ascii();
                let message = format!("{owner} NAPTR has the regexp \"{shown}\": {why}");
                view.found(rules::NAPTR_REGEXP, set, message);
            }
            if replaces && !regexp.is_empty() {
                let message = format!("{owner} NAPTR has both a regexp and a replacement");
                view.found(rules::NAPTR_BOTH, set, message);
            }
        }
    }
}

/// The regexp, and whether there is a replacement that is not the root.
fn parts(rdata: &Rdata) -> Option<(&[u8], bool)> {
    // Order and preference, then flags, services and regexp, each behind its length.
    let mut rest = rdata.as_wire().get(4..)?;
    let mut string = || {
        let (len, after) = rest.split_first()?;
        let (text, after) = after.split_at_checked(usize::from(*len))?;
        rest = after;
        Some(text)
    };
    let (_flags, _services, regexp) = (string()?, string()?, string()?);
    Some((regexp, rest != [0]))
}

/// Whether a text is nothing or a substitution: a mark, a pattern, the mark, what takes its place, the
/// mark, flags.
fn substitution(text: &[u8]) -> Result<(), &'static str> {
    let Some((mark, rest)) = text.split_first() else { return Ok(()) };
    if mark.is_ascii_digit() || matches!(mark, b'\\' | b'i' | 0) {
        return Err("it begins with what cannot separate its parts");
    }
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    let mut octets = rest.iter();
    while let Some(octet) = octets.next() {
        let part = parts.last_mut().ok_or("it has no parts")?;
        if octet == mark {
            parts.push(Vec::new());
        } else if *octet == b'\\' {
            let escaped = octets.next().ok_or("it ends with a backslash")?;
            part.extend([b'\\', *escaped]);
        } else {
            part.push(*octet);
        }
    }
    let [pattern, replacement, flags] = parts.as_slice() else {
        return Err("its mark does not stand there three times");
    };
    if pattern.is_empty() {
        return Err("there is no pattern");
    }
    if !flags.iter().all(|flag| *flag == b'i') {
        return Err("i is the only flag there is");
    }
    let groups = groups(pattern)?;
    let mut octets = replacement.iter();
    while let Some(octet) = octets.next() {
        if *octet != b'\\' {
            continue;
        }
        let Some(next) = octets.next() else { continue };
        if next.is_ascii_digit() && !(1..=groups).contains(&usize::from(next - b'0')) {
            return Err("it names a group that the pattern does not have");
        }
    }
    Ok(())
}

/// How many groups an extended regular expression has.
fn groups(pattern: &[u8]) -> Result<usize, &'static str> {
    let (mut open, mut groups) = (0_usize, 0);
    let mut at = 0;
    while let Some(octet) = pattern.get(at) {
        at += 1;
        match octet {
            b'\\' => at += 1,
            b'[' => {
                // A bracket directly behind it, or behind ^, is an ordinary one.
                at += usize::from(pattern.get(at) == Some(&b'^'));
                let end = pattern.iter().skip(at + 1).position(|octet| *octet == b']');
                at += end.ok_or("a bracket is not closed")? + 2;
            }
            b'(' => {
                open += 1;
                groups += 1;
            }
            b')' => open = open.checked_sub(1).ok_or("a parenthesis is closed and not opened")?,
            _ => {}
        }
    }
    if open > 0 { Err("a parenthesis is not closed") } else { Ok(groups) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitutions_are_told_from_other_texts() {
        for good in [
            "",
            "!^.*$!sip:info@example.com!",
            "!^(.)(.*)$!\\2\\1!i",
            "/a\\/b/c/",
            "/^[^]!]+$/x/",
            "!\\(!\\\\!",
            "!a|b!!",
        ] {
            assert_eq!(substitution(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "x",
            "bad",
            "!a!b",
            "!a!b!x",
            "!a!b!i!",
            "!!b!",
            "!(a!b!",
            "!a)!b!",
            "!a!\\1!",
            "!(a)!\\2!",
            "1a1b1",
            "!a!b\\",
            "![a!b!",
            "\\a\\b\\",
            "!(a)!\\0!",
        ] {
            assert!(substitution(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
