//! OpenSSH's own container for private keys (PROTOCOL.key).

use zeroize::Zeroizing;

use super::armour;
use super::error::KeyError;
use super::kind::Curve;
use super::lock::{Cipher, Lock, decrypt};
use super::material::{Material, RsaNumbers};
use super::passphrase::Passphrase;
use crate::public_key::PublicKey;
use crate::randomness::Randomness;
use crate::wire::{Reader, put_positive, put_string};

/// What stands between the dashes.
pub(super) const LABEL: &str = "OPENSSH PRIVATE KEY";

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// A container whose outside has been read. Its inside may be locked.
#[derive(Clone)]
pub(super) struct Sealed {
    lock: Option<LockedWith>,
    pub(super) public: PublicKey,
    inside: Zeroizing<Vec<u8>>,
    tag: Vec<u8>,
}

#[derive(Clone)]
struct LockedWith {
    cipher: Cipher,
    salt: Vec<u8>,
    rounds: u32,
}

const CUT: KeyError = KeyError::Damaged("it was cut short");

/// Reads the outside.
pub(super) fn read(bytes: &[u8]) -> Result<Sealed, KeyError> {
    let mut reader = Reader::new(bytes);
    if reader.bytes(MAGIC.len()) != Some(MAGIC) {
        return Err(KeyError::Damaged("its first bytes are not those of OpenSSH's container"));
    }
    let mut next = || reader.string().ok_or(CUT);
    let (cipher, kdf, kdf_options) = (next()?, next()?, next()?);
    let lock = match (cipher, kdf) {
        (b"none", b"none") => None,
        (cipher, b"bcrypt") if cipher != b"none" => {
            let mut options = Reader::new(kdf_options);
            let salt = options.string().ok_or(CUT)?.to_vec();
            let rounds = options.number().ok_or(CUT)?;
            Some(LockedWith { cipher: known_cipher(cipher)?, salt, rounds })
        }
        (b"none", _) | (_, b"none") => {
            return Err(KeyError::Damaged("it has a cipher without a passphrase, or the reverse"));
        }
        (_, kdf) => return Err(unknown("key derivation", kdf)),
    };
    if reader.number() != Some(1) {
        return Err(KeyError::Damaged("a file holds exactly one key"));
    }
    let public = PublicKey::from_blob(reader.string().ok_or(CUT)?)?;
    let inside = Zeroizing::new(reader.string().ok_or(CUT)?.to_vec());
    let tag_length = lock.as_ref().map_or(0, |lock| lock.cipher.tag_length());
    let tag = reader.bytes(tag_length).ok_or(CUT)?.to_vec();
    let block = lock.as_ref().map_or(8, |lock| lock.cipher.block_size());
    if inside.len() % block != 0 || inside.is_empty() {
        return Err(KeyError::Damaged("it is not a whole number of blocks"));
    }
    if !reader.rest().is_empty() {
        return Err(KeyError::Damaged("something follows the key"));
    }
    Ok(Sealed { lock, public, inside, tag })
}

fn known_cipher(name: &[u8]) -> Result<Cipher, KeyError> {
    Cipher::named(name).ok_or_else(|| unknown("cipher", name))
}

/// As much of a name out of a file as tells which it is.
pub(super) fn shortened(name: &[u8]) -> String {
    const MOST: usize = 64;
    let end = if name.len() > MOST { "…" } else { "" };
    format!("{}{end}", name[..name.len().min(MOST)].escape_ascii())
}

fn unknown(what: &str, name: &[u8]) -> KeyError {
    KeyError::Unsupported {
        what: format!("the {what} \"{}\"", shortened(name)),
        remedy: "lock the key anew: ssh-keygen -p -Z aes256-ctr -f FILE",
    }
}

impl Sealed {
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Opens it; gives the comment as well, which stands inside.
    pub(super) fn unlock(
        &self,
        passphrase: Option<&Passphrase>,
    ) -> Result<(Material, Vec<u8>), KeyError> {
        let mut inside = self.inside.clone();
        if let Some(LockedWith { cipher, salt, rounds }) = &self.lock {
            let passphrase = passphrase.ok_or(KeyError::PassphraseRequired)?;
            decrypt(*cipher, passphrase, salt, *rounds, &mut inside, &self.tag)?;
        }
        let mut reader = Reader::new(&inside);
        let (first, second) = (reader.number().ok_or(CUT)?, reader.number().ok_or(CUT)?);
        if first != second {
            return Err(match self.lock {
                Some(_) => KeyError::WrongPassphrase,
                None => KeyError::Damaged("its check numbers differ"),
            });
        }
        let material = material(&mut reader)?;
        let comment = reader.string().ok_or(CUT)?.to_vec();
        let padded = |(place, byte): (usize, &u8)| usize::from(*byte) == (place + 1) & 0xff;
        if !reader.rest().iter().enumerate().all(padded) {
            return Err(KeyError::Damaged("its padding is wrong"));
        }
        if !material.public_key().same_key(&self.public) {
            return Err(KeyError::Damaged("its public part belongs to another key"));
        }
        Ok((material, comment))
    }
}

fn material(reader: &mut Reader<'_>) -> Result<Material, KeyError> {
    let algorithm = reader.string().ok_or(CUT)?;
    match algorithm {
        b"ssh-ed25519" => {
            let (_public, secret) = (reader.string().ok_or(CUT)?, reader.string().ok_or(CUT)?);
            let wrong = KeyError::Damaged("an Ed25519 key has 64 bytes");
            let seed: Option<[u8; 32]> = secret.get(..32).and_then(|seed| seed.try_into().ok());
            let material = Material::ed25519(Zeroizing::new(seed.ok_or(wrong)?));
            match &material {
                Material::Ed25519 { public, .. } if secret.get(32..) == Some(public) => {}
                _ => return Err(KeyError::Damaged("its halves do not belong together")),
            }
            Ok(material)
        }
        b"ssh-rsa" => {
            let mut number = || Ok::<_, KeyError>(reader.positive().ok_or(CUT)?.to_vec());
            Material::rsa(RsaNumbers {
                n: number()?,
                e: number()?,
                d: number()?.into(),
                q_inverse: number()?.into(),
                p: number()?.into(),
                q: number()?.into(),
            })
        }
        name => {
            let known = Curve::ALL.into_iter().find(|curve| curve.algorithm().as_bytes() == name);
            let curve = known.ok_or_else(|| KeyError::Unsupported {
                what: format!("a private key of type {:?}", name.escape_ascii().to_string()),
                remedy: "make a new one: keys generate --type ed25519 FILE",
            })?;
            let (name, _point) = (reader.string().ok_or(CUT)?, reader.string().ok_or(CUT)?);
            if name != curve.name().as_bytes() {
                return Err(KeyError::Damaged("it names two curves"));
            }
            Material::ecdsa(curve, reader.positive().ok_or(CUT)?)
        }
    }
}

/// The whole file.
pub(super) fn write(
    material: &Material,
    comment: &[u8],
    lock: Option<&Lock>,
    randomness: &mut dyn Randomness,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let public = material.public_key();
    let mut check = [0; 4];
    randomness.fill(&mut check)?;
    // Long enough for an RSA key of 16384 bits, so that nothing is copied while it grows.
    let mut inside = Zeroizing::new(Vec::with_capacity(16 * 1024 + comment.len()));
    inside.extend_from_slice(&check);
    inside.extend_from_slice(&check);
    put_string(&mut inside, material.algorithm().as_bytes());
    put_material(&mut inside, material);
    put_string(&mut inside, comment);
    let block = lock.map_or(8, |lock| lock.cipher.block_size());
    for padding in 1..=u8::MAX {
        if inside.len() % block == 0 {
            break;
        }
        inside.push(padding);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(2 * inside.capacity()));
    out.extend_from_slice(MAGIC);
    let mut tag = Vec::new();
    match lock {
        None => {
            put_string(&mut out, b"none");
            put_string(&mut out, b"none");
            put_string(&mut out, b"");
        }
        Some(lock) => {
            let mut salt = [0; 16];
            randomness.fill(&mut salt)?;
            tag = lock.encrypt(&salt, &mut inside);
            let mut options = Vec::new();
            put_string(&mut options, &salt);
            options.extend_from_slice(&lock.rounds.get().to_be_bytes());
            put_string(&mut out, lock.cipher.name().as_bytes());
            put_string(&mut out, b"bcrypt");
            put_string(&mut out, &options);
        }
    }
    out.extend_from_slice(&1u32.to_be_bytes());
    put_string(&mut out, public.blob());
    put_string(&mut out, &inside);
    out.extend_from_slice(&tag);
    Ok(armour::write(LABEL, &out))
}

fn put_material(out: &mut Vec<u8>, material: &Material) {
    match material {
        Material::Ed25519 { seed, public } => {
            put_string(out, public);
            let mut both = Zeroizing::new([0; 64]);
            both[..32].copy_from_slice(&**seed);
            both[32..].copy_from_slice(public);
            put_string(out, &*both);
        }
        Material::Rsa(numbers) => {
            let all =
                [&*numbers.n, &numbers.e, &numbers.d, &numbers.q_inverse, &numbers.p, &numbers.q];
            for number in all {
                put_positive(out, number);
            }
        }
        Material::Ecdsa { curve, scalar, point } => {
            put_string(out, curve.name().as_bytes());
            put_string(out, point);
            put_positive(out, super::numbers::trimmed(scalar));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_long_a_name_is_an_error_stays_short() {
        assert_eq!(unknown("cipher", b"rot13").to_string().matches("rot13").count(), 1);
        assert!(unknown("cipher", &[b'x'; 60_000]).to_string().len() < 300);
        let headers = "y".repeat(60_000) + ",00";
        let passphrase = Passphrase::new(b"x".to_vec()).unwrap();
        let error =
            super::super::legacy::unlock_traditional(&[("DEK-Info", &headers)], b"", &passphrase);
        assert!(error.unwrap_err().to_string().len() < 300);
    }
}
