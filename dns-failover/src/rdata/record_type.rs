//! Types of records: their numbers, mnemonics and fields, in one table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::field::Field::{self, *};

/// The type of a record (RFC 1035 section 3.2.2, IANA's registry). Any number is a type; one without
/// a mnemonic is written `TYPE65280` (RFC 3597 section 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(u16);

/// What the RDATA of a type consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// These fields, in text and on the wire.
    Fields(&'static [Field]),
    /// Octets without a text form of their own (RFC 3597).
    Opaque,
    /// A type of questions and messages, which no zone holds.
    Meta,
}

macro_rules! record_types {
    ($($constant:ident $number:literal $mnemonic:literal $shape:expr;)*) => {
        impl RecordType {
            $(#[doc = concat!("`", $mnemonic, "`.")]
            pub const $constant: RecordType = RecordType($number);)*

            /// The mnemonic, where the type has one.
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($mnemonic),)*
                    _ => None,
                }
            }

            pub(crate) fn shape(self) -> Shape {
                match self.0 {
                    $($number => const { $shape },)*
                    _ => Shape::Opaque,
                }
            }

            /// Finds a mnemonic in capitals.
            fn by_mnemonic(capitals: &[u8]) -> Option<RecordType> {
                $(if capitals == $mnemonic.as_bytes() {
                    return Some(RecordType::$constant);
                })*
                None
            }
        }

        /// Every type that has a mnemonic.
        #[cfg(test)]
        pub(crate) const ALL: &[RecordType] = &[$(RecordType::$constant),*];
    };
}

const ONE_NAME: Shape = Shape::Fields(&[Name]);
const NUMBER_NAME: Shape = Shape::Fields(&[U16, Name]);
const TWO_NAMES: Shape = Shape::Fields(&[Name, Name]);
const STRINGS: Shape = Shape::Fields(&[Strings]);
const DIGEST_OF_KEY: Shape = Shape::Fields(&[U16, Algorithm, U8, Hex]);
const PUBLIC_KEY: Shape = Shape::Fields(&[U16, U8, Algorithm, Base64]);
const ASSOCIATION: Shape = Shape::Fields(&[U8, U8, U8, Hex]);
const SIGNATURE: Shape =
    Shape::Fields(&[TypeCode, Algorithm, U8, U32, Time, Time, U16, Name, Base64]);
const SERVICE: Shape = Shape::Fields(&[U16, NameAsIs, SvcParams]);

// The most frequent ones first: mnemonics are looked for in this order.
record_types! {
    A 1 "A" Shape::Fields(&[Ipv4]);
    AAAA 28 "AAAA" Shape::Fields(&[Ipv6]);
    NS 2 "NS" ONE_NAME;
    CNAME 5 "CNAME" ONE_NAME;
    MX 15 "MX" NUMBER_NAME;
    TXT 16 "TXT" STRINGS;
    SOA 6 "SOA" Shape::Fields(&[Name, Name, U32, Period, Period, Period, Period]);
    PTR 12 "PTR" ONE_NAME;
    SRV 33 "SRV" Shape::Fields(&[U16, U16, U16, Name]);
    DS 43 "DS" DIGEST_OF_KEY;
    RRSIG 46 "RRSIG" SIGNATURE;
    NSEC 47 "NSEC" Shape::Fields(&[NameAsIs, Types]);
    NSEC3 50 "NSEC3" Shape::Fields(&[U8, U8, U16, Salt, Hash, Types]);
    DNSKEY 48 "DNSKEY" PUBLIC_KEY;
    CAA 257 "CAA" Shape::Fields(&[U8, Tag, RestString]);
    TLSA 52 "TLSA" ASSOCIATION;
    SSHFP 44 "SSHFP" Shape::Fields(&[U8, U8, Hex]);
    HTTPS 65 "HTTPS" SERVICE;
    SVCB 64 "SVCB" SERVICE;
    DNAME 39 "DNAME" ONE_NAME;
    NAPTR 35 "NAPTR" Shape::Fields(&[U16, U16, CharString, CharString, CharString, Name]);
    SPF 99 "SPF" STRINGS;
    HINFO 13 "HINFO" Shape::Fields(&[CharString, CharString]);
    LOC 29 "LOC" Shape::Fields(&[Location]);
    RP 17 "RP" TWO_NAMES;
    AFSDB 18 "AFSDB" NUMBER_NAME;
    URI 256 "URI" Shape::Fields(&[U16, U16, RestString]);
    ZONEMD 63 "ZONEMD" Shape::Fields(&[U32, U8, U8, Hex]);
    CDS 59 "CDS" DIGEST_OF_KEY;
    CDNSKEY 60 "CDNSKEY" PUBLIC_KEY;
    CSYNC 62 "CSYNC" Shape::Fields(&[U32, U16, Types]);
    NSEC3PARAM 51 "NSEC3PARAM" Shape::Fields(&[U8, U8, U16, Salt]);
    CERT 37 "CERT" Shape::Fields(&[CertType, U16, Algorithm, Base64]);
    SMIMEA 53 "SMIMEA" ASSOCIATION;
    OPENPGPKEY 61 "OPENPGPKEY" Shape::Fields(&[Base64]);
    DHCID 49 "DHCID" Shape::Fields(&[Base64]);
    APL 42 "APL" Shape::Fields(&[Prefixes]);
    IPSECKEY 45 "IPSECKEY" Shape::Fields(&[IpsecKey]);
    AMTRELAY 260 "AMTRELAY" Shape::Fields(&[AmtRelay]);
    HIP 55 "HIP" Shape::Fields(&[HostIdentity]);
    KX 36 "KX" NUMBER_NAME;
    KEY 25 "KEY" PUBLIC_KEY;
    SIG 24 "SIG" SIGNATURE;
    MD 3 "MD" ONE_NAME;
    MF 4 "MF" ONE_NAME;
    MB 7 "MB" ONE_NAME;
    MG 8 "MG" ONE_NAME;
    MR 9 "MR" ONE_NAME;
    MINFO 14 "MINFO" TWO_NAMES;
    X25 19 "X25" Shape::Fields(&[CharString]);
    ISDN 20 "ISDN" Shape::Fields(&[OneOrTwoStrings]);
    RT 21 "RT" NUMBER_NAME;
    NSAP 22 "NSAP" Shape::Fields(&[Nsap]);
    NSAP_PTR 23 "NSAP-PTR" ONE_NAME;
    PX 26 "PX" Shape::Fields(&[U16, Name, Name]);
    GPOS 27 "GPOS" Shape::Fields(&[CharString, CharString, CharString]);
    NINFO 56 "NINFO" STRINGS;
    RKEY 57 "RKEY" PUBLIC_KEY;
    TALINK 58 "TALINK" Shape::Fields(&[NameAsIs, NameAsIs]);
    NID 104 "NID" Shape::Fields(&[U16, Groups]);
    L32 105 "L32" Shape::Fields(&[U16, Ipv4]);
    L64 106 "L64" Shape::Fields(&[U16, Groups]);
    LP 107 "LP" Shape::Fields(&[U16, NameAsIs]);
    EUI48 108 "EUI48" Shape::Fields(&[Eui48]);
    EUI64 109 "EUI64" Shape::Fields(&[Eui64]);
    AVC 258 "AVC" STRINGS;
    RESINFO 261 "RESINFO" STRINGS;
    WALLET 262 "WALLET" STRINGS;
    TA 32768 "TA" DIGEST_OF_KEY;
    DLV 32769 "DLV" DIGEST_OF_KEY;
    NULL 10 "NULL" Shape::Opaque;
    WKS 11 "WKS" Shape::Fields(&[Services]);
    NXT 30 "NXT" Shape::Opaque;
    A6 38 "A6" Shape::Opaque;
    OPT 41 "OPT" Shape::Meta;
    TKEY 249 "TKEY" Shape::Meta;
    TSIG 250 "TSIG" Shape::Meta;
    IXFR 251 "IXFR" Shape::Meta;
    AXFR 252 "AXFR" Shape::Meta;
    MAILB 253 "MAILB" Shape::Meta;
    MAILA 254 "MAILA" Shape::Meta;
    ANY 255 "ANY" Shape::Meta;
}

impl RecordType {
    /// The type of this number.
    pub const fn new(number: u16) -> RecordType {
        RecordType(number)
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether zones cannot hold it: types of questions and of messages (RFC 6895 section 3.1).
    pub fn is_meta(self) -> bool {
        self.0 == 0 || matches!(self.shape(), Shape::Meta) || (128..=255).contains(&self.0)
    }

    /// Whether named, NSD, Knot or PowerDNS does not know its mnemonic (the versions of 2023 that
    /// Debian 12 has). All of them read `TYPE19 \# 2 0161`.
    pub(crate) fn is_rare(self) -> bool {
        use RecordType as T;
        matches!(
            self,
            T::X25
                | T::ISDN
                | T::RT
                | T::PX
                | T::GPOS
                | T::MB
                | T::MG
                | T::MR
                | T::MD
                | T::MF
                | T::NSAP
                | T::NSAP_PTR
                | T::SIG
                | T::NXT
                | T::A6
                | T::NULL
                | T::WKS
                | T::HIP
                | T::NINFO
                | T::RKEY
                | T::TALINK
                | T::AVC
                | T::TA
                | T::DLV
                | T::RESINFO
                | T::WALLET
                | T::AMTRELAY
        )
    }

    /// Reads a mnemonic or `TYPE123`, in any case.
    pub(crate) fn from_text(text: &[u8]) -> Option<RecordType> {
        let mut capitals = [0; 16];
        let capitals = capitals.get_mut(..text.len())?;
        capitals.copy_from_slice(text);
        capitals.make_ascii_uppercase();
        RecordType::by_mnemonic(capitals)
            .or_else(|| number_after(b"TYPE", capitals).map(RecordType))
    }

    /// Appends the type as every server reads it.
    #[inline]
    pub(crate) fn write_text(self, out: &mut Vec<u8>) {
        match self.mnemonic().filter(|_| !self.is_rare()) {
            Some(mnemonic) => out.extend_from_slice(mnemonic.as_bytes()),
            None => {
                out.extend_from_slice(b"TYPE");
                super::print::number(self.0.into(), out);
            }
        }
    }
}

/// The number in `TYPE123` or `CLASS123`.
pub(crate) fn number_after(word: &[u8], text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(word)?;
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(number).ok()
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.pad(mnemonic),
            None => f.pad(&format!("TYPE{}", self.0)),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// This is no type of records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no type of records; write its mnemonic, or TYPE and its number")]
pub struct BadRecordType(String);

impl FromStr for RecordType {
    type Err = BadRecordType;

    fn from_str(text: &str) -> Result<RecordType, BadRecordType> {
        RecordType::from_text(text.as_bytes()).ok_or_else(|| BadRecordType(text.to_owned()))
    }
}

impl Serialize for RecordType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RecordType, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_what_it_prints() {
        for number in (0..300).chain([32767, 32768, 32769, 65535]) {
            let rtype = RecordType::new(number);
            assert_eq!(rtype.to_string().to_lowercase().parse(), Ok(rtype));
        }
        for text in ["", "TYPE", "TYPE65536", "TYPE-1", "AA", "a very long mnemonic"] {
            assert!(text.parse::<RecordType>().is_err(), "{text}");
        }
    }
}
