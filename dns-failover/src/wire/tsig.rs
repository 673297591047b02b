//! Signatures of messages (RFC 8945). Replies are read before they are judged, because BADKEY and
//! BADSIG come unsigned, and saying only "wrongly signed" would tell nobody what to mend.

use hickory_proto::rr::{self, TSigner, rdata::tsig};

use super::parse::{Message, RawTsig};
use super::{Rcode, Trouble};
use crate::key::{TsigAlgorithm, TsigKey};
use crate::name::Name;

/// How far two clocks may be apart, in seconds (RFC 8945 section 10).
pub(crate) const FUDGE: u16 = 300;

const TYPE_TSIG: u16 = 250;
const CLASS_ANY: u16 = 255;

/// What a signature says went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TsigError(pub(crate) u16);

impl TsigError {
    pub(crate) const NONE: TsigError = TsigError(0);
    pub(crate) const BADSIG: TsigError = TsigError(16);
    pub(crate) const BADKEY: TsigError = TsigError(17);
    pub(crate) const BADTIME: TsigError = TsigError(18);
}

/// A signature that was made or checked: what the next message of the conversation builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) mac: Vec<u8>,
    pub(crate) time: u64,
}

/// Signs a message by appending a record. `previous` is the signature of the question that this is the
/// reply to, or of the message before this one in a transfer (`first` is false then). A `key` whose
/// secret is not to be used (BADKEY, BADSIG) leaves the signature empty.
pub(crate) fn append(
    message: &mut Vec<u8>,
    key: &TsigKey,
    previous: Option<&[u8]>,
    first: bool,
    time: u64,
    error: TsigError,
) -> Option<Signed> {
    let id = [*message.first()?, *message.get(1)?];
    let other = match error {
        TsigError::BADTIME => time.to_be_bytes()[2..].to_vec(),
        _ => Vec::new(),
    };
    let variables =
        Variables { key: key.name(), algorithm: key.algorithm(), time, error, other: &other };
    let unsigned = matches!(error, TsigError::BADKEY | TsigError::BADSIG);
    let mac = match unsigned {
        true => Vec::new(),
        false => {
            signer(key)?.sign(&to_be_signed(previous, message, first, &variables, FUDGE)).ok()?
        }
    };
    let count = u16::from_be_bytes([*message.get(10)?, *message.get(11)?]).checked_add(1)?;
    message[10..12].copy_from_slice(&count.to_be_bytes());
    message.extend_from_slice(key.name().as_wire());
    let mut data = algorithm_name(key.algorithm()).as_wire().to_vec();
    data.extend_from_slice(&time.to_be_bytes()[2..]);
    data.extend_from_slice(&FUDGE.to_be_bytes());
    push_counted(&mut data, &mac);
    data.extend_from_slice(&id);
    data.extend_from_slice(&error.0.to_be_bytes());
    push_counted(&mut data, &other);
    for number in [TYPE_TSIG, CLASS_ANY, 0, 0] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    push_counted(message, &data);
    Some(Signed { mac, time })
}

/// Checks the signature of a message. `previous` is the signature of the question, or of the message
/// before this one in a transfer (`first` is false then). `now` is in seconds since 1970.
pub(crate) fn verify(
    octets: &[u8],
    message: &Message,
    key: &TsigKey,
    previous: Option<&[u8]>,
    first: bool,
    now: u64,
) -> Result<Signed, Trouble> {
    let Some(tsig) = &message.tsig else {
        // A server that has no such zone may have no key for it either, and then its refusal comes
        // unsigned. Believing it changes nothing, and says more.
        return Err(match message.rcode() {
            rcode @ (Rcode::NOERROR | Rcode::NXDOMAIN) => Trouble::Unsigned { rcode },
            rcode => Trouble::Refused { rcode },
        });
    };
    match TsigError(tsig.error) {
        TsigError::BADKEY => return Err(Trouble::BadKey { key: key.name().clone() }),
        TsigError::BADSIG => return Err(Trouble::BadSig { key: key.name().clone() }),
        // NSD 4.6 signs this one so that nobody can check it. It is bad news in any case.
        TsigError::BADTIME => {
            let theirs = tsig.other.iter().fold(0, |time, octet| time << 8 | u64::from(*octet));
            return Err(Trouble::BadTime { theirs, ours: now });
        }
        _ => {}
    }
    let forged = |why: &str| Trouble::Forged { why: why.to_owned() };
    if tsig.key != *key.name() {
        return Err(forged("with another key than the question"));
    }
    if tsig.algorithm != algorithm_name(key.algorithm()) {
        return Err(forged("with another algorithm than the question"));
    }
    let signed = to_be_checked(octets, tsig, previous, first, key.algorithm());
    let valid = signer(key).is_some_and(|signer| signer.verify(&signed, &tsig.mac).is_ok());
    if !valid {
        return Err(forged("the digest does not fit the message"));
    }
    if tsig.time.abs_diff(now) > u64::from(FUDGE.max(tsig.fudge)) {
        return Err(Trouble::BadTime { theirs: tsig.time, ours: now });
    }
    if tsig.error != 0 {
        return Err(Trouble::Refused { rcode: Rcode::NOTAUTH });
    }
    Ok(Signed { mac: tsig.mac.clone(), time: tsig.time })
}

/// What a signature covers besides the message (RFC 8945 section 4.3.3).
struct Variables<'a> {
    key: &'a Name,
    algorithm: TsigAlgorithm,
    time: u64,
    error: TsigError,
    other: &'a [u8],
}

impl Variables<'_> {
    fn push(&self, signed: &mut Vec<u8>, fudge: u16) {
        signed.extend_from_slice(self.key.to_lowercase().as_wire());
        for number in [CLASS_ANY, 0, 0] {
            signed.extend_from_slice(&number.to_be_bytes());
        }
        signed.extend_from_slice(algorithm_name(self.algorithm).as_wire());
        signed.extend_from_slice(&self.time.to_be_bytes()[2..]);
        signed.extend_from_slice(&fudge.to_be_bytes());
        signed.extend_from_slice(&self.error.0.to_be_bytes());
        push_counted(signed, self.other);
    }
}

fn to_be_checked(
    octets: &[u8],
    tsig: &RawTsig,
    previous: Option<&[u8]>,
    first: bool,
    algorithm: TsigAlgorithm,
) -> Vec<u8> {
    let mut message = octets[..tsig.at].to_vec();
    // As it was before it was signed: with its own id, and without the record of the signature.
    message[..2].copy_from_slice(&tsig.original_id.to_be_bytes());
    let count = u16::from_be_bytes([message[10], message[11]]).saturating_sub(1);
    message[10..12].copy_from_slice(&count.to_be_bytes());
    let variables = Variables {
        key: &tsig.key,
        algorithm,
        time: tsig.time,
        error: TsigError(tsig.error),
        other: &tsig.other,
    };
    to_be_signed(previous, &message, first, &variables, tsig.fudge)
}

fn to_be_signed(
    previous: Option<&[u8]>,
    message: &[u8],
    first: bool,
    variables: &Variables<'_>,
    fudge: u16,
) -> Vec<u8> {
    let mut signed = Vec::with_capacity(message.len() + 200);
    if let Some(previous) = previous {
        push_counted(&mut signed, previous);
    }
    signed.extend_from_slice(message);
    if first {
        variables.push(&mut signed, fudge);
    } else {
        // Only the timers (RFC 8945 section 5.3.1).
        signed.extend_from_slice(&variables.time.to_be_bytes()[2..]);
        signed.extend_from_slice(&fudge.to_be_bytes());
    }
    signed
}

/// None only for algorithms that hickory cannot do, and ours it can.
fn signer(key: &TsigKey) -> Option<TSigner> {
    let algorithm = match key.algorithm() {
        TsigAlgorithm::HmacSha256 => tsig::TsigAlgorithm::HmacSha256,
        TsigAlgorithm::HmacSha384 => tsig::TsigAlgorithm::HmacSha384,
        TsigAlgorithm::HmacSha512 => tsig::TsigAlgorithm::HmacSha512,
    };
    TSigner::new(key.secret().to_vec(), algorithm, rr::Name::root(), FUDGE).ok()
}

fn algorithm_name(algorithm: TsigAlgorithm) -> Name {
    Name::from_labels([algorithm.name()]).unwrap_or_else(|_| Name::root())
}

/// A length in two octets, then the octets. None of ours is longer than that allows.
fn push_counted(out: &mut Vec<u8>, octets: &[u8]) {
    let len = u16::try_from(octets.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(octets);
}
