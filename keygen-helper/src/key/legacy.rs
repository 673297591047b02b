//! What OpenSSL writes: PKCS#1, SEC 1 and PKCS#8, plain or locked.

use md5::{Digest, Md5};
use pkcs8::der::Decode;
use pkcs8::pkcs5::{EncryptionScheme, pbes2};
use pkcs8::{EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef};
use sec1::EcPrivateKey;
use ssh_cipher::Cipher;
use zeroize::Zeroizing;

use super::error::KeyError;
use super::kind::Curve;
use super::lock::decrypt_with_key;
use super::material::{Material, RsaNumbers};
use super::numbers::trimmed;
use super::openssh::shortened;
use super::passphrase::Passphrase;
use crate::bytes::from_hex;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const CURVES: [(ObjectIdentifier, Curve); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), Curve::P256),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), Curve::P384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), Curve::P521),
];

/// The most rounds of PBKDF2 that are computed to open a file, some seconds of work; OpenSSL's
/// default is 2,048, and what is recommended are 600,000.
const MAX_PBKDF2_ROUNDS: u64 = 4_000_000;

/// The most memory that scrypt may ask for, in bytes; OpenSSL's own limit is 32 MiB.
const MAX_SCRYPT_MEMORY: u64 = 64 << 20;

const DER: KeyError = KeyError::Damaged("its ASN.1 cannot be read");

const CONVERT: &str =
    "convert it with OpenSSL (openssl pkey -in FILE -out NEW) and then: ssh-keygen -p -f NEW";

/// An RSA key (RFC 8017 appendix A.1.2).
pub(super) fn pkcs1(der: &[u8]) -> Result<Material, KeyError> {
    let key = pkcs1::RsaPrivateKeyRef::from_der(der).map_err(|_| DER)?;
    let secret = |number: &pkcs8::der::asn1::UintRef<'_>| {
        Zeroizing::new(trimmed(number.as_bytes()).to_vec())
    };
    Material::rsa(RsaNumbers {
        n: trimmed(key.modulus.as_bytes()).to_vec(),
        e: trimmed(key.public_exponent.as_bytes()).to_vec(),
        d: secret(&key.private_exponent),
        q_inverse: secret(&key.coefficient),
        p: secret(&key.prime1),
        q: secret(&key.prime2),
    })
}

/// A key on a curve (RFC 5915); `curve` where the outside named it already.
pub(super) fn sec1(der: &[u8], curve: Option<Curve>) -> Result<Material, KeyError> {
    let key = EcPrivateKey::from_der(der).map_err(|_| DER)?;
    let curve = match curve {
        Some(curve) => curve,
        None => curve_of(key.parameters.and_then(|parameters| parameters.named_curve()))?,
    };
    Material::ecdsa(curve, key.private_key)
}

fn curve_of(oid: Option<ObjectIdentifier>) -> Result<Curve, KeyError> {
    let known = CURVES.iter().find(|(known, _)| Some(*known) == oid).map(|(_, curve)| *curve);
    known.ok_or_else(|| KeyError::Unsupported {
        what: "a key on a curve that SSH does not have".to_owned(),
        remedy: "make a new one: keys generate --type ed25519 FILE",
    })
}

/// Any key (RFC 5958).
pub(super) fn pkcs8(der: &[u8]) -> Result<Material, KeyError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| DER)?;
    match info.algorithm.oid {
        RSA => pkcs1(info.private_key.as_bytes()),
        EC => {
            let named = info.algorithm.parameters_oid().ok();
            sec1(info.private_key.as_bytes(), Some(curve_of(named)?))
        }
        ED25519 => {
            let seed = <&pkcs8::der::asn1::OctetStringRef>::from_der(info.private_key.as_bytes());
            let seed = seed.ok().and_then(|seed| <[u8; 32]>::try_from(seed.as_bytes()).ok());
            Ok(Material::ed25519(Zeroizing::new(seed.ok_or(DER)?)))
        }
        oid => Err(KeyError::Unsupported {
            what: format!("a private key of the kind {oid}"),
            remedy: "SSH has no such keys; make a new one: keys generate --type ed25519 FILE",
        }),
    }
}

/// A locked PKCS#8 key (RFC 5958 section 3, RFC 8018 for PBES2). How much work it asks for is
/// looked at before any of it is done.
pub(super) fn locked_pkcs8(der: &[u8], passphrase: &Passphrase) -> Result<Material, KeyError> {
    // What cannot be read here is nearly always a scheme that is unknown: a truncated file has
    // already failed in its base64 or its last line.
    let unknown = |_| KeyError::Unsupported {
        what: "the way in which this PKCS#8 key is locked".to_owned(),
        remedy: CONVERT,
    };
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(unknown)?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(KeyError::Unsupported {
            what: "a PKCS#8 key that is locked with PBES1".to_owned(),
            remedy: CONVERT,
        });
    };
    check_work(&parameters.kdf)?;
    let opened = info.decrypt(passphrase.as_bytes()).map_err(|_| KeyError::WrongPassphrase)?;
    // One wrong passphrase in 256 leaves padding that looks right, but no key.
    match pkcs8(opened.as_bytes()) {
        Err(KeyError::Damaged(_)) => Err(KeyError::WrongPassphrase),
        read => read,
    }
}

fn check_work(kdf: &pbes2::Kdf) -> Result<(), KeyError> {
    let (name, asked, most) = match kdf {
        pbes2::Kdf::Pbkdf2(asked) => ("PBKDF2", asked.iteration_count.into(), MAX_PBKDF2_ROUNDS),
        pbes2::Kdf::Scrypt(asked) => {
            let (r, p) = (u64::from(asked.block_size), u64::from(asked.parallelization));
            let memory = asked.cost_parameter.saturating_mul(128).saturating_mul(r.max(1));
            ("scrypt, in bytes", memory.saturating_mul(p.max(1)), MAX_SCRYPT_MEMORY)
        }
        _ => ("an unknown function", u64::MAX, 0),
    };
    match asked > most {
        true => Err(KeyError::TooManyRounds { kdf: name, asked, most }),
        false => Ok(()),
    }
}

/// Opens what OpenSSL locked in its old way (`Proc-Type: 4,ENCRYPTED`): the key is MD5 over the
/// passphrase and eight bytes of the vector, repeated until it is long enough.
pub(super) fn unlock_traditional(
    headers: &[(&str, &str)],
    content: &[u8],
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let header = headers.iter().find(|(name, _)| *name == "DEK-Info").map(|(_, value)| *value);
    let missing = KeyError::Damaged("it does not say how it is locked");
    let (name, iv) = header.and_then(|value| value.split_once(',')).ok_or(missing)?;
    let cipher = match name {
        "AES-128-CBC" => Cipher::Aes128Cbc,
        "AES-192-CBC" => Cipher::Aes192Cbc,
        "AES-256-CBC" => Cipher::Aes256Cbc,
        "DES-EDE3-CBC" => Cipher::TdesCbc,
        other => {
            return Err(KeyError::Unsupported {
                what: format!("a key locked with \"{}\"", shortened(other.as_bytes())),
                remedy: CONVERT,
            });
        }
    };
    let (key_length, iv_length) = cipher.key_and_iv_size().ok_or(DER)?;
    let iv = from_hex(iv.trim().as_bytes()).filter(|iv| iv.len() == iv_length);
    let iv = iv.ok_or(KeyError::Damaged("its start vector is not whole"))?;
    let mut key = Zeroizing::new(Vec::with_capacity(64));
    let mut last = Zeroizing::new([0; 16]);
    while key.len() < key_length {
        let mut digest = Md5::new();
        if !key.is_empty() {
            digest.update(*last);
        }
        digest.update(passphrase.as_bytes());
        digest.update(&iv[..8]);
        *last = digest.finalize().into();
        key.extend_from_slice(&*last);
    }
    key.truncate(key_length);
    let mut opened = Zeroizing::new(content.to_vec());
    decrypt_with_key(cipher, &key, &iv, &mut opened)?;
    // PKCS#7: the last byte says how many bytes were added, each of which says the same.
    let added = opened.last().copied().map_or(0, usize::from);
    let fits = (1..=cipher.block_size()).contains(&added) && added <= opened.len();
    if !fits || opened.iter().rev().take(added).any(|&byte| usize::from(byte) != added) {
        return Err(KeyError::WrongPassphrase);
    }
    let length = opened.len() - added;
    opened.truncate(length);
    Ok(opened)
}
