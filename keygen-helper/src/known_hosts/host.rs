//! A host as ssh looks it up in known_hosts.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// The port that goes without saying.
const SSH_PORT: u16 = 22;

/// The longest name that is taken: a DNS name has 253 characters, an address with a zone fewer.
const MAX_NAME: usize = 255;

/// A host's name or address, and the port that sshd listens on there.
///
/// Names are in lower case, as ssh makes them. Read from text it is `NAME`, `NAME:PORT`,
/// `[ADDRESS]:PORT`, or an address alone.
///
/// ```
/// use keygen_helper::Host;
///
/// let host: Host = "UK.example.net:2222".parse()?;
/// assert_eq!(host.to_string(), "[uk.example.net]:2222");
/// assert_eq!("[2001:db8::1]:22".parse::<Host>()?.to_string(), "2001:db8::1");
/// # Ok::<(), keygen_helper::BadHost>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    name: String,
    port: u16,
}

/// What was given is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no host; give a name or an address and, behind a colon, a port, as in uk.example.net:2222 or [2001:db8::1]:22"
)]
pub struct BadHost(pub String);

impl Host {
    /// Checks a name or address. What known_hosts gives a meaning to (`*`, `?`, `!`, commas, a
    /// bar, blanks) is in no name.
    ///
    /// # Errors
    /// [`BadHost`].
    pub fn new(name: &str, port: u16) -> Result<Host, BadHost> {
        let plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%')
        };
        let fits = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) && port != 0;
        // A colon is for addresses of IPv6 alone, which may name a zone.
        let address = name.split('%').next().unwrap_or_default();
        let sound = !name.contains(':') || address.parse::<Ipv6Addr>().is_ok();
        match fits && sound && !name.starts_with('-') {
            true => Ok(Host { name: name.to_ascii_lowercase(), port }),
            false => Err(BadHost(name.to_owned())),
        }
    }

    /// The name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the port is the one that goes without saying.
    pub(crate) fn has_usual_port(&self) -> bool {
        self.port == SSH_PORT
    }
}

/// As known_hosts has it: the port only where it is not 22 (`put_host_port`).
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.has_usual_port() {
            true => f.write_str(&self.name),
            false => write!(f, "[{}]:{}", self.name, self.port),
        }
    }
}

impl FromStr for Host {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Host, BadHost> {
        let bad = || BadHost(text.to_owned());
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let (name, rest) = rest.split_once(']').ok_or_else(bad)?;
            (
                name,
                if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad)?) },
            )
        } else {
            match text.split_once(':') {
                Some((name, port)) if !port.contains(':') => (name, Some(port)),
                _ => (text, None),
            }
        };
        let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            None => SSH_PORT,
            Some(port) => Some(port)
                .filter(|port| digits(port))
                .and_then(|port| port.parse().ok())
                .ok_or_else(bad)?,
        };
        Host::new(name, port).map_err(|_| bad())
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Host, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for (text, name, port) in [
            ("a", "a", 22),
            ("A.b:22", "a.b", 22),
            ("[a.b]:2222", "a.b", 2222),
            ("::1", "::1", 22),
            ("[::1]", "::1", 22),
            ("[fe80::1%eth0]:23", "fe80::1%eth0", 23),
            ("192.0.2.1:23", "192.0.2.1", 23),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!((host.name(), host.port()), (name, port));
            assert_eq!(host.to_string().parse(), Ok(host));
        }
    }

    #[test]
    fn what_means_something_in_known_hosts_is_no_name() {
        for text in [
            "", ":22", "a b", "a,b", "*", "a?", "!a", "|1|x", "a:", "a:0", "a:65536", "a:+1", "[a",
            "[a]b", "a\nb", "-a", "ä", "@a", "#a",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }
}
