//! A provider with two sites, six name servers and as many domains as one likes.

use std::net::IpAddr;

use crate::epoch::SiteId;
use crate::key::{TsigAlgorithm, TsigKey};
use crate::name::Name;
use crate::rdata::Rdata;
use crate::topology::{
    Addresses, Authority, Dkim, Domain, Draft, Feed, NameServer, Site, Software, Tlsa,
};

const PARSES: &str = "the scene's own texts are right";

fn name(text: &str) -> Name {
    text.parse().expect(PARSES)
}

fn addresses(texts: &[&str]) -> Addresses {
    texts.iter().map(|text| text.parse::<IpAddr>().expect(PARSES)).collect()
}

/// A provider called host.uk and host.us: three servers with BIND, two with Knot and one with NSD in
/// four places, and the domains `customer0.example` and on, every other one with its primary in the US.
pub fn draft(domains: usize) -> Draft {
    let authority = Authority::new(name("hostmaster.host.uk"), name("catalog.host.uk"));
    Draft {
        sites: SiteId::ALL.map(site).into(),
        authority,
        name_servers: (0..6).map(name_server).collect(),
        domains: (0..domains).map(domain).collect(),
    }
}

fn site(id: SiteId) -> Site {
    let (web, mail, octet) = match id {
        SiteId::Uk => (["192.0.2.10", "2001:db8:1::10"], ["192.0.2.25", "2001:db8:1::25"], 0x11),
        SiteId::Us => {
            (["198.51.100.10", "2001:db8:2::10"], ["198.51.100.25", "2001:db8:2::25"], 0x22)
        }
    };
    Site {
        id,
        web: addresses(&web),
        mail_host: name(&format!("mail.host.{id}")),
        mail: addresses(&mail),
        dkim: vec![Dkim {
            selector: name(&format!("{id}1")),
            text: format!(
                "v=DKIM1; k=ed25519; p={octet}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
            )
            .into(),
        }],
        sshfp: vec![Rdata::sshfp(4, 2, &[octet; 32]).expect(PARSES)],
        tlsa: vec![Tlsa {
            service: name("_443._tcp"),
            rdata: Rdata::tlsa(3, 1, 1, &[octet; 32]).expect(PARSES),
        }],
    }
}

fn name_server(index: usize) -> NameServer {
    let nth = |texts: [&'static str; 6]| texts.get(index).copied().unwrap_or_default();
    let hosts =
        ["ns1.host.uk", "ns2.host.us", "ns3.host.uk", "ns4.host.us", "ns5.host.uk", "ns6.host.us"];
    let v4 =
        ["192.0.2.53", "198.51.100.53", "203.0.113.3", "203.0.113.4", "192.0.2.54", "203.0.113.6"];
    let v6 = [
        "2001:db8:1::53",
        "2001:db8:2::53",
        "2001:db8:3::53",
        "2001:db8:4::53",
        "2001:db8:1::54",
        "2001:db8:3::54",
    ];
    let software = match index {
        0..=2 => Software::Bind,
        3 | 4 => Software::Knot,
        _ => Software::Nsd,
    };
    let secret = vec![u8::try_from(index).unwrap_or(u8::MAX) + 1; 32];
    let key =
        TsigKey::new(name(&format!("key{}.host.uk", index + 1)), TsigAlgorithm::HmacSha256, secret);
    let mut server = NameServer::new(
        name(nth(hosts)),
        addresses(&[nth(v4), nth(v6)]),
        software,
        key.expect(PARSES),
    );
    server.location = nth(["uk", "us", "fra", "sgp", "uk", "fra"]).to_owned();
    if matches!(index, 2 | 5) {
        server.feed = Feed::Transfer { from: vec![name(hosts[0]), name(hosts[1])] };
    }
    server
}

fn domain(index: usize) -> Domain {
    let primary = if index.is_multiple_of(2) { SiteId::Uk } else { SiteId::Us };
    let mut domain = Domain::new(name(&format!("customer{index}.example")), primary).expect(PARSES);
    domain.caa = vec![
        Rdata::caa(0, "issue", "letsencrypt.org").expect(PARSES),
        Rdata::caa(0, "issue", "sectigo.com").expect(PARSES),
    ];
    domain
}
