//! What TXT records say about mail: SPF, DMARC, DKIM, MTA-STS, TLS reports.

use super::{View, rules, spf};
use crate::name::Name;
use crate::rdata::{Data, RecordType};
use crate::rrset::RRset;

pub(super) fn check(view: &mut View<'_>) {
    for set in view.own(RecordType::TXT) {
        let texts: Vec<Vec<u8>> = set
            .rdatas()
            .iter()
            .filter_map(|rdata| match rdata.data() {
                Data::Txt(strings) => Some(strings.joined()),
                _ => None,
            })
            .collect();
        spf::check(view, set, &texts);
        let mut labels = set.owner().labels();
        let first = labels.next().unwrap_or_default().to_ascii_lowercase();
        let second = labels.next().unwrap_or_default().to_ascii_lowercase();
        match (first.as_slice(), second.as_slice()) {
            (b"_dmarc", _) => dmarc(view, set, &texts),
            (b"_mta-sts", _) => sts(view, set, &texts),
            (b"_smtp", b"_tls") => tlsrpt(view, set, &texts),
            (_, b"_domainkey") => dkim(view, set, &texts),
            _ => {}
        }
    }
    for set in view.own(RecordType::SPF) {
        let message = format!("{} has a record of the type SPF", set.owner());
        view.found(rules::SPF_TYPE, set, message);
    }
}

/// `tag=value` pairs between semicolons (RFC 6376 section 3.2); None where that is not their form.
fn tags(text: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parts: Vec<&str> = text.split(';').map(str::trim).collect();
    if parts.last() == Some(&"") {
        parts.pop();
    }
    let pair = |part: &&str| {
        let (tag, value) = part.split_once('=')?;
        let tag = tag.trim_end();
        let is_tag = !tag.is_empty()
            && tag.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
        is_tag.then(|| (tag.to_owned(), value.trim_start().to_owned()))
    };
    parts.iter().map(pair).collect()
}

fn value<'t>(tags: &'t [(String, String)], tag: &str) -> Option<&'t str> {
    tags.iter().find(|(name, _)| name == tag).map(|(_, value)| value.as_str())
}

fn dmarc(view: &mut View<'_>, set: &RRset, texts: &[Vec<u8>]) {
    let owner = set.owner();
    let records: Vec<&Vec<u8>> =
        texts.iter().filter(|text| text.starts_with(b"v=DMARC1")).collect();
    if records.len() > 1 {
        view.found(rules::DMARCS, set, format!("{owner} has {} DMARC records", records.len()));
    }
    if records.is_empty() {
        // A delegation by CNAME has no TXT here; something else in its place helps nobody.
        view.found(rules::DMARC_SYNTAX, set, format!("{owner} TXT does not begin with v=DMARC1"));
    }
    for record in records {
        let Some(tags) = tags(record) else {
            view.found(rules::DMARC_SYNTAX, set, format!("{owner} TXT does not consist of tags"));
            continue;
        };
        let second = tags.get(1).map(|(tag, value)| (tag.as_str(), value.as_str()));
        if !matches!(second, Some(("p", "none" | "quarantine" | "reject"))) {
            let message =
                format!("the second tag of {owner} TXT is not p=none, quarantine or reject");
            view.found(rules::DMARC_SYNTAX, set, message);
        }
        if !matches!(value(&tags, "sp"), None | Some("none" | "quarantine" | "reject")) {
            let message = format!("sp= of {owner} TXT is not none, quarantine or reject");
            view.found(rules::DMARC_SYNTAX, set, message);
        }
        let percent = |text: &str| text.parse::<u8>().is_ok_and(|percent| percent <= 100);
        if value(&tags, "pct").is_some_and(|text| !percent(text)) {
            view.found(rules::DMARC_SYNTAX, set, format!("pct= of {owner} TXT is not 0 to 100"));
        }
        for tag in ["rua", "ruf"] {
            for address in value(&tags, tag).into_iter().flat_map(|list| list.split(',')) {
                report_address(view, set, address.trim());
            }
        }
    }
}

fn report_address(view: &mut View<'_>, set: &RRset, address: &str) {
    let owner = set.owner();
    let mailbox =
        address.strip_prefix("mailto:").map(|rest| rest.split('!').next().unwrap_or(rest));
    let Some((_, domain)) = mailbox.and_then(|mailbox| mailbox.rsplit_once('@')) else {
        let message = format!("{address:?} in {owner} TXT is no mailto: address");
        return view.found(rules::DMARC_SYNTAX, set, message);
    };
    let Ok(domain) = domain.parse::<Name>() else { return };
    let Some(own) = owner.parent() else { return };
    if !domain.is_within(view.zone.origin()) && !own.is_within(&domain) {
        let message = format!("the reports of {own} go to {domain}");
        view.found(rules::DMARC_REPORTS, set, message);
    }
}

fn dkim(view: &mut View<'_>, set: &RRset, texts: &[Vec<u8>]) {
    use base64::Engine;
    let owner = set.owner();
    for text in texts {
        let parsed = tags(text);
        let problem = match &parsed {
            None => Some("does not consist of tags"),
            Some(tags) => {
                let version = tags.iter().position(|(tag, _)| tag == "v");
                let key = value(tags, "p");
                let octets = |key: &str| {
                    let text: String = key.split_ascii_whitespace().collect();
                    base64::engine::general_purpose::STANDARD.decode(text).ok()
                };
                match (version, key) {
                    (Some(place), _) if place > 0 || tags[0].1 != "DKIM1" => {
                        Some("has v= but not v=DKIM1 first")
                    }
                    (_, None) => Some("has no p="),
                    (_, Some("")) => None,
                    (_, Some(key)) if octets(key).is_none() => Some("has a p= that is no Base64"),
                    _ if !matches!(value(tags, "k"), None | Some("rsa" | "ed25519")) => {
                        Some("has a k= that is neither rsa nor ed25519")
                    }
                    _ => None,
                }
            }
        };
        if let Some(problem) = problem {
            view.found(rules::DKIM_SYNTAX, set, format!("{owner} TXT {problem}"));
        }
    }
}

fn sts(view: &mut View<'_>, set: &RRset, texts: &[Vec<u8>]) {
    let owner = set.owner();
    let records: Vec<_> = texts.iter().filter(|text| text.starts_with(b"v=STSv1")).collect();
    let good = |text: &[u8]| {
        let Some(tags) = tags(text) else { return false };
        let id = value(&tags, "id").unwrap_or_default();
        (1..=32).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric())
    };
    if records.len() != 1 || !good(records[0]) {
        let message = format!("{owner} TXT is not one record v=STSv1; id= with letters and digits");
        view.found(rules::STS_SYNTAX, set, message);
    }
}

fn tlsrpt(view: &mut View<'_>, set: &RRset, texts: &[Vec<u8>]) {
    let owner = set.owner();
    let records: Vec<_> = texts.iter().filter(|text| text.starts_with(b"v=TLSRPTv1")).collect();
    let good = |text: &[u8]| {
        let Some(tags) = tags(text) else { return false };
        let addresses = value(&tags, "rua").unwrap_or_default();
        let address =
            |one: &str| ["mailto:", "https:"].iter().any(|scheme| one.trim().starts_with(scheme));
        addresses.split(',').all(address)
    };
    if records.len() != 1 || !good(records[0]) {
        view.found(
            rules::TLSRPT_SYNTAX,
            set,
            format!("{owner} TXT is not one record v=TLSRPTv1; rua="),
        );
    }
}
