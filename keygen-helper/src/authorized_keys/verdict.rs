//! Would sshd let somebody in?

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::AuthorizedKeys;
use super::entry::{Content, Entry, Fault};
use super::options::{OptionError, Options};
use crate::bytes::Bytes;
use crate::pattern::match_from;
use crate::public_key::PublicKey;
use crate::time::Timestamp;

/// The shortest RSA key that sshd reads at all (`SSH_RSA_MINIMUM_MODULUS_SIZE`).
const MIN_RSA_BITS: u32 = 1024;

/// A login to judge: who shows what, from where and when.
///
/// What the file cannot know is not judged: whether the account is locked, which algorithms the
/// server takes, what its configuration says.
#[derive(Debug, Clone)]
pub struct Login<'a> {
    /// What the client proves to hold.
    pub credential: Credential<'a>,
    /// Where the client connects from.
    pub address: IpAddr,
    /// The name of that address, or the address as text where sshd looks no names up
    /// (`UseDNS no`, the default).
    pub host: Bytes,
    /// The time on the server.
    pub now: Timestamp,
    /// How many seconds the server's clocks on the wall are ahead of UTC, for `expiry-time=`
    /// without `Z`.
    pub utc_offset: i32,
    /// Names of TCP services in the server's `/etc/services`, for `permitopen=` with such a name.
    pub services: BTreeSet<Bytes>,
}

/// What a client proves to hold.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Credential<'a> {
    /// A key.
    Key(&'a PublicKey),
    /// A certificate, whose own validity is judged elsewhere.
    Certificate {
        /// The key that signed it.
        authority: &'a PublicKey,
        /// The names it is for. None at all: any.
        principals: &'a [Bytes],
        /// The account to log in to.
        user: &'a [u8],
    },
}

impl<'a> Login<'a> {
    /// A login with a key from `address`, whose name is not looked up, with the server's clocks
    /// on UTC.
    pub fn with_key(key: &'a PublicKey, address: IpAddr, now: Timestamp) -> Login<'a> {
        Login {
            credential: Credential::Key(key),
            address,
            host: address.to_string().as_str().into(),
            now,
            utc_offset: 0,
            services: BTreeSet::new(),
        }
    }
}

/// What sshd makes of one line when somebody logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The line lets the login in, and these options hold for it.
    Accepted(Options),
    /// The line has nothing to do with the login: blank, a comment, another key.
    Other,
    /// The line holds no key that sshd could read.
    Unusable(Fault),
    /// The key is the right one, and the line refuses it. Later lines may still let it in.
    Refused(Refusal),
}

/// Why a line refuses the key it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its options are bad.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// The key is too short for any sshd.
    #[error("the RSA key has {0} bits, and sshd takes none below {MIN_RSA_BITS}")]
    TooShort(u32),
    /// `expiry-time` has passed.
    #[error("the key has expired on {0}")]
    Expired(Timestamp),
    /// `from` does not name where the client comes from.
    #[error("from={0} does not let this address in")]
    From(Bytes),
    /// `from` is not a list that sshd understands.
    #[error("from={0} is not a list that sshd understands, so nobody is let in")]
    BadFrom(Bytes),
    /// `principals` without `cert-authority`.
    #[error("principals= is only for lines with cert-authority, so nobody is let in")]
    Principals,
    /// The line is for certificates, and a key was shown, or the reverse.
    #[error("cert-authority is for certificates that this key signed, not for the key itself")]
    Authority,
    /// The line has no `cert-authority`, so the key signs nothing.
    #[error("the line has no cert-authority, so certificates by this key are not let in")]
    NoAuthority,
    /// The certificate is for other names.
    #[error("the certificate is not for any name that the line lets in")]
    Principal,
    /// A port's name is not among the server's services.
    #[error("the server has no service {0}, so the line is ignored")]
    Service(Bytes),
}

impl AuthorizedKeys {
    /// The number of the first line that lets the login in, counted from 1, and its options. A
    /// line that refuses the key does not stop the search.
    pub fn accepts(&self, login: &Login<'_>) -> Option<(usize, Options)> {
        self.contents().enumerate().find_map(|(index, content)| match judge(&content, login) {
            Verdict::Accepted(options) => Some((index + 1, options)),
            _ => None,
        })
    }

    /// What each line is worth to a login, from the first to the last.
    pub fn verdicts(&self, login: &Login<'_>) -> Vec<Verdict> {
        self.contents().map(|content| judge(&content, login)).collect()
    }
}

fn judge(content: &Content<'_>, login: &Login<'_>) -> Verdict {
    let entry = match content {
        Content::Blank | Content::Comment => return Verdict::Other,
        Content::Unusable(fault) => return Verdict::Unusable(fault.clone()),
        Content::Entry(entry) => entry,
    };
    let shown = match login.credential {
        Credential::Key(key) => key,
        Credential::Certificate { authority, .. } => authority,
    };
    // A certificate in the file stands for no key (`sshkey_equal`).
    if entry.key.is_certificate() || !entry.key.same_key(shown) {
        return Verdict::Other;
    }
    match refusal(entry, login) {
        Ok(options) => Verdict::Accepted(options),
        Err(refusal) => Verdict::Refused(refusal),
    }
}

fn refusal(entry: &Entry<'_>, login: &Login<'_>) -> Result<Options, Refusal> {
    if entry.key.algorithm() == "ssh-rsa" {
        let bits = entry.key.bits().unwrap_or(0);
        (bits >= MIN_RSA_BITS).then_some(()).ok_or(Refusal::TooShort(bits))?;
    }
    let options = entry.options.clone()?;
    let unknown = options.services().find(|name| !login.services.contains(&Bytes::from(*name)));
    if let Some(name) = unknown {
        return Err(Refusal::Service(name.into()));
    }
    match (login.credential, options.is_cert_authority()) {
        (Credential::Key(_), true) => return Err(Refusal::Authority),
        (Credential::Certificate { .. }, false) => return Err(Refusal::NoAuthority),
        _ => {}
    }
    if let Some(expiry) = options.expiry(login.utc_offset)
        && expiry < login.now
    {
        return Err(Refusal::Expired(expiry));
    }
    if options.principals().is_some() && !options.is_cert_authority() {
        return Err(Refusal::Principals);
    }
    if let Some(list) = options.from() {
        match match_from(login.address, login.host.as_bytes(), list) {
            None => return Err(Refusal::BadFrom(list.into())),
            Some(false) => return Err(Refusal::From(list.into())),
            Some(true) => {}
        }
    }
    if let Credential::Certificate { principals, user, .. } = login.credential
        && !fits(&options, principals, user)
    {
        return Err(Refusal::Principal);
    }
    Ok(options)
}

/// Whether a certificate is for a name that the line lets in. Without `principals=`, one that
/// names nobody is for everybody (`sshkey_cert_check_authority`).
fn fits(options: &Options, principals: &[Bytes], user: &[u8]) -> bool {
    match options.principals() {
        Some(list) => {
            let named =
                |name: &Bytes| list.split(|&byte| byte == b',').any(|item| item == name.as_bytes());
            principals.iter().any(named)
        }
        None => principals.is_empty() || principals.iter().any(|name| name.as_bytes() == user),
    }
}
