//! Looking into RDATA.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::print::split_string;
use super::record_type::RecordType;
use super::{Rdata, svcb};
use crate::name::{Name, uncompressed_len};
use crate::record::Ttl;
use crate::serial::Serial;

/// What RDATA says, for the types that zones of hosting customers consist of and that the checks look
/// into. Everything else is [`Data::Other`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Data<'a> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A name server.
    Ns(Name),
    /// The name that this one is an alias of.
    Cname(Name),
    /// Where everything below this name is to be found.
    Dname(Name),
    /// The name of an address.
    Ptr(Name),
    /// The start of authority.
    Soa(Soa),
    /// Where mail goes.
    Mx {
        /// The lowest is tried first.
        preference: u16,
        /// The host; the root for "no mail at all" (RFC 7505).
        exchange: Name,
    },
    /// Text.
    Txt(Strings<'a>),
    /// Where a service is (RFC 2782).
    Srv {
        /// The lowest is tried first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host; the root for "not here at all".
        target: Name,
    },
    /// Who may issue certificates (RFC 8659).
    Caa {
        /// 128 is "critical".
        flags: u8,
        /// `issue`, `issuewild`, `iodef`, …
        tag: &'a [u8],
        /// What the tag says.
        value: &'a [u8],
    },
    /// The fingerprint of a host key (RFC 4255).
    Sshfp {
        /// Of the key.
        algorithm: u8,
        /// Of the digest.
        fingerprint_type: u8,
        /// The digest.
        fingerprint: &'a [u8],
    },
    /// The association with a certificate (RFC 6698).
    Tlsa {
        /// Which certificate.
        usage: u8,
        /// All of it, or its key.
        selector: u8,
        /// As it is, or a digest of it.
        matching: u8,
        /// The octets to be found.
        association: &'a [u8],
    },
    /// Service binding, for SVCB and HTTPS alike (RFC 9460).
    Svcb {
        /// 0 makes an alias.
        priority: u16,
        /// The host; the root for the owner itself.
        target: Name,
        /// The parameters.
        params: SvcParams<'a>,
    },
    /// The digest of a child's key (RFC 4034), for DS and CDS alike.
    Ds {
        /// Which key.
        key_tag: u16,
        /// Of the key.
        algorithm: u8,
        /// Of the digest.
        digest_type: u8,
        /// The digest.
        digest: &'a [u8],
    },
    /// The digest of a zone (RFC 8976).
    Zonemd {
        /// The zone's serial.
        serial: Serial,
        /// How records are gathered.
        scheme: u8,
        /// Of the digest.
        algorithm: u8,
        /// The digest.
        digest: &'a [u8],
    },
    /// Anything else, as it goes over the wire.
    Other(&'a [u8]),
}

/// The start of authority (RFC 1035 section 3.3.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    /// The primary name server.
    pub mname: Name,
    /// The mailbox of who is responsible, its `@` written as a dot.
    pub rname: Name,
    /// The version of the zone.
    pub serial: Serial,
    /// How often secondaries look for a new one, in seconds.
    pub refresh: u32,
    /// How often they try again, in seconds.
    pub retry: u32,
    /// After how many seconds without a primary they stop answering.
    pub expire: u32,
    /// How long "there is no such thing" may be kept, in seconds (RFC 2308 section 4).
    pub minimum: u32,
}

impl Soa {
    /// How long an answer "there is no such thing" is kept: the lower one of the record's own TTL and
    /// its minimum (RFC 2308 section 5).
    pub fn negative_ttl(&self, ttl: Ttl) -> Ttl {
        ttl.min(Ttl::saturating(self.minimum))
    }
}

/// The strings of a TXT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    /// The strings one by one, each of at most 255 octets.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (text, after) = split_string(rest)?;
            rest = after;
            Some(text)
        })
    }

    /// The strings put together without anything between them, as SPF, DKIM and DMARC read them
    /// (RFC 7208 section 3.3).
    pub fn joined(self) -> Vec<u8> {
        self.iter().flatten().copied().collect()
    }
}

/// The parameters of an SVCB or HTTPS record, by ascending key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SvcParams<'a>(&'a [u8]);

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SvcParam<'a> {
    /// Keys that a client must understand.
    Mandatory(Vec<u16>),
    /// A port other than the scheme's own.
    Port(u16),
    /// Addresses to try before there is an answer to A.
    Ipv4Hint(Vec<Ipv4Addr>),
    /// Addresses to try before there is an answer to AAAA.
    Ipv6Hint(Vec<Ipv6Addr>),
    /// Any other key and its octets.
    Other(u16, &'a [u8]),
}

impl<'a> SvcParams<'a> {
    /// The parameters one by one.
    pub fn iter(self) -> impl Iterator<Item = SvcParam<'a>> {
        svcb::params(self.0).map(|(key, value)| match key {
            svcb::MANDATORY => {
                SvcParam::Mandatory(value.chunks_exact(2).map(u16_at_front).collect())
            }
            svcb::PORT => SvcParam::Port(u16_at_front(value)),
            svcb::IPV4HINT => {
                let groups = value.as_chunks::<4>().0;
                SvcParam::Ipv4Hint(groups.iter().map(|octets| (*octets).into()).collect())
            }
            svcb::IPV6HINT => {
                let groups = value.as_chunks::<16>().0;
                SvcParam::Ipv6Hint(groups.iter().map(|octets| (*octets).into()).collect())
            }
            _ => SvcParam::Other(key, value),
        })
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

fn u16_at_front(octets: &[u8]) -> u16 {
    u16::from_be_bytes([octets[0], octets[1]])
}

/// Takes fields from the front of RDATA that was checked.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn octets(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.octets(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16_at_front(self.octets(2))
    }

    fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    fn name(&mut self) -> Name {
        Name::trusted(self.octets(uncompressed_len(self.0).unwrap_or(self.0.len())))
    }
}

impl Rdata {
    /// What the RDATA says.
    pub fn data(&self) -> Data<'_> {
        let mut parts = Parts(self.as_wire());
        match self.rtype() {
            RecordType::A => {
                let octets: [u8; 4] = self.as_wire().try_into().unwrap_or_default();
                Data::A(octets.into())
            }
            RecordType::AAAA => {
                let octets: [u8; 16] = self.as_wire().try_into().unwrap_or_default();
                Data::Aaaa(octets.into())
            }
            RecordType::NS => Data::Ns(parts.name()),
            RecordType::CNAME => Data::Cname(parts.name()),
            RecordType::DNAME => Data::Dname(parts.name()),
            RecordType::PTR => Data::Ptr(parts.name()),
            RecordType::SOA => Data::Soa(Soa {
                mname: parts.name(),
                rname: parts.name(),
                serial: Serial::new(parts.u32()),
                refresh: parts.u32(),
                retry: parts.u32(),
                expire: parts.u32(),
                minimum: parts.u32(),
            }),
            RecordType::MX => Data::Mx { preference: parts.u16(), exchange: parts.name() },
            RecordType::TXT => Data::Txt(Strings(self.as_wire())),
            RecordType::SRV => Data::Srv {
                priority: parts.u16(),
                weight: parts.u16(),
                port: parts.u16(),
                target: parts.name(),
            },
            RecordType::CAA => {
                let flags = parts.u8();
                let len = parts.u8().into();
                Data::Caa { flags, tag: parts.octets(len), value: parts.0 }
            }
            RecordType::SSHFP => Data::Sshfp {
                algorithm: parts.u8(),
                fingerprint_type: parts.u8(),
                fingerprint: parts.0,
            },
            RecordType::TLSA => Data::Tlsa {
                usage: parts.u8(),
                selector: parts.u8(),
                matching: parts.u8(),
                association: parts.0,
            },
            RecordType::SVCB | RecordType::HTTPS => Data::Svcb {
                priority: parts.u16(),
                target: parts.name(),
                params: SvcParams(parts.0),
            },
            RecordType::DS | RecordType::CDS => Data::Ds {
                key_tag: parts.u16(),
                algorithm: parts.u8(),
                digest_type: parts.u8(),
                digest: parts.0,
            },
            RecordType::ZONEMD => Data::Zonemd {
                serial: Serial::new(parts.u32()),
                scheme: parts.u8(),
                algorithm: parts.u8(),
                digest: parts.0,
            },
            _ => Data::Other(self.as_wire()),
        }
    }

    /// The name in RDATA that consists of one: NS, CNAME, DNAME, PTR; the target of MX and SRV.
    pub fn target(&self) -> Option<Name> {
        match self.data() {
            Data::Ns(name) | Data::Cname(name) | Data::Dname(name) | Data::Ptr(name) => Some(name),
            Data::Mx { exchange, .. } => Some(exchange),
            Data::Srv { target, .. } | Data::Svcb { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The address in A or AAAA.
    pub fn ip_address(&self) -> Option<std::net::IpAddr> {
        match self.data() {
            Data::A(address) => Some(address.into()),
            Data::Aaaa(address) => Some(address.into()),
            _ => None,
        }
    }

    /// The start of authority, if this is one.
    pub fn soa(&self) -> Option<Soa> {
        match self.data() {
            Data::Soa(soa) => Some(soa),
            _ => None,
        }
    }
}
