//! SPF (RFC 7208), as far as one zone tells.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{View, rules};
use crate::rrset::RRset;

/// How many terms may ask the DNS (section 4.6.4).
const MOST_LOOKUPS: usize = 10;

pub(super) fn check(view: &mut View<'_>, set: &RRset, texts: &[Vec<u8>]) {
    let is_spf = |text: &[u8]| {
        text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"v=spf1"))
            && matches!(text.get(6), None | Some(b' '))
    };
    let owner = set.owner();
    let records: Vec<&Vec<u8>> = texts.iter().filter(|text| is_spf(text)).collect();
    if records.len() > 1 {
        view.found(rules::SPFS, set, format!("{owner} has {} SPF records", records.len()));
    }
    for record in records {
        terms(view, set, &String::from_utf8_lossy(record));
    }
}

fn terms(view: &mut View<'_>, set: &RRset, record: &str) {
    let owner = set.owner();
    let (mut lookups, mut all, mut redirect) = (0, None, false);
    for term in record.split(' ').skip(1).filter(|term| !term.is_empty()) {
        if all.is_some() {
            let is_modifier = term.find('=').is_some_and(|at| !term[..at].contains([':', '/']));
            if !is_modifier || term.starts_with("redirect=") {
                let message = format!("{term:?} stands behind all in the SPF record of {owner}");
                view.found(rules::SPF_AFTER_ALL, set, message);
            }
        }
        match Term::read(term) {
            None => {
                let message = format!("{term:?} in the SPF record of {owner} is no term");
                view.found(rules::SPF_SYNTAX, set, message);
            }
            Some(Term::Lookup) => lookups += 1,
            Some(Term::Ptr) => {
                lookups += 1;
                view.found(rules::SPF_PTR, set, format!("the SPF record of {owner} uses ptr"));
            }
            Some(Term::Redirect) => {
                lookups += 1;
                redirect = true;
            }
            Some(Term::All(qualifier)) => all = Some(qualifier),
            Some(Term::Other) => {}
        }
    }
    if lookups > MOST_LOOKUPS {
        let message = format!("the SPF record of {owner} asks the DNS {lookups} times");
        view.found(rules::SPF_LOOKUPS, set, message);
    }
    let open = match all {
        Some(qualifier) => qualifier == '+',
        None => !redirect,
    };
    if open {
        view.found(
            rules::SPF_OPEN,
            set,
            format!("the SPF record of {owner} does not end with -all or ~all"),
        );
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Term {
    /// With its qualifier.
    All(char),
    /// One that asks the DNS.
    Lookup,
    Ptr,
    Redirect,
    Other,
}

impl Term {
    fn read(term: &str) -> Option<Term> {
        // Names may hold macros (section 7); more than that there be something is not looked at.
        let domain =
            |text: &str| !text.is_empty() && text.bytes().all(|octet| matches!(octet, 0x21..=0x7e));
        if let Some((name, value)) = term.split_once('=')
            && !name.contains([':', '/'])
        {
            let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
            return match name.to_ascii_lowercase().as_str() {
                "redirect" => domain(value).then_some(Term::Redirect),
                "exp" => domain(value).then_some(Term::Other),
                _ => is_name.then_some(Term::Other),
            };
        }
        let (qualifier, rest) = match term.chars().next() {
            Some(qualifier @ ('+' | '-' | '~' | '?')) => (qualifier, &term[1..]),
            _ => ('+', term),
        };
        let (name, value) = match rest.find([':', '/']) {
            Some(at) if rest[at..].starts_with(':') => (&rest[..at], Some(&rest[at + 1..])),
            Some(at) => (&rest[..at], Some(&rest[at..])),
            None => (rest, None),
        };
        match (name.to_ascii_lowercase().as_str(), value) {
            ("all", None) => Some(Term::All(qualifier)),
            ("include" | "exists", Some(value)) => domain(value).then_some(Term::Lookup),
            ("a" | "mx", None) => Some(Term::Lookup),
            ("a" | "mx", Some(value)) => dual_prefix(value)
                .filter(|rest| rest.is_empty() || domain(rest))
                .map(|_| Term::Lookup),
            ("ptr", None) => Some(Term::Ptr),
            ("ptr", Some(value)) => domain(value).then_some(Term::Ptr),
            ("ip4", Some(value)) => {
                let (address, length) = value.split_once('/').unwrap_or((value, "32"));
                let fits = address.parse::<Ipv4Addr>().is_ok() && prefix(length, 32);
                fits.then_some(Term::Other)
            }
            ("ip6", Some(value)) => {
                let (address, length) = value.split_once('/').unwrap_or((value, "128"));
                let fits = address.parse::<Ipv6Addr>().is_ok() && prefix(length, 128);
                fits.then_some(Term::Other)
            }
            _ => None,
        }
    }
}

fn prefix(text: &str, most: u8) -> bool {
    text.parse::<u8>().is_ok_and(|length| length <= most)
}

/// Takes `/24` and `//64` off the end; None where they are out of range.
fn dual_prefix(value: &str) -> Option<&str> {
    let (value, ok6) = match value.split_once("//") {
        Some((value, length)) => (value, prefix(length, 128)),
        None => (value, true),
    };
    let (value, ok4) = match value.split_once('/') {
        Some((value, length)) => (value, prefix(length, 32)),
        None => (value, true),
    };
    (ok4 && ok6).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_those_of_the_rfc() {
        let good = [
            "a",
            "mx",
            "a:mail.example",
            "mx/24",
            "a:x/24//64",
            "a//64",
            "ip4:192.0.2.0/24",
            "ip6:2001:db8::/32",
            "include:_spf.example",
            "exists:%{i}.x",
            "ptr",
            "-all",
            "?all",
            "redirect=x.example",
            "exp=why.example",
            "unknown=modifier",
        ];
        for term in good {
            assert!(Term::read(term).is_some(), "{term}");
        }
        let bad = [
            "ip4:192.0.2.256",
            "ip4:192.0.2.0/33",
            "ip6:192.0.2.1",
            "ip4",
            "include",
            "include:",
            "al",
            "-all:x",
            "a/33",
            "mx//129",
            "redirect=",
            "ipv4:192.0.2.1",
            "192.0.2.1",
        ];
        for term in bad {
            assert_eq!(Term::read(term), None, "{term}");
        }
    }
}
