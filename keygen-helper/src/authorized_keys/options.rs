//! The options in front of a key (sshd(8), AUTHORIZED_KEYS FILE FORMAT), read as sshd reads them.

mod write;

use std::collections::BTreeSet;

use super::scan::{Scanner, c_integer, is_environment_name, permission_port, word};
use crate::bytes::Bytes;
use crate::time::{Timestamp, WallTime};

/// What sshd keeps at most of `environment=` (`SSH_AUTHOPT_ENV_MAX`), and of `permitopen=` and
/// `permitlisten=` each (`SSH_AUTHOPT_PERMIT_MAX`).
const MAX_ENVIRONMENT: usize = 1024;
const MAX_PERMISSIONS: usize = 4096;

/// What the options of a line come to. Two lines whose options are equal here let the same logins
/// do the same things, however they are written.
///
/// ```
/// use keygen_helper::{Options, Timestamp};
///
/// let options = Options::parse(br#"restrict,command="rsync --server",pty"#)?;
/// assert!(options.is_restricted() && options.permits_pty() && !options.permits_user_rc());
/// assert_eq!(options.command(), Some(&b"rsync --server"[..]));
///
/// let ours = Options::restricted().with_from(b"192.0.2.0/24")?.with_expiry(Timestamp(1_800_000_000));
/// assert_eq!(ours.to_string(), r#"restrict,from="192.0.2.0/24",expiry-time="20270115080000Z""#);
/// # Ok::<(), keygen_helper::OptionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    restricted: bool,
    cert_authority: bool,
    /// What is taken away, so that nothing is by default.
    denied: BTreeSet<Permission>,
    touch_not_required: bool,
    verify_required: bool,
    command: Option<Bytes>,
    principals: Option<Bytes>,
    from: Option<Bytes>,
    /// All of them: the earliest counts, and local times compare with others only on the server.
    expiry: BTreeSet<WallTime>,
    environment: Vec<Bytes>,
    permit_open: Vec<Bytes>,
    permit_listen: Vec<Bytes>,
    tunnel: Option<Tunnel>,
    /// Names instead of numbers of ports; sshd looks them up.
    services: BTreeSet<Bytes>,
}

/// What `restrict` and the options that start with `no-` take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Permission {
    PortForwarding,
    AgentForwarding,
    X11Forwarding,
    Pty,
    UserRc,
}

/// In the order in which sshd tries the names.
const PERMISSIONS: [(&str, Permission); 5] = [
    ("port-forwarding", Permission::PortForwarding),
    ("agent-forwarding", Permission::AgentForwarding),
    ("x11-forwarding", Permission::X11Forwarding),
    ("pty", Permission::Pty),
    ("user-rc", Permission::UserRc),
];

/// The number of a tunnel device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tunnel {
    Any,
    Number(u32),
}

/// Why sshd refuses the options of a line, and with them the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No option has this name.
    #[error("there is no option {0}, so sshd ignores the whole line")]
    Unknown(Bytes),
    /// A value is not in double quotes.
    #[error("the value of {0} is not in double quotes, so sshd ignores the whole line")]
    Unquoted(&'static str),
    /// A value has no closing quote.
    #[error("the value of {0} has no closing quote, so sshd ignores the whole line")]
    OpenQuote(&'static str),
    /// An option that may be given once is there twice.
    #[error("{0} is given twice, so sshd ignores the whole line")]
    Repeated(&'static str),
    /// A value is not one that the option takes.
    #[error("{option} does not take the value {value}, so sshd ignores the whole line")]
    BadValue {
        /// The option's name.
        option: &'static str,
        /// The value.
        value: Bytes,
    },
    /// More of one option than sshd keeps.
    #[error("there are more {0} options than sshd takes, so it ignores the whole line")]
    TooMany(&'static str),
    /// A comma with nothing behind it.
    #[error("the options end in a comma")]
    EndInComma,
    /// A value that cannot be written down.
    #[error(
        "the value of {0} cannot be written in authorized_keys: line ends and NUL have no place there, nor has a backslash at the end of a value"
    )]
    Unwritable(&'static str),
}

impl Options {
    /// No option at all: everything is permitted.
    pub fn none() -> Options {
        Options::default()
    }

    /// `restrict`: a login, and nothing that could be taken away.
    pub fn restricted() -> Options {
        Options {
            restricted: true,
            denied: PERMISSIONS.iter().map(|(_, permission)| *permission).collect(),
            ..Options::default()
        }
    }

    /// Reads the options of a line, without the key.
    ///
    /// # Errors
    /// [`OptionError`] says why sshd would refuse them.
    pub fn parse(text: &[u8]) -> Result<Options, OptionError> {
        if text.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err(OptionError::Unwritable("an option"));
        }
        if text.ends_with(b",") {
            return Err(OptionError::EndInComma);
        }
        let mut scanner = Scanner::new(text);
        let options = Options::scan(&mut scanner)?;
        match scanner.rest() {
            [] => Ok(options),
            rest => Err(OptionError::Unknown(rest.into())),
        }
    }

    /// Reads options up to a blank or the end of a line (`sshauthopt_parse`). A comma before the
    /// blank, or two in a row, are let pass there.
    pub(super) fn scan(scanner: &mut Scanner<'_>) -> Result<Options, OptionError> {
        let mut options = Options::default();
        while !scanner.at_end() {
            let start = scanner.rest();
            options.scan_one(scanner)?;
            if scanner.at_end() {
                break;
            }
            if !scanner.skip_comma() {
                return Err(OptionError::Unknown(word(start).into()));
            }
        }
        Ok(options)
    }

    /// Reads one option; where there is none that sshd knows, nothing is read.
    fn scan_one(&mut self, scanner: &mut Scanner<'_>) -> Result<(), OptionError> {
        if scanner.flag("restrict") {
            let Options { restricted, denied, .. } = Options::restricted();
            (self.restricted, self.denied) = (restricted, denied);
        } else if scanner.flag("cert-authority") {
            self.cert_authority = true;
        } else if let Some((permission, on)) = PERMISSIONS
            .iter()
            .find_map(|(name, permission)| Some((*permission, scanner.switch(name)?)))
        {
            match on {
                true => self.denied.remove(&permission),
                false => self.denied.insert(permission),
            };
        } else if let Some(on) = scanner.switch("touch-required") {
            self.touch_not_required = !on;
        } else if let Some(on) = scanner.switch("verify-required") {
            self.verify_required = on;
        } else if let Some(value) = scanner.value("command")? {
            once(&mut self.command, "command", value)?;
        } else if let Some(value) = scanner.value("principals")? {
            once(&mut self.principals, "principals", value)?;
        } else if let Some(value) = scanner.value("from")? {
            once(&mut self.from, "from", value)?;
        } else if let Some(value) = scanner.value("expiry-time")? {
            let time = WallTime::parse(&value);
            self.expiry.insert(time.ok_or_else(|| bad_value("expiry-time", &value))?);
        } else if let Some(value) = scanner.value("environment")? {
            self.add_environment(value)?;
        } else if let Some(value) = scanner.value("permitopen")? {
            self.add_permission("permitopen", value)?;
        } else if let Some(value) = scanner.value("permitlisten")? {
            self.add_permission("permitlisten", value)?;
        } else if let Some(value) = scanner.value("tunnel")? {
            let tunnel = Tunnel::parse(&value);
            self.tunnel = Some(tunnel.ok_or_else(|| bad_value("tunnel", &value))?);
        }
        Ok(())
    }

    fn add_environment(&mut self, value: Vec<u8>) -> Result<(), OptionError> {
        if self.environment.len() > MAX_ENVIRONMENT {
            return Err(OptionError::TooMany("environment"));
        }
        let name = value.iter().position(|&byte| byte == b'=').map(|at| &value[..=at]);
        let name = name.filter(|name| is_environment_name(&name[..name.len() - 1]));
        let name = name.ok_or_else(|| bad_value("environment", &value))?;
        // The first value of a name wins.
        if !self.environment.iter().any(|known| known.as_bytes().starts_with(name)) {
            self.environment.push(value.into());
        }
        Ok(())
    }

    fn add_permission(&mut self, option: &'static str, value: Vec<u8>) -> Result<(), OptionError> {
        let list = match option {
            "permitopen" => &mut self.permit_open,
            _ => &mut self.permit_listen,
        };
        if list.len() > MAX_PERMISSIONS {
            return Err(OptionError::TooMany(option));
        }
        let bare = option == "permitlisten" && !value.contains(&b':');
        let full = if bare { [b"*:", &*value].concat() } else { value };
        match permission_port(&full) {
            None => return Err(bad_value(option, &full)),
            Some(port) => self.services.extend(port.service.map(Bytes::from)),
        }
        list.push(full.into());
        Ok(())
    }
}

fn once(slot: &mut Option<Bytes>, option: &'static str, value: Vec<u8>) -> Result<(), OptionError> {
    match slot.replace(value.into()) {
        None => Ok(()),
        Some(_) => Err(OptionError::Repeated(option)),
    }
}

fn bad_value(option: &'static str, value: &[u8]) -> OptionError {
    OptionError::BadValue { option, value: value.into() }
}

impl Tunnel {
    /// `any`, or a number up to the largest that sshd takes (`SSH_TUNID_MAX`).
    fn parse(value: &[u8]) -> Option<Tunnel> {
        if value.eq_ignore_ascii_case(b"any") {
            return Some(Tunnel::Any);
        }
        c_integer(value, 0..=0x7fff_fffd)
            .map(|number| Tunnel::Number(u32::try_from(number).expect("checked to be in range")))
    }
}

/// What the options say.
impl Options {
    /// Whether `restrict` is among them.
    pub fn is_restricted(&self) -> bool {
        self.restricted
    }

    /// Whether the key signs certificates, rather than logging in itself.
    pub fn is_cert_authority(&self) -> bool {
        self.cert_authority
    }

    /// Whether a terminal may be had.
    pub fn permits_pty(&self) -> bool {
        !self.denied.contains(&Permission::Pty)
    }

    /// Whether ports may be forwarded.
    pub fn permits_port_forwarding(&self) -> bool {
        !self.denied.contains(&Permission::PortForwarding)
    }

    /// Whether an agent may be forwarded.
    pub fn permits_agent_forwarding(&self) -> bool {
        !self.denied.contains(&Permission::AgentForwarding)
    }

    /// Whether X11 may be forwarded.
    pub fn permits_x11_forwarding(&self) -> bool {
        !self.denied.contains(&Permission::X11Forwarding)
    }

    /// Whether `~/.ssh/rc` is run.
    pub fn permits_user_rc(&self) -> bool {
        !self.denied.contains(&Permission::UserRc)
    }

    /// The only command that this key may run.
    pub fn command(&self) -> Option<&[u8]> {
        self.command.as_ref().map(Bytes::as_bytes)
    }

    /// The list of addresses and names that logins may come from.
    pub fn from(&self) -> Option<&[u8]> {
        self.from.as_ref().map(Bytes::as_bytes)
    }

    /// The names that certificates of this authority may be for, instead of the user's.
    pub fn principals(&self) -> Option<&[u8]> {
        self.principals.as_ref().map(Bytes::as_bytes)
    }

    /// When the key expires, where local clocks are `offset` seconds ahead of UTC.
    pub fn expiry(&self, offset: i32) -> Option<Timestamp> {
        self.expiry.iter().map(|time| time.at_offset(offset)).min()
    }

    /// Names of ports that sshd has to find in its `/etc/services`, or else refuses the line.
    pub fn services(&self) -> impl Iterator<Item = &[u8]> {
        self.services.iter().map(Bytes::as_bytes)
    }
}
