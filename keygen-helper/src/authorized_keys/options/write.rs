//! Options that were chosen, and how they are written down.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::{OptionError, Options, PERMISSIONS, Permission, Tunnel, bad_value};
use crate::bytes::{Bytes, shown};
use crate::pattern::is_sound_from;
use crate::time::Timestamp;

/// Options that were not read but chosen.
impl Options {
    /// Only this command may be run, whatever the client asks for.
    ///
    /// # Errors
    /// When the command cannot be written down.
    pub fn with_command(mut self, command: &[u8]) -> Result<Options, OptionError> {
        self.command = Some(writable("command", command)?);
        Ok(self)
    }

    /// Logins may come only from where this list says: addresses, networks, names, wildcards,
    /// each negated by `!` in front.
    ///
    /// # Errors
    /// When the list cannot be written down, or sshd would take it for broken.
    pub fn with_from(mut self, list: &[u8]) -> Result<Options, OptionError> {
        if !is_sound_from(list) {
            return Err(bad_value("from", list));
        }
        self.from = Some(writable("from", list)?);
        Ok(self)
    }

    /// The key is of no use after this.
    #[must_use]
    pub fn with_expiry(mut self, time: Timestamp) -> Options {
        self.expiry = BTreeSet::from([time.into()]);
        self
    }

    /// The key signs certificates, for these principals or else for the user's name.
    ///
    /// # Errors
    /// When the principals cannot be written down.
    pub fn with_cert_authority(
        mut self,
        principals: Option<&[u8]>,
    ) -> Result<Options, OptionError> {
        self.cert_authority = true;
        self.principals = principals.map(|list| writable("principals", list)).transpose()?;
        Ok(self)
    }

    /// A terminal may be had after all.
    #[must_use]
    pub fn with_pty(mut self) -> Options {
        self.denied.remove(&Permission::Pty);
        self
    }

    /// The options as they are written in front of a key: nothing when there are none. Reading
    /// them gives equal options.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut flag = |on: bool, name: &str| {
            if on {
                words.push(name.into());
            }
        };
        flag(self.cert_authority, "cert-authority");
        flag(self.restricted, "restrict");
        for (name, permission) in PERMISSIONS {
            let denied = self.denied.contains(&permission);
            flag(self.restricted && !denied, name);
            flag(!self.restricted && denied, &format!("no-{name}"));
        }
        flag(self.touch_not_required, "no-touch-required");
        flag(self.verify_required, "verify-required");
        let mut value = |name: &str, value: &[u8]| words.push(quoted(name, value));
        for (name, bytes) in
            [("command", &self.command), ("principals", &self.principals), ("from", &self.from)]
        {
            bytes.iter().for_each(|bytes| value(name, bytes.as_bytes()));
        }
        self.expiry.iter().for_each(|time| value("expiry-time", time.to_string().as_bytes()));
        for (name, list) in [
            ("environment", &self.environment),
            ("permitopen", &self.permit_open),
            ("permitlisten", &self.permit_listen),
        ] {
            list.iter().for_each(|item| value(name, item.as_bytes()));
        }
        match self.tunnel {
            None => {}
            Some(Tunnel::Any) => value("tunnel", b"any"),
            Some(Tunnel::Number(number)) => value("tunnel", number.to_string().as_bytes()),
        }
        words.join(&b',')
    }
}

fn quoted(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = [name.as_bytes(), b"=\""].concat();
    for &byte in value {
        if byte == b'"' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    out
}

/// A quote is written with a backslash in front, and nothing else is: so a backslash at the end
/// would take the closing quote with it.
fn writable(option: &'static str, value: &[u8]) -> Result<Bytes, OptionError> {
    let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
    if value.iter().any(breaks) || value.ends_with(b"\\") {
        return Err(OptionError::Unwritable(option));
    }
    Ok(value.into())
}

/// As they are written in front of a key.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.to_bytes()))
    }
}

impl Serialize for Options {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::from(self.to_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Options, D::Error> {
        let text = Bytes::deserialize(deserializer)?;
        Options::parse(text.as_bytes()).map_err(de::Error::custom)
    }
}
