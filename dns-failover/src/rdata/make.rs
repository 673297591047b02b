//! Making RDATA from what it is to say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::data::Soa;
use super::field::{WireError, check_tag};
use super::{Rdata, RecordType};
use crate::name::Name;

/// The longest string in TXT and its like.
const MAX_STRING: usize = 255;

/// Why values are not RDATA of their type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {rtype} record can say this: {why}")]
pub struct RdataError {
    rtype: RecordType,
    why: WireError,
}

impl Rdata {
    /// An IPv4 address.
    pub fn a(address: Ipv4Addr) -> Rdata {
        Rdata::trusted(RecordType::A, &address.octets())
    }

    /// An IPv6 address.
    pub fn aaaa(address: Ipv6Addr) -> Rdata {
        Rdata::trusted(RecordType::AAAA, &address.octets())
    }

    /// A or AAAA, as the address is.
    pub fn address(address: IpAddr) -> Rdata {
        match address {
            IpAddr::V4(address) => Rdata::a(address),
            IpAddr::V6(address) => Rdata::aaaa(address),
        }
    }

    /// A name server.
    pub fn ns(server: &Name) -> Rdata {
        Rdata::trusted(RecordType::NS, server.as_wire())
    }

    /// An alias.
    pub fn cname(canonical: &Name) -> Rdata {
        Rdata::trusted(RecordType::CNAME, canonical.as_wire())
    }

    /// A pointer, such as from an address to its name.
    pub fn ptr(name: &Name) -> Rdata {
        Rdata::trusted(RecordType::PTR, name.as_wire())
    }

    /// Where mail goes; the lowest preference is tried first.
    pub fn mx(preference: u16, exchange: &Name) -> Rdata {
        let wire = [&preference.to_be_bytes(), exchange.as_wire()].concat();
        Rdata::trusted(RecordType::MX, &wire)
    }

    /// Where a service is.
    pub fn srv(priority: u16, weight: u16, port: u16, target: &Name) -> Rdata {
        let numbers = [priority, weight, port].map(u16::to_be_bytes);
        Rdata::trusted(RecordType::SRV, &[numbers.as_flattened(), target.as_wire()].concat())
    }

    /// The start of authority.
    pub fn soa_of(soa: &Soa) -> Rdata {
        let numbers = [soa.serial.get(), soa.refresh, soa.retry, soa.expire, soa.minimum];
        let numbers = numbers.map(u32::to_be_bytes);
        let wire = [soa.mname.as_wire(), soa.rname.as_wire(), numbers.as_flattened()].concat();
        Rdata::trusted(RecordType::SOA, &wire)
    }

    /// Text of any length: split into strings of 255 octets, which readers put together again. No text
    /// is one empty string.
    ///
    /// # Errors
    /// [`RdataError`] for more than fits a record.
    pub fn txt(text: impl AsRef<[u8]>) -> Result<Rdata, RdataError> {
        match text.as_ref() {
            [] => Rdata::txt_strings([b""]),
            text => Rdata::txt_strings(text.chunks(MAX_STRING)),
        }
    }

    /// Text as these strings, each of at most 255 octets.
    ///
    /// # Errors
    /// [`RdataError`] for no string, for one that is too long, and for more than fits a record.
    pub fn txt_strings<S: AsRef<[u8]>>(
        strings: impl IntoIterator<Item = S>,
    ) -> Result<Rdata, RdataError> {
        let mut wire = Vec::new();
        for string in strings {
            push_string(RecordType::TXT, string.as_ref(), &mut wire)?;
        }
        Rdata::made(RecordType::TXT, &wire)
    }

    /// Who may issue certificates (RFC 8659): flags, tag and value.
    ///
    /// # Errors
    /// [`RdataError`] for a tag that does not consist of letters and digits.
    pub fn caa(flags: u8, tag: &str, value: impl AsRef<[u8]>) -> Result<Rdata, RdataError> {
        let rtype = RecordType::CAA;
        check_tag(tag.as_bytes()).map_err(|why| RdataError { rtype, why })?;
        let mut wire = vec![flags];
        push_string(rtype, tag.as_bytes(), &mut wire)?;
        wire.extend_from_slice(value.as_ref());
        Rdata::made(rtype, &wire)
    }

    /// The fingerprint of a host key (RFC 4255).
    ///
    /// # Errors
    /// [`RdataError`] for more than fits a record.
    pub fn sshfp(algorithm: u8, kind: u8, fingerprint: &[u8]) -> Result<Rdata, RdataError> {
        Rdata::made(RecordType::SSHFP, &[&[algorithm, kind], fingerprint].concat())
    }

    /// The association with a certificate (RFC 6698).
    ///
    /// # Errors
    /// [`RdataError`] for more than fits a record.
    pub fn tlsa(
        usage: u8,
        selector: u8,
        matching: u8,
        association: &[u8],
    ) -> Result<Rdata, RdataError> {
        Rdata::made(RecordType::TLSA, &[&[usage, selector, matching], association].concat())
    }

    /// The RDATA with another serial in it; None where it is no start of authority.
    #[must_use]
    pub fn with_serial(&self, serial: crate::Serial) -> Option<Rdata> {
        let soa = self.soa()?;
        Some(Rdata::soa_of(&Soa { serial, ..soa }))
    }

    fn made(rtype: RecordType, wire: &[u8]) -> Result<Rdata, RdataError> {
        Rdata::from_wire(rtype, wire).map_err(|why| RdataError { rtype, why })
    }
}

fn push_string(rtype: RecordType, string: &[u8], wire: &mut Vec<u8>) -> Result<(), RdataError> {
    let len = u8::try_from(string.len()).map_err(|_| RdataError {
        rtype,
        why: WireError::Value("a string has more than 255 octets"),
    })?;
    wire.push(len);
    wire.extend_from_slice(string);
    Ok(())
}
