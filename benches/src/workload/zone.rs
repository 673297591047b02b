use std::fmt::Write;

use super::rng::Rng;

/// A zone file of `records` records for the zone `example.`, as a provider's large zone looks: hosts with
/// addresses of both kinds, mail, aliases and text, absolute names, sorted by owner.
///
/// Three fifths are A, a fifth AAAA, the rest MX, CNAME and TXT in equal parts.
#[must_use]
pub fn zone_text(seed: u64, records: u64) -> String {
    let mut rng = Rng::new(seed);
    let mut out = String::with_capacity(40 * usize::try_from(records).unwrap_or_default());
    out.push_str("$TTL 3600\nexample. SOA ns1.example. admin.example. 1 14400 3600 604800 300\n");
    out.push_str("example. NS ns1.example.\nexample. NS ns2.example.\n");
    for number in 5..records {
        let bits = rng.bits();
        let [a, b, c, d, e, ..] = bits.to_be_bytes();
        // Writing to a string cannot fail.
        let _ = match number % 15 {
            0 => writeln!(out, "h{number:07}.example. 3600 IN MX 10 h{:07}.example.", number - 1),
            1 => writeln!(out, "h{number:07}.example. 3600 IN CNAME h{:07}.example.", number + 1),
            2 => writeln!(
                out,
                "h{number:07}.example. 3600 IN TXT \"v=spf1 ip4:10.{b}.{c}.{d} -all\""
            ),
            3..6 => writeln!(
                out,
                "h{number:07}.example. 3600 IN AAAA 2001:db8:{a:x}{b:02x}::{c:x}{d:02x}"
            ),
            _ => writeln!(out, "h{number:07}.example. 3600 IN A 10.{c}.{d}.{e}"),
        };
    }
    out.push_str("ns1.example. 86400 IN A 192.0.2.1\nns2.example. 86400 IN A 192.0.2.2\n");
    out
}
