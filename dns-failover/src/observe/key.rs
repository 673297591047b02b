//! The key that all observers and controllers of one network share.

use std::fmt;

use super::{MAX_DATAGRAM, Message};

const PURPOSE: &str = "dns-failover exchange between observers, version 1";
const MAGIC: &[u8; 4] = b"dfo1";
const HEAD: usize = 4 + 2;
const CHECK: usize = blake3::OUT_LEN;

/// The shared key. Its `Debug` does not show it.
#[derive(Clone)]
pub struct ExchangeKey([u8; blake3::KEY_LEN]);

/// Why a secret makes no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the shared secret has {length} octets; it needs 32 at least and 4096 at most, as from `head -c 32 /dev/urandom | base64`"
)]
pub struct BadExchangeKey {
    length: usize,
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the message has {length} octets, and at most {MAX_DATAGRAM} go into one datagram; probe fewer services with one observer"
)]
pub struct SealError {
    length: usize,
}

impl fmt::Debug for ExchangeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExchangeKey(..)")
    }
}

impl ExchangeKey {
    /// Makes the key from a secret; white space around it does not count.
    ///
    /// # Errors
    /// [`BadExchangeKey`] when it is too short to be one.
    pub fn new(secret: &[u8]) -> Result<ExchangeKey, BadExchangeKey> {
        let secret = secret.trim_ascii();
        match secret.len() {
            32..=4096 => Ok(ExchangeKey(blake3::derive_key(PURPOSE, secret))),
            length => Err(BadExchangeKey { length }),
        }
    }

    /// Makes a datagram of a message.
    ///
    /// # Errors
    /// [`SealError`] when it would be too long.
    pub fn seal(&self, message: &Message) -> Result<Vec<u8>, SealError> {
        let body =
            postcard::to_stdvec(message).expect("a message holds nothing that fails to encode");
        let length = HEAD + body.len() + CHECK;
        let body_length = u16::try_from(body.len()).ok().filter(|_| length <= MAX_DATAGRAM);
        let body_length = body_length.ok_or(SealError { length })?;
        let mut datagram = Vec::with_capacity(length);
        datagram.extend_from_slice(MAGIC);
        datagram.extend_from_slice(&body_length.to_be_bytes());
        datagram.extend_from_slice(&body);
        let check = blake3::keyed_hash(&self.0, &datagram);
        datagram.extend_from_slice(check.as_bytes());
        Ok(datagram)
    }

    /// The body of a datagram that somebody with the key has made. None for any other.
    pub(super) fn body<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (signed, check) = datagram.split_last_chunk::<CHECK>()?;
        let (head, body) = signed.split_first_chunk::<HEAD>()?;
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        if &head[..4] != MAGIC || length != body.len() || datagram.len() > MAX_DATAGRAM {
            return None;
        }
        // Comparing hashes takes as long whatever they are.
        (blake3::keyed_hash(&self.0, signed) == *check).then_some(body)
    }
}
