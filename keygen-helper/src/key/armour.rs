//! The text around binary keys: dashes, a label, base64 (RFC 7468, and RFC 1421 for headers).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::KeyError;

/// What a file holds between its dashes.
pub(super) struct Armoured<'a> {
    pub(super) label: &'a str,
    /// `Name: value` lines at the start, which only OpenSSL's old way of locking has.
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) content: Zeroizing<Vec<u8>>,
}

/// Finds the first armoured block. Text before and after it is allowed, as OpenSSL does.
pub(super) fn read(text: &[u8]) -> Result<Armoured<'_>, KeyError> {
    let Ok(text) = str::from_utf8(text) else {
        return Err(KeyError::NotAKey);
    };
    let mut lines = text.lines().map(str::trim_end);
    let label = lines
        .find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .ok_or(KeyError::NotAKey)?;
    let mut headers = Vec::new();
    // Long enough for all of it, so that nothing is copied while it grows.
    let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
    for line in lines {
        if let Some(end) = line.strip_prefix("-----END ") {
            if end.strip_suffix("-----") != Some(label) {
                break;
            }
            let mut content = Zeroizing::new(vec![0; base64.len() / 4 * 3 + 3]);
            let bad = |_| KeyError::Damaged("its base64 cannot be decoded");
            let length = STANDARD.decode_slice(&**base64, &mut content).map_err(bad)?;
            content.truncate(length);
            return Ok(Armoured { label, headers, content });
        }
        match line.split_once(": ") {
            Some(header) if base64.is_empty() => headers.push(header),
            _ => base64.push_str(line.trim_start()),
        }
    }
    Err(KeyError::Damaged("the line with which it ends is missing"))
}

/// Writes as ssh-keygen does: 70 characters a line.
pub(super) fn write(label: &str, content: &[u8]) -> Zeroizing<Vec<u8>> {
    let base64 = Zeroizing::new(STANDARD.encode(content));
    let mut out = Zeroizing::new(Vec::with_capacity(base64.len() + base64.len() / 70 + 128));
    out.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
    for line in base64.as_bytes().chunks(70) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    out
}
