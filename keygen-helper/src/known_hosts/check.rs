//! Is this the host it should be?

use serde::{Deserialize, Serialize};

use super::entry::{HostEntry, Marker};
use super::{Host, KnownHosts};
use crate::certificate::{Certificate, CertificateKind, Claim, Objection};
use crate::public_key::PublicKey;
use crate::time::Timestamp;

/// What known_hosts says about a key that a host has shown.
///
/// Ordered by what counts more where several files are asked:
/// `answers.into_iter().max()` is what ssh would say with all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[must_use = "a host that is not known must not be talked to"]
#[non_exhaustive]
pub enum HostCheck {
    /// The host is not in the file. Nothing is known for or against the key.
    Unknown,
    /// The certificate is signed by an authority for the host and does not hold, and for or against
    /// the key in it nothing is known.
    Objected {
        /// The authority's line, counted from 1.
        line: usize,
        /// Why it does not hold.
        objection: Objection,
    },
    /// The host is there, but not with this key: somebody may be in between.
    Changed {
        /// What was expected instead.
        expected: Vec<Expected>,
    },
    /// The host is there with this key.
    Known {
        /// The line, counted from 1.
        line: usize,
    },
    /// The certificate is signed by an authority for the host, and holds for it now.
    Certified {
        /// The authority's line, counted from 1.
        line: usize,
    },
    /// The key, or the one that signed it, is revoked. This wins over all else.
    Revoked {
        /// The line, counted from 1.
        line: usize,
    },
}

impl HostCheck {
    /// Whether the host is the one it should be.
    pub fn is_trusted(&self) -> bool {
        matches!(self, HostCheck::Known { .. } | HostCheck::Certified { .. })
    }
}

/// A key that a host should have shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Expected {
    /// The line, counted from 1.
    pub line: usize,
    /// The key.
    pub key: PublicKey,
}

impl KnownHosts {
    /// Judges the key that a host has shown, as ssh does (`check_key_in_hostkeys`).
    ///
    /// A host on a port other than 22 is looked up with it. Where it is not there, a line for its
    /// name alone lets the key in, too, and does not count against it. A line that revokes the key
    /// for the name alone counts here as well, which ssh overlooks.
    ///
    /// For a certificate ask [`check_certificate`](KnownHosts::check_certificate).
    ///
    /// ```
    /// use keygen_helper::{Host, HostCheck, KnownHosts, PublicKey};
    ///
    /// # let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";
    /// let key: PublicKey = text.parse()?;
    /// let file = KnownHosts::parse(format!("*.example.net,!us.example.net {text}\n").into())?;
    ///
    /// let uk: Host = "uk.example.net".parse()?;
    /// assert_eq!(file.check(&uk, &key), HostCheck::Known { line: 1 });
    /// let us: Host = "us.example.net".parse()?;
    /// assert_eq!(file.check(&us, &key), HostCheck::Unknown);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self, host: &Host, key: &PublicKey) -> HostCheck {
        let answer = self.judge(&host.to_string(), key);
        if host.has_usual_port() {
            return answer;
        }
        let without_port = self.judge(host.name(), key);
        match (&answer, &without_port) {
            (_, HostCheck::Revoked { .. }) => without_port,
            (HostCheck::Unknown, HostCheck::Known { .. }) => without_port,
            _ => answer,
        }
    }

    fn judge(&self, name: &str, key: &PublicKey) -> HostCheck {
        let mut expected = Vec::new();
        let mut known = None;
        for (line, entry) in self.entries_for(name) {
            let same = entry.key.same_key(key);
            match entry.marker {
                Marker::Revoked if entry.key.same_key(&key.plain()) => {
                    return HostCheck::Revoked { line };
                }
                Marker::None if same => known = known.or(Some(line)),
                Marker::None => expected.push(Expected { line, key: entry.key }),
                _ => {}
            }
        }
        match known {
            Some(line) => HostCheck::Known { line },
            None if expected.is_empty() => HostCheck::Unknown,
            None => HostCheck::Changed { expected },
        }
    }

    /// Judges the certificate that a host has shown, as ssh does: it has to be signed by an authority
    /// for the host, be one for hosts, hold now and be for this name. Where it is not, the key in it
    /// is judged as it would be without the certificate.
    ///
    /// ```
    /// use keygen_helper::{Host, HostCheck, KeyKind, KeyPair, KnownHosts, SystemRandomness};
    /// use keygen_helper::{Timestamp, Validity, Warrant};
    ///
    /// let mut randomness = SystemRandomness;
    /// let authority = KeyPair::generate(KeyKind::Ed25519, "authority", &mut randomness)?;
    /// let uk = KeyPair::generate(KeyKind::Ed25519, "uk", &mut randomness)?.public_key();
    /// let day = Validity { after: Timestamp(1_000_000), before: Timestamp(1_086_400) };
    /// let warrant = Warrant::host("uk", day).principal("uk.example.net");
    /// let certificate = warrant.issue(&uk, &authority, &mut randomness)?;
    ///
    /// let line = format!("@cert-authority *.example.net {}\n", authority.public_key());
    /// let file = KnownHosts::parse(line.into())?;
    /// let check = |host: &str, now| -> Result<HostCheck, Box<dyn std::error::Error>> {
    ///     Ok(file.check_certificate(&host.parse()?, &certificate, Timestamp(now)))
    /// };
    /// assert!(check("uk.example.net", 1_000_000)?.is_trusted());
    /// assert!(!check("uk.example.net", 1_086_400)?.is_trusted());
    /// assert!(!check("us.example.net", 1_000_000)?.is_trusted());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_certificate(
        &self,
        host: &Host,
        certificate: &Certificate,
        now: Timestamp,
    ) -> HostCheck {
        let (plain, authority) = (&certificate.subject, &certificate.authority);
        let mut names = vec![host.to_string()];
        if !host.has_usual_port() {
            names.push(host.name().to_owned());
        }
        let mut found = None;
        for (line, entry) in names.iter().flat_map(|name| self.entries_for(name)) {
            match entry.marker {
                Marker::Revoked if entry.key.same_key(plain) || entry.key.same_key(authority) => {
                    return HostCheck::Revoked { line };
                }
                Marker::CertAuthority if entry.key.same_key(authority) => {
                    found = found.or(Some(line));
                }
                _ => {}
            }
        }
        let Some(line) = found else { return self.check(host, plain) };
        let claim = Claim { kind: CertificateKind::Host, name: host.name(), now };
        match certificate.judge(&claim, std::slice::from_ref(authority)) {
            Ok(()) => HostCheck::Certified { line },
            Err(objection) => match self.check(host, plain) {
                HostCheck::Unknown => HostCheck::Objected { line, objection },
                answer => answer,
            },
        }
    }

    /// The lines about a host with the port it has, and their numbers counted from 1. What
    /// algorithms to ask the host for is best taken from their keys, so that it does not show
    /// another one than the known.
    pub fn find(&self, host: &Host) -> Vec<(usize, HostEntry<'_>)> {
        self.entries_for(&host.to_string()).collect()
    }
}
