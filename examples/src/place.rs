//! Where a tree is, and how it is reached.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::num::NonZeroU16;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread;

use clap::Args;
use mirror_core::{
    AGENT_COMMAND, Destination, Endpoint, Error, Limits, LinkError, LocalTree, RemoteOptions,
    RemoteTree, Traffic, Transport, ssh_program,
};

/// A path on this machine, or `ssh://[user@]host[:port]/path` on another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Here(PathBuf),
    /// Behind an agent. An empty path is the agent's own root.
    There(Destination, PathBuf),
}

impl Place {
    /// Reads an argument.
    ///
    /// # Errors
    /// A sentence on what is wrong with an `ssh://` address, or on what looks like another machine
    /// and would be a folder here.
    pub fn parse(text: &OsStr) -> Result<Place, String> {
        let Some(rest) = text.as_bytes().strip_prefix(b"ssh://") else {
            return here(text);
        };
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority = std::str::from_utf8(authority)
            .map_err(|_| "the host's name is not UTF-8".to_owned())?;
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err("a password does not belong in an address; use a key".to_owned());
        }
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("a \"]\" is missing")?;
                (host, port.strip_prefix(':').or((!port.is_empty()).then_some("?")))
            }
            None => match host.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return Err("an address with colons goes into brackets, as in \
                                ssh://[2001:db8::1]/srv/www"
                        .to_owned());
                }
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            },
        };
        let port = port.map(NonZeroU16::from_str).transpose();
        let port = port.map_err(|_| "a port is a number from 1 to 65535".to_owned())?;
        let to = Destination::new(host, user, port.map(NonZeroU16::get)).map_err(|error| {
            // Nothing was tried that could have failed.
            if let LinkError::Unreachable(why) = error { why } else { error.to_string() }
        })?;
        if path.starts_with(b"/~") {
            return Err("\"~\" is not looked up on another machine: write the whole path of the \
                        folder (one that is really called so is /./~…)"
                .to_owned());
        }
        Ok(Place::There(to, OsString::from_vec(path.to_vec()).into()))
    }
}

/// A path on this machine. What other programs would take for another machine is refused, since a
/// copy that is believed to be elsewhere is worse than none.
fn here(text: &OsStr) -> Result<Place, String> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Err("a path is missing".to_owned());
    }
    let first = bytes.split(|&byte| byte == b'/').next().unwrap_or_default();
    let Some(colon) = first.iter().position(|&byte| byte == b':') else {
        return Ok(Place::Here(text.into()));
    };
    let (name, rest) = (&bytes[..colon], &bytes[colon + 1..]);
    let shown = String::from_utf8_lossy(bytes);
    let meant = match rest.strip_prefix(b"//") {
        Some(_) if name.eq_ignore_ascii_case(b"sftp") => {
            "sftp:// is not spoken yet: the other machine needs mirror-agent, and its address \
             begins with ssh://"
                .to_owned()
        }
        Some(_) => "another machine's address begins with ssh://".to_owned(),
        None => "a folder on another machine is written ssh://[USER@]HOST[:PORT]/PATH".to_owned(),
    };
    let here = format!("./{shown}");
    Err(format!("{shown:?} looks like another machine; {meant}; a folder here is {here:?}"))
}

/// How trees on other machines are reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Trees on other machines")]
pub struct Reach {
    #[cfg(feature = "ssh")]
    /// A private key to log in with [default: the SSH agent's, and those in ~/.ssh].
    #[arg(long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
    #[cfg(feature = "ssh")]
    /// A file that holds the passphrase of the keys.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    #[cfg(feature = "ssh")]
    /// A file that holds the password to log in with, where a server takes no key.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    #[cfg(feature = "ssh")]
    /// The hosts that are known [default: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts].
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Vec<PathBuf>,
    #[cfg(feature = "ssh")]
    /// A host key that is right, as SHA256:… or a public key; known_hosts is not asked then.
    #[arg(long, value_name = "KEY")]
    pub pin: Vec<mirror_core::Pin>,
    /// What runs on the other machine.
    #[arg(long, value_name = "CMD", default_value = AGENT_COMMAND)]
    pub agent_command: String,
    /// Reach it through this program, such as 'ssh -J bastion', instead of the built-in SSH.
    #[arg(long, value_name = "CMD")]
    pub ssh_command: Option<String>,
    /// Reach it by so many connections at once. More than one helps where the way is long and wide:
    /// what one carries ends at about 20 MB/s at a round trip of 100 ms.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub connections: u8,
    /// Let a folder on another machine have at most so many entries. One after the other they are
    /// kept in memory, so that a hostile machine could use it up.
    #[arg(long, value_name = "N", default_value_t = Limits::default().directory_entries)]
    pub max_folder_entries: u32,
    /// Send and receive at most this many bytes a second; k, M and G are powers of 1024.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub bwlimit: Option<u64>,
}

/// The lowest rate: below it a single message takes minutes.
const RATE_MIN: u64 = 1 << 10;

/// A number of bytes with an optional k, M or G.
fn rate(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let rate = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match rate {
        Some(rate) if rate >= RATE_MIN => Ok(rate),
        Some(_) => Err("less than 1k a second would never end".to_owned()),
        None => Err("a rate is a number such as 500k or 2M".to_owned()),
    }
}

/// A tree that was reached.
#[derive(Debug)]
pub enum Tree {
    /// On this machine.
    Here(LocalTree),
    /// Behind an agent.
    There(Arc<RemoteTree>),
}

impl Tree {
    /// The tree as the engine knows it.
    pub fn endpoint(&self) -> &dyn Endpoint {
        match self {
            Tree::Here(tree) => tree,
            Tree::There(tree) => &**tree,
        }
    }

    /// What goes over the wire for it, if anything does.
    pub fn traffic(&self) -> Option<Arc<Traffic>> {
        match self {
            Tree::Here(_) => None,
            Tree::There(tree) => Some(tree.traffic()),
        }
    }

    /// Bytes of contents that went over the wire as they are.
    pub fn bytes_literal(&self) -> u64 {
        match self {
            Tree::Here(_) => 0,
            Tree::There(tree) => tree.bytes_literal(),
        }
    }
}

impl Reach {
    /// As when nothing is said on the command line.
    pub fn usual() -> Reach {
        Reach {
            #[cfg(feature = "ssh")]
            identity: Vec::new(),
            #[cfg(feature = "ssh")]
            passphrase_file: None,
            #[cfg(feature = "ssh")]
            password_file: None,
            #[cfg(feature = "ssh")]
            known_hosts: Vec::new(),
            #[cfg(feature = "ssh")]
            pin: Vec::new(),
            agent_command: AGENT_COMMAND.to_owned(),
            ssh_command: None,
            connections: 1,
            max_folder_entries: Limits::default().directory_entries,
            bwlimit: None,
        }
    }

    /// Opens a tree that must exist.
    ///
    /// # Errors
    /// Those of opening or reaching it.
    pub fn source(&self, place: &Place) -> Result<Tree, Error> {
        match place {
            Place::Here(path) => LocalTree::open(path).map(Tree::Here),
            Place::There(to, path) => self.enter(to, path, false),
        }
    }

    /// Opens a tree that is made when something is written to it.
    ///
    /// # Errors
    /// Those of opening or reaching it.
    pub fn target(&self, place: &Place) -> Result<Tree, Error> {
        match place {
            Place::Here(path) => LocalTree::open_or_create(path).map(Tree::Here),
            Place::There(to, path) => self.enter(to, path, true),
        }
    }

    fn enter(&self, to: &Destination, path: &Path, may_be_missing: bool) -> Result<Tree, Error> {
        let failed = |source| Error::Link { peer: to.to_string(), source };
        let limits = Limits { directory_entries: self.max_folder_entries, ..Limits::default() };
        let options =
            RemoteOptions::default().path(path).may_be_missing(may_be_missing).limits(limits);
        let tree = RemoteTree::connect(self.carry(to).map_err(failed)?, to.to_string(), &options)?;
        let tree = Arc::new(tree);
        for _ in 1..self.connections {
            // Meanwhile the trees are compared.
            let (reach, to, tree) = (self.clone(), to.clone(), Arc::downgrade(&tree));
            thread::spawn(move || {
                let failed = |source| Error::Link { peer: to.to_string(), source };
                let joined = reach.carry(&to).map_err(failed).and_then(|transport| {
                    // The run may be over by now.
                    tree.upgrade().map_or(Ok(()), |tree| tree.join(transport))
                });
                if let Err(error) = joined {
                    // `eprintln!` would panic where there is nobody to read it.
                    let note = format!("mirror: going on with fewer connections: {error}\n");
                    let _ = std::io::stderr().write_all(note.as_bytes());
                }
            });
        }
        Ok(Tree::There(tree))
    }

    /// A connection to what runs on the other machine.
    fn carry(&self, to: &Destination) -> Result<Transport, LinkError> {
        let transport = match &self.ssh_command {
            Some(program) => ssh_program(program, to, &self.agent_command)?,
            None => self.connect(to)?,
        };
        Ok(match self.bwlimit {
            Some(rate) => transport.limited(rate.div_ceil(self.connections.into())),
            None => transport,
        })
    }

    #[cfg(not(feature = "ssh"))]
    fn connect(&self, _: &Destination) -> Result<Transport, LinkError> {
        let why = "this program was built without SSH; name a program with --ssh-command";
        Err(LinkError::Unready(why.to_owned()))
    }

    #[cfg(feature = "ssh")]
    fn connect(&self, to: &Destination) -> Result<Transport, LinkError> {
        use mirror_core::{Login, SshOptions, ssh};
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let in_home = |name: &str| home.as_ref().map(|home| home.join(".ssh").join(name));
        let mut known = self.known_hosts.clone();
        if known.is_empty() {
            known.extend(in_home("known_hosts"));
            known.push("/etc/ssh/ssh_known_hosts".into());
        }
        let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        let keys = crate::host_keys::host_keys(&self.pin, &known, self.known_hosts.is_empty())?;
        let mut options =
            SshOptions::new(to.clone(), user.unwrap_or_else(|| "root".to_owned()), keys)
                .agent_command(&self.agent_command);
        let passphrase = self.passphrase_file.as_deref().map(secret).transpose()?;
        let mut identities = Vec::new();
        for file in &self.identity {
            identities.push(key(file)?);
        }
        if identities.is_empty() {
            if std::env::var_os("SSH_AUTH_SOCK").is_some() {
                options = options.login(Login::Agent);
            }
            let usual = ["id_ed25519", "id_ecdsa", "id_rsa"].into_iter().filter_map(in_home);
            identities.extend(usual.filter_map(|file| key(&file).ok()));
        }
        for key in identities {
            options = options.login(Login::Key { key, passphrase: passphrase.clone() });
        }
        if let Some(file) = &self.password_file {
            options = options.login(Login::Password(secret(file)?));
        }
        ssh(&options)
    }
}

/// Reads a private key from a file.
#[cfg(feature = "ssh")]
fn key(file: &Path) -> Result<mirror_core::Secret, LinkError> {
    let (is_private, key) = read(file)?;
    if is_private {
        return Ok(key);
    }
    let why = "holds no private key; name the one that belongs to it, whose name has no \".pub\"";
    Err(LinkError::Unready(format!("{file:?} {why}")))
}

/// Reads a secret from a file, without the end of its last line.
#[cfg(feature = "ssh")]
fn secret(file: &Path) -> Result<mirror_core::Secret, LinkError> {
    read(file).map(|(_, secret)| secret)
}

/// Reads a secret from a file, without the end of its last line if it is no private key, and
/// says whether it is one.
#[cfg(feature = "ssh")]
fn read(file: &Path) -> Result<(bool, mirror_core::Secret), LinkError> {
    /// No key is near this.
    const MOST: u64 = 64 << 10;
    let failed = |why: String| LinkError::Unready(format!("cannot read {file:?}: {why}"));
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|file| {
            std::io::Read::read_to_string(&mut std::io::Read::take(file, MOST), &mut text)
        })
        .map_err(|error| failed(error.to_string()))?;
    let is_key = text.contains("PRIVATE KEY");
    let end = if is_key { text.len() } else { text.trim_end_matches(['\r', '\n']).len() };
    text.truncate(end);
    Ok((is_key, mirror_core::Secret::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(text: &str) -> Result<(String, String), String> {
        match Place::parse(text.as_ref())? {
            Place::Here(_) => Err("here".to_owned()),
            Place::There(to, path) => Ok((to.to_string(), path.display().to_string())),
        }
    }

    #[test]
    fn an_address_names_user_host_port_and_path() {
        let is = |text: &str, host: &str, path: &str| {
            assert_eq!(there(text), Ok((host.to_owned(), path.to_owned())), "{text}");
        };
        is("ssh://u@h:2222/a/b", "ssh://u@h:2222", "/a/b");
        is("ssh://h", "ssh://h", "");
        is("ssh://h/", "ssh://h", "/");
        is("ssh://[::1]:22/x", "ssh://[::1]:22", "/x");
        is("ssh://h/./~/x", "ssh://h", "/./~/x");
        for wrong in [
            "ssh://",
            "ssh:///x",
            "ssh://-oX/x",
            "ssh://u:p@h/",
            "ssh://h:0x/",
            "ssh://h:0/",
            "ssh://h:99999/",
            "ssh://::1/x",
            "ssh://::1:22/x",
            "ssh://@h/x",
            "ssh://h/~/x",
            "ssh://h/~u",
        ] {
            assert!(there(wrong).is_err_and(|why| why != "here"), "{wrong}");
        }
    }

    #[test]
    fn what_looks_like_another_machine_is_no_folder_here() {
        let parse = |text: &str| Place::parse(text.as_ref());
        for path in ["a/ssh://x", "./host:/x", "/host:/x", "../a:b", "a/b:c", "a", "."] {
            assert_eq!(parse(path), Ok(Place::Here(path.into())));
        }
        for wrong in
            ["host:/srv/www", "u@host:x", "host::module/x", "a:b", "SSH://h/x", "rsync://h/x"]
        {
            let why = parse(wrong).unwrap_err();
            assert!(why.contains("ssh://") && why.contains(&format!("./{wrong}")), "{why}");
        }
        assert!(parse("sftp://h/x").unwrap_err().contains("not spoken yet"));
    }

    #[test]
    fn a_rate_has_a_unit_or_none() {
        assert_eq!((rate("1024"), rate("2k"), rate("3M")), (Ok(1024), Ok(2048), Ok(3 << 20)));
        for wrong in ["", "k", "5", "1023", "0", "-1", "1.5M", "99999999999999G"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
