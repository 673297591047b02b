//! Whether a public key is still strong enough to be let in.

use serde::Serialize;

use crate::public_key::PublicKey;
use crate::wire::Reader;

/// What is to be thought of a key's strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "strength", content = "why")]
#[non_exhaustive]
pub enum Strength {
    /// Nothing against it.
    Strong,
    /// Good for now; the next one should be of another kind.
    Ageing(&'static str),
    /// To be replaced, and not to be let in any more.
    Weak(&'static str),
    /// An algorithm that is not known here.
    Unknown,
}

impl PublicKey {
    /// Judges the key by its algorithm and size (NIST SP 800-57 part 1, table 2). Keys of a broken
    /// generator (CVE-2008-0166, ROCA) look like any other and are not known here.
    pub fn strength(&self) -> Strength {
        let plain = self.plain();
        match plain.algorithm() {
            "ssh-dss" => {
                Strength::Weak("DSA keys have 1024 bits, and OpenSSH takes none since 7.0")
            }
            "ssh-rsa" => rsa(plain.bits().unwrap_or_default(), plain.blob()),
            "ssh-ed25519"
            | "sk-ssh-ed25519@openssh.com"
            | "sk-ecdsa-sha2-nistp256@openssh.com"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521" => Strength::Strong,
            _ => Strength::Unknown,
        }
    }
}

fn rsa(bits: u32, blob: &[u8]) -> Strength {
    let mut fields = Reader::new(blob);
    let exponent = fields.string().and(fields.positive()).unwrap_or_default();
    match (bits, exponent) {
        (..2048, _) => {
            Strength::Weak("RSA keys below 2048 bits can be broken by those who pay for it")
        }
        (_, [] | [1] | [.., 0]) => Strength::Weak("its public exponent makes no secret"),
        (_, [.., last]) if last & 1 == 0 => Strength::Weak("its public exponent is even"),
        (..3072, _) => Strength::Ageing("RSA below 3072 bits is not meant to last beyond 2030"),
        (_, [_] | [_, _]) => Strength::Ageing("its public exponent is below 65537"),
        _ => Strength::Strong,
    }
}
