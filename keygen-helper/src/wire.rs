//! The SSH wire encoding (RFC 4251 section 5) and OpenSSH's base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Reads the fields of a blob from its start; every length is checked against what is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// The next `len` bytes, or nothing when fewer are left.
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A `uint32`.
    pub(crate) fn number(&mut self) -> Option<u32> {
        let bytes = self.bytes(4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// A `uint64`.
    pub(crate) fn long(&mut self) -> Option<u64> {
        let bytes = self.bytes(8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }

    /// A `string`: four bytes of length, and as many bytes.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    /// An `mpint` that is not negative, without its leading zeros.
    pub(crate) fn positive(&mut self) -> Option<&'a [u8]> {
        let digits = self.string()?;
        if digits.first().is_some_and(|&byte| byte >= 0x80) {
            return None;
        }
        let zeros = digits.iter().take_while(|&&byte| byte == 0).count();
        Some(&digits[zeros..])
    }

    /// What has not been read yet.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Appends a `string`.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends an `mpint` given its digits without leading zeros. Digits may be secret: they are
/// copied nowhere else.
pub(crate) fn put_positive(out: &mut Vec<u8>, digits: &[u8]) {
    let sign = digits.first().is_some_and(|&first| first >= 0x80);
    put_length(out, digits.len() + usize::from(sign));
    out.extend_from_slice(if sign { &[0] } else { &[] });
    out.extend_from_slice(digits);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("keys are capped far below 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
}

/// Decodes base64 as OpenSSH does (`b64_pton`): white space anywhere is skipped, which is why lines
/// that end in CR LF log in; padding and the bits it leaves over must be right.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    if text.iter().any(space) {
        let dense: Vec<u8> = text.iter().copied().filter(|byte| !space(byte)).collect();
        return STANDARD.decode(dense).ok();
    }
    STANDARD.decode(text).ok()
}

/// Base64 with padding, on one line.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
