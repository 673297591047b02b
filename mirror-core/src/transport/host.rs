//! Where an agent is.

use std::fmt;

use crate::path::acts_on_a_terminal;
use crate::wire::LinkError;

/// What runs on the far side unless something else is asked for. Nothing of a tree or a name is
/// ever put into a command line: those travel inside of the protocol.
pub const AGENT_COMMAND: &str = "mirror-agent --root /";

/// A host, an account on it, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Destination {
    /// Takes a host's name or address. Without a user or a port it is for the transport to say
    /// which.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`] for what is no host or user: above all what begins with `-`,
    /// which a program would take for an option.
    pub fn new(
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
    ) -> Result<Destination, LinkError> {
        let unfit = |text: &str| {
            text.is_empty()
                || text.starts_with('-')
                || text.contains(|c: char| c.is_whitespace() || acts_on_a_terminal(c))
        };
        if unfit(host) || host.contains(['/', '@']) {
            return Err(LinkError::Unreachable(format!("{host:?} is no name of a host")));
        }
        if let Some(user) = user.filter(|user| unfit(user)) {
            return Err(LinkError::Unreachable(format!("{user:?} is no name of a user")));
        }
        let user = user.map(str::to_owned);
        Ok(Destination { user, host: host.to_owned(), port })
    }

    /// The host's name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if it is not the usual one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// `ssh://user@host:port`, as messages name it.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let v6 = self.host.contains(':');
        let (open, close) = if v6 { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s27_what_a_program_would_take_for_an_option_is_no_host() {
        for host in ["-oProxyCommand=x", "", "a b", "a\nb", "a/b", "u@h", "\u{202e}x"] {
            assert!(Destination::new(host, None, None).is_err(), "{host:?}");
        }
        assert!(Destination::new("host", Some("-l"), None).is_err());
        let there = Destination::new("::1", Some("u"), Some(22)).unwrap();
        assert_eq!(there.to_string(), "ssh://u@[::1]:22");
    }
}
