//! Wildcards, pattern lists and address lists, as `ssh_config(5)` has them under PATTERNS.

use std::net::{IpAddr, Ipv4Addr};

/// What a list of patterns says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    /// No pattern fits.
    No,
    /// One fits, and no negated one before the end of the list.
    Yes,
    /// A negated one fits: whatever else does, the answer is no.
    Negated,
}

/// The longest single pattern; sshd answers "no match" to a list in which a longer one is met.
pub(crate) const MAX_PATTERN: usize = 1022;

/// Whether `pattern` with its `*` and `?` fits all of `text`. The time is linear in the product
/// of both lengths at worst; stars do not multiply.
pub(crate) fn matches(text: &[u8], pattern: &[u8]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                t += 1;
                p += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Holds `text` against a comma-separated list, ignoring the case of the patterns
/// (`match_pattern_list`). `text` has to be in lower case already.
pub(crate) fn match_list(text: &[u8], list: &[u8]) -> Match {
    let mut found = Match::No;
    for item in items(list) {
        let (negated, pattern) = match item {
            [b'!', pattern @ ..] => (true, pattern),
            pattern => (false, pattern),
        };
        if pattern.len() > MAX_PATTERN {
            return Match::No;
        }
        if matches(text, &pattern.to_ascii_lowercase()) {
            if negated {
                return Match::Negated;
            }
            found = Match::Yes;
        }
    }
    found
}

/// The parts between commas. An empty list, and what follows a last comma, is no item.
fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let list = list.strip_suffix(b",").unwrap_or(list);
    list.split(|&byte| byte == b',').filter(move |_| !list.is_empty())
}

/// Whether a client at `address`, whose name is `host`, is let in by the value of `from=`
/// (`match_host_and_ip`). Nothing when sshd takes the value for broken; it then refuses.
pub(crate) fn match_from(address: IpAddr, host: &[u8], list: &[u8]) -> Option<bool> {
    let by_address = match_addresses(address, list)?;
    if by_address == Match::Negated {
        return Some(false);
    }
    let by_name = match_list(&host.to_ascii_lowercase(), list);
    Some(by_name != Match::Negated && (by_name == Match::Yes || by_address == Match::Yes))
}

/// Whether sshd can read every item of the value of `from=`, whoever asks to be let in.
pub(crate) fn is_sound_from(list: &[u8]) -> bool {
    list.split(|&byte| byte == b',').all(|item| {
        let pattern = item.strip_prefix(b"!").unwrap_or(item);
        let fits = (1..=MAX_PATTERN).contains(&pattern.len());
        fits && !matches!(network(pattern), Network::Bad)
    })
}

/// Holds an address against a list of addresses, networks and patterns (`addr_match_list`).
/// Nothing when an item is empty, or a network's mask does not go with its address.
fn match_addresses(address: IpAddr, list: &[u8]) -> Option<Match> {
    let text = address.to_string();
    let mut found = Match::No;
    for item in list.split(|&byte| byte == b',') {
        let (negated, pattern) = match item {
            [b'!', pattern @ ..] => (true, pattern),
            pattern => (false, pattern),
        };
        if pattern.is_empty() {
            return None;
        }
        let fits = match network(pattern) {
            Network::Bad => return None,
            Network::Of(base, bits) => contains(base, bits, address),
            Network::None => matches(text.as_bytes(), pattern),
        };
        if fits && negated {
            return Some(Match::Negated);
        }
        if fits {
            found = Match::Yes;
        }
    }
    Some(found)
}

enum Network {
    /// No address at all: a pattern.
    None,
    /// The mask is too long, or leaves bits of the address over.
    Bad,
    /// An address and how many of its bits count.
    Of(IpAddr, u32),
}

fn network(text: &[u8]) -> Network {
    // sshd copies this into 64 bytes.
    let Some(text) = str::from_utf8(text).ok().filter(|text| text.len() < 64) else {
        return Network::None;
    };
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let bits = match mask {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            match digits.parse::<u32>() {
                Ok(bits) if bits <= 128 => Some(bits),
                _ => return Network::None,
            }
        }
        Some(_) => return Network::None,
    };
    let Some(base) = numeric_address(address) else { return Network::None };
    let width = if base.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    if bits > width || masked(base, bits) != number(base) {
        return Network::Bad;
    }
    Network::Of(base, bits)
}

/// An address in any form that `getaddrinfo` takes for one, IPv4 in parts as `inet_aton(3)` has
/// them: `127.1` is `127.0.0.1`. Addresses with a scope (`fe80::1%eth0`) are taken for patterns,
/// since only the host that has the interface can tell.
fn numeric_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse().ok();
    }
    let parts: Vec<u32> = text.split('.').map(c_number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|&part| part > 255) {
        return None;
    }
    let left = 32 - 8 * u32::try_from(first.len()).ok()?;
    if left < 32 && *last >> left != 0 {
        return None;
    }
    let high = first.iter().zip([24, 16, 8]).fold(0, |sum, (part, shift)| sum | part << shift);
    Some(IpAddr::V4(Ipv4Addr::from(high | last)))
}

/// A number as C writes them: decimal, `0x` hexadecimal, `0` octal.
fn c_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

fn contains(base: IpAddr, bits: u32, address: IpAddr) -> bool {
    base.is_ipv4() == address.is_ipv4() && masked(address, bits) == number(base)
}

/// The address as a number, IPv4 in the upper 32 bits so that masks work alike.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn masked(address: IpAddr, bits: u32) -> u128 {
    number(address) & u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(list: &str) -> Option<bool> {
        match_from("127.0.0.1".parse().unwrap(), b"Host.Example", list.as_bytes())
    }

    #[test]
    fn wildcards_fit_as_they_should() {
        for (text, pattern, fits) in [
            ("", "", true),
            ("", "*", true),
            ("a", "", false),
            ("abc", "a*c", true),
            ("abc", "a?c", true),
            ("abc", "?", false),
            ("aXbXc", "a*b*c", true),
            ("aXbXcd", "a*b*c", false),
            ("ab", "ab**", true),
        ] {
            assert_eq!(matches(text.as_bytes(), pattern.as_bytes()), fits, "{text} {pattern}");
        }
        // A pattern that takes exponential time where stars are tried one in another.
        assert!(!matches(
            &[b'a'; 5000],
            &b"*a".repeat(400).iter().chain(b"b").copied().collect::<Vec<_>>()
        ));
    }

    #[test]
    fn a_negated_pattern_wins_over_all_others() {
        assert_eq!(match_list(b"a.b", b"*,!a.*"), Match::Negated);
        assert_eq!(match_list(b"a.b", b"!c,A.B"), Match::Yes);
        assert_eq!(match_list(b"a.b", b"!c"), Match::No);
        assert_eq!(match_list(b"", b""), Match::No);
        assert_eq!(match_list(b"a", &b"x".repeat(1023)), Match::No);
    }

    #[test]
    fn addresses_names_and_networks_count_alike() {
        for list in [
            "127.0.0.1",
            "127.*",
            "127.0.0.0/8",
            "127.1",
            "0x7f.1",
            "host.*",
            "HOST.example",
            "1.2.3.4,127.0.0.1",
            "*",
        ] {
            assert_eq!(from(list), Some(true), "{list}");
        }
        for list in [
            "127.0.0.2",
            "10.0.0.0/8",
            "::1",
            "!127.0.0.1,*",
            "!host.*,127.0.0.1",
            "*,!127.0.0.0/8",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(from(list), Some(false), "{list}");
        }
        for list in ["", "127.0.0.1/8", "127.0.0.1,", "127.0.0.0/33", "!,127.0.0.1", ",127.0.0.1"] {
            assert_eq!(from(list), None, "{list}");
        }
        // What follows a match is not looked at, what precedes it is.
        assert_eq!(from("!127.0.0.1,127.0.0.1/8"), Some(false));
    }
}
