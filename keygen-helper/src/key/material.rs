//! The numbers that a key pair is made of, checked against one another when they are taken.

use zeroize::Zeroizing;

use super::error::KeyError;
use super::kind::{Curve, KeyKind, RsaBits};
use super::numbers::{bit_length, is_product, trimmed};
use crate::public_key::PublicKey;
use crate::randomness::Randomness;
use crate::wire::{put_positive, put_string};

/// A private key and the public one that belongs to it.
#[derive(Clone)]
pub(super) enum Material {
    Ed25519 { seed: Zeroizing<[u8; 32]>, public: [u8; 32] },
    Rsa(Box<RsaNumbers>),
    Ecdsa { curve: Curve, scalar: Zeroizing<Vec<u8>>, point: Vec<u8> },
}

/// The names are those of RFC 8017; none has leading zeros.
#[derive(Clone)]
pub(super) struct RsaNumbers {
    pub(super) n: Vec<u8>,
    pub(super) e: Vec<u8>,
    pub(super) d: Zeroizing<Vec<u8>>,
    pub(super) q_inverse: Zeroizing<Vec<u8>>,
    pub(super) p: Zeroizing<Vec<u8>>,
    pub(super) q: Zeroizing<Vec<u8>>,
}

/// The shortest RSA key that OpenSSH reads, and the longest (`SSH_RSA_MINIMUM_MODULUS_SIZE`,
/// `SSHBUF_MAX_BIGNUM`).
const RSA_SIZES: std::ops::RangeInclusive<u32> = 1024..=16384;

impl Material {
    pub(super) fn new_ed25519(randomness: &mut dyn Randomness) -> Result<Material, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        randomness.fill(&mut *seed)?;
        Ok(Material::ed25519(seed))
    }

    pub(super) fn ed25519(seed: Zeroizing<[u8; 32]>) -> Material {
        let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        Material::Ed25519 { seed, public }
    }

    /// Draws numbers until one lies in the range of the curve (FIPS 186-5 appendix A.2.2).
    pub(super) fn new_ecdsa(
        curve: Curve,
        randomness: &mut dyn Randomness,
    ) -> Result<Material, KeyError> {
        let mut scalar = Zeroizing::new(vec![0; curve.width()]);
        // One in 2³² fails for P-256, the rest far more rarely; a source that always gives the
        // same bytes must not keep us here for ever.
        for _ in 0..64 {
            randomness.fill(&mut scalar)?;
            if curve == Curve::P521 {
                scalar[0] &= 1;
            }
            if let Some(point) = public_point(curve, &scalar) {
                return Ok(Material::Ecdsa { curve, scalar, point });
            }
        }
        Err(crate::randomness::RandomnessError::new("it repeats itself").into())
    }

    /// Takes a private number with or without its leading zeros.
    pub(super) fn ecdsa(curve: Curve, digits: &[u8]) -> Result<Material, KeyError> {
        let digits = trimmed(digits);
        let mut scalar = Zeroizing::new(vec![0; curve.width()]);
        let outside = KeyError::Damaged("its private number does not lie on the curve");
        let Some(zeros) = curve.width().checked_sub(digits.len()) else { return Err(outside) };
        scalar[zeros..].copy_from_slice(digits);
        let point = public_point(curve, &scalar).ok_or(outside)?;
        Ok(Material::Ecdsa { curve, scalar, point })
    }

    /// Takes the numbers of an RSA key.
    pub(super) fn rsa(numbers: RsaNumbers) -> Result<Material, KeyError> {
        let size = bit_length(&numbers.n);
        if !RSA_SIZES.contains(&size) {
            return Err(KeyError::Damaged("an RSA key has 1024 to 16384 bits"));
        }
        // More digits than the product has would only make the check slow.
        let small = |number: &[u8]| !number.is_empty() && number.len() <= numbers.n.len();
        let all = [&*numbers.e, &**numbers.d, &**numbers.q_inverse, &**numbers.p, &**numbers.q];
        if !all.into_iter().all(small) || !is_product(&numbers.p, &numbers.q, &numbers.n) {
            return Err(KeyError::Damaged("its RSA numbers do not belong together"));
        }
        if numbers.e.last().is_none_or(|last| last & 1 == 0) || bit_length(&numbers.e) < 2 {
            return Err(KeyError::Damaged("its public exponent is even or 1"));
        }
        Ok(Material::Rsa(Box::new(numbers)))
    }

    pub(super) fn kind(&self) -> Option<KeyKind> {
        match self {
            Material::Ed25519 { .. } => Some(KeyKind::Ed25519),
            Material::Ecdsa { curve, .. } => Some(KeyKind::Ecdsa(*curve)),
            Material::Rsa(numbers) => match bit_length(&numbers.n) {
                3072 => Some(KeyKind::Rsa(RsaBits::Bits3072)),
                4096 => Some(KeyKind::Rsa(RsaBits::Bits4096)),
                _ => None,
            },
        }
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Material::Ed25519 { .. } => "ssh-ed25519",
            Material::Rsa(_) => "ssh-rsa",
            Material::Ecdsa { curve, .. } => curve.algorithm(),
        }
    }

    pub(super) fn public_key(&self) -> PublicKey {
        let mut blob = Vec::new();
        put_string(&mut blob, self.algorithm().as_bytes());
        match self {
            Material::Ed25519 { public, .. } => put_string(&mut blob, public),
            Material::Rsa(numbers) => {
                put_positive(&mut blob, &numbers.e);
                put_positive(&mut blob, &numbers.n);
            }
            Material::Ecdsa { curve, point, .. } => {
                put_string(&mut blob, curve.name().as_bytes());
                put_string(&mut blob, point);
            }
        }
        PublicKey::from_blob(&blob).expect("made of the fields that its algorithm has")
    }
}

/// The uncompressed point that belongs to a private number of the curve's width; none when the
/// number is zero or too large.
fn public_point(curve: Curve, scalar: &[u8]) -> Option<Vec<u8>> {
    Some(
        match curve {
            Curve::P256 => p256::SecretKey::from_slice(scalar).ok()?.public_key().to_sec1_bytes(),
            Curve::P384 => p384::SecretKey::from_slice(scalar).ok()?.public_key().to_sec1_bytes(),
            Curve::P521 => p521::SecretKey::from_slice(scalar).ok()?.public_key().to_sec1_bytes(),
        }
        .into_vec(),
    )
}
