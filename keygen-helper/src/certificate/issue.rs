//! What a certificate is to say, and the authority's signature under it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::error::CertificateError;
use super::{Certificate, CertificateKind, MAX_PRINCIPALS, Validity};
use crate::key::{KeyPair, Strength};
use crate::public_key::PublicKey;
use crate::randomness::Randomness;
use crate::wire::{Reader, put_string};

/// What a certificate is to say. For a user it allows a terminal and nothing else unless asked for;
/// ssh-keygen would also allow forwarding and `~/.ssh/rc`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a warrant is worth nothing until it is issued"]
pub struct Warrant {
    kind: CertificateKind,
    serial: u64,
    key_id: String,
    principals: Vec<String>,
    validity: Validity,
    critical_options: BTreeMap<String, String>,
    extensions: BTreeMap<String, String>,
}

impl Warrant {
    /// For someone who logs in. The key id is what sshd logs.
    pub fn user(key_id: &str, validity: Validity) -> Warrant {
        let mut warrant = Warrant::new(CertificateKind::User, key_id, validity);
        warrant.extensions.insert("permit-pty".into(), String::new());
        warrant
    }

    /// For a host.
    pub fn host(key_id: &str, validity: Validity) -> Warrant {
        Warrant::new(CertificateKind::Host, key_id, validity)
    }

    fn new(kind: CertificateKind, key_id: &str, validity: Validity) -> Warrant {
        Warrant {
            kind,
            serial: 0,
            key_id: key_id.to_owned(),
            principals: Vec::new(),
            validity,
            critical_options: BTreeMap::new(),
            extensions: BTreeMap::new(),
        }
    }

    /// With a number by which it can be revoked.
    pub fn serial(self, serial: u64) -> Warrant {
        Warrant { serial, ..self }
    }

    /// Good for one name more: an account, or a host as its users write it.
    pub fn principal(mut self, name: &str) -> Warrant {
        self.principals.push(name.to_owned());
        self
    }

    /// Runs this command whatever is asked for.
    pub fn force_command(mut self, command: &str) -> Warrant {
        self.critical_options.insert("force-command".into(), command.to_owned());
        self
    }

    /// Good only from these addresses, as `192.0.2.0/24,2001:db8::1`.
    pub fn source_address(mut self, list: &str) -> Warrant {
        self.critical_options.insert("source-address".into(), list.to_owned());
        self
    }

    /// Good only when a security key has checked who uses it.
    pub fn verify_required(mut self) -> Warrant {
        self.critical_options.insert("verify-required".into(), String::new());
        self
    }

    /// Allows something more: `permit-port-forwarding`, `permit-agent-forwarding`,
    /// `permit-X11-forwarding`, `permit-user-rc`, or what another program knows.
    pub fn extension(mut self, name: &str) -> Warrant {
        self.extensions.insert(name.to_owned(), String::new());
        self
    }

    /// Does not allow a terminal either.
    pub fn without_pty(mut self) -> Warrant {
        self.extensions.remove("permit-pty");
        self
    }

    /// Says it of `subject` and signs it.
    ///
    /// # Errors
    /// [`CertificateError`] names what a certificate cannot say; weak keys get none, and weak
    /// authorities sign none.
    pub fn issue(
        &self,
        subject: &PublicKey,
        authority: &KeyPair,
        randomness: &mut dyn Randomness,
    ) -> Result<Certificate, CertificateError> {
        self.check()?;
        let (subject, signer) = (subject.plain(), authority.public_key());
        for key in [&subject, &signer] {
            if let Strength::Weak(why) = key.strength() {
                return Err(CertificateError::Weak(why));
            }
        }
        let no_such_kind = || CertificateError::NoSuchKind(subject.algorithm().to_owned());
        let algorithm = subject.certificate_algorithm().ok_or_else(no_such_kind)?;
        let mut nonce = [0; 32];
        randomness.fill(&mut nonce)?;
        let mut blob = Vec::new();
        put_string(&mut blob, algorithm.as_bytes());
        put_string(&mut blob, &nonce);
        let mut fields = Reader::new(subject.blob());
        fields.string().ok_or_else(no_such_kind)?;
        blob.extend_from_slice(fields.rest());
        blob.extend_from_slice(&self.serial.to_be_bytes());
        blob.extend_from_slice(&self.kind.number().to_be_bytes());
        put_string(&mut blob, self.key_id.as_bytes());
        let mut principals = Vec::new();
        for name in &self.principals {
            put_string(&mut principals, name.as_bytes());
        }
        put_string(&mut blob, &principals);
        blob.extend_from_slice(&self.validity.after.0.to_be_bytes());
        blob.extend_from_slice(&self.validity.before.0.to_be_bytes());
        put_string(&mut blob, &packed(&self.critical_options));
        put_string(&mut blob, &packed(&self.extensions));
        put_string(&mut blob, b"");
        put_string(&mut blob, signer.blob());
        let signature = authority.sign(&blob)?;
        put_string(&mut blob, &signature);
        Certificate::read(&PublicKey::from_blob(&blob)?)
    }

    fn check(&self) -> Result<(), CertificateError> {
        if self.principals.is_empty() {
            return Err(CertificateError::NoPrincipal);
        }
        if self.principals.len() > MAX_PRINCIPALS {
            return Err(CertificateError::TooManyPrincipals);
        }
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == ',';
        let bad = self.principals.iter().find(|name| name.is_empty() || name.contains(odd));
        if let Some(name) = bad {
            return Err(CertificateError::BadPrincipal(name.clone()));
        }
        let Validity { after, before } = self.validity;
        if before <= after {
            return Err(CertificateError::NoTime { before, after });
        }
        if self.key_id.contains(char::is_control) {
            return Err(CertificateError::BadText("key id"));
        }
        let all = self.critical_options.iter().chain(&self.extensions);
        for (name, value) in all {
            if self.kind == CertificateKind::Host {
                return Err(CertificateError::HostOption(name.clone()));
            }
            if name.is_empty() || name.contains(odd) || value.contains(['\n', '\r', '\0']) {
                return Err(CertificateError::BadText("options"));
            }
        }
        if self.critical_options.get("force-command").is_some_and(|text| text.trim().is_empty()) {
            return Err(CertificateError::EmptyCommand);
        }
        match self.critical_options.get("source-address") {
            Some(list) if !list.split(',').all(is_address) => {
                Err(CertificateError::BadAddresses(list.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// An address, or a network whose mask leaves nothing of the address over; sshd refuses others.
fn is_address(text: &str) -> bool {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let Some(mask) = mask else { return true };
    let (width, bits) = match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    let digits = !mask.is_empty() && mask.bytes().all(|byte| byte.is_ascii_digit());
    match mask.parse::<u32>() {
        Ok(mask) if digits && mask <= width => {
            let host = 1u128.checked_shl(width - mask).map_or(u128::MAX, |all| all - 1);
            bits & host == 0
        }
        _ => false,
    }
}

/// Name and value in turn; a value is a string within a string, an empty one just that.
fn packed(options: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in options {
        put_string(&mut out, name.as_bytes());
        let mut inner = Vec::new();
        if !value.is_empty() {
            put_string(&mut inner, value.as_bytes());
        }
        put_string(&mut out, &inner);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_sshd_takes() {
        for good in ["192.0.2.1", "192.0.2.0/24", "::/0", "2001:db8::/32", "0.0.0.0/0", "::1/128"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "a", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/", "::/+1", "192.0.2.*"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
