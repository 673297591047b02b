//! Signatures in SSH's form: the algorithm's name, then what the algorithm gives.

use p256::ecdsa::signature::{Signer, Verifier};

use super::error::KeyError;
use super::kind::Curve;
use super::material::Material;
use super::numbers::trimmed;
use crate::public_key::PublicKey;
use crate::wire::{Reader, put_positive, put_string};

pub(super) fn sign(material: &Material, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut out = Vec::new();
    match material {
        Material::Ed25519 { seed, .. } => {
            put_string(&mut out, b"ssh-ed25519");
            let signature = ed25519_dalek::SigningKey::from_bytes(seed).sign(message);
            put_string(&mut out, &signature.to_bytes());
        }
        Material::Ecdsa { curve, scalar, .. } => {
            put_string(&mut out, curve.algorithm().as_bytes());
            let both = sign_on_curve(*curve, scalar, message);
            let (r, s) = both.split_at(curve.width());
            let mut numbers = Vec::new();
            put_positive(&mut numbers, trimmed(r));
            put_positive(&mut numbers, trimmed(s));
            put_string(&mut out, &numbers);
        }
        #[cfg(feature = "openssl")]
        Material::Rsa(numbers) => {
            put_string(&mut out, b"rsa-sha2-512");
            put_string(&mut out, &super::rsa::sign(numbers, message)?);
        }
        #[cfg(not(feature = "openssl"))]
        Material::Rsa(_) => return Err(KeyError::NoRsa),
    }
    Ok(out)
}

/// r and s, each as wide as the curve. The nonce comes from the message (RFC 6979).
fn sign_on_curve(curve: Curve, scalar: &[u8], message: &[u8]) -> Vec<u8> {
    const HOLDS: &str = "the number was checked when the key was made";
    match curve {
        Curve::P256 => {
            let key = p256::ecdsa::SigningKey::from_slice(scalar).expect(HOLDS);
            let signature: p256::ecdsa::Signature = key.sign(message);
            signature.to_vec()
        }
        Curve::P384 => {
            let key = p384::ecdsa::SigningKey::from_slice(scalar).expect(HOLDS);
            let signature: p384::ecdsa::Signature = key.sign(message);
            signature.to_vec()
        }
        Curve::P521 => {
            let key = p521::ecdsa::SigningKey::from_slice(scalar).expect(HOLDS);
            let signature: p521::ecdsa::Signature = key.sign(message);
            signature.to_vec()
        }
    }
}

/// Whether `signature` over `message` was made with the private half of `key`; nothing where that
/// cannot be told: algorithms that are unknown, and RSA without OpenSSL.
pub(crate) fn verify(key: &PublicKey, message: &[u8], signature: &[u8]) -> Option<bool> {
    let mut fields = Reader::new(key.blob());
    let _algorithm = fields.string()?;
    let mut parts = Reader::new(signature);
    let (Some(algorithm), Some(value)) = (parts.string(), parts.string()) else {
        return Some(false);
    };
    match key.algorithm() {
        "ssh-ed25519" => {
            let public = fields.string()?.try_into().ok()?;
            let right = || {
                let key = ed25519_dalek::VerifyingKey::from_bytes(public).ok()?;
                let signature = ed25519_dalek::Signature::from_slice(value).ok()?;
                key.verify_strict(message, &signature).ok()
            };
            Some(algorithm == b"ssh-ed25519" && right().is_some())
        }
        #[cfg(feature = "openssl")]
        "ssh-rsa" => {
            let (e, n) = (fields.positive()?, fields.positive()?);
            Some(super::rsa::verify(e, n, algorithm, message, value))
        }
        name => {
            let curve = Curve::ALL.into_iter().find(|curve| curve.algorithm() == name)?;
            let (_curve, point) = (fields.string()?, fields.string()?);
            let right = algorithm == name.as_bytes() && on_curve(curve, point, message, value);
            Some(right)
        }
    }
}

fn on_curve(curve: Curve, point: &[u8], message: &[u8], value: &[u8]) -> bool {
    let right = || {
        let mut numbers = Reader::new(value);
        let (r, s) = (numbers.positive()?, numbers.positive()?);
        let mut both = vec![0; 2 * curve.width()];
        both[curve.width().checked_sub(r.len())?..curve.width()].copy_from_slice(r);
        both[(2 * curve.width()).checked_sub(s.len()).filter(|at| *at >= curve.width())?..]
            .copy_from_slice(s);
        match curve {
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .ok()?
                .verify(message, &p256::ecdsa::Signature::from_slice(&both).ok()?)
                .ok(),
            Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .ok()?
                .verify(message, &p384::ecdsa::Signature::from_slice(&both).ok()?)
                .ok(),
            Curve::P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .ok()?
                .verify(message, &p521::ecdsa::Signature::from_slice(&both).ok()?)
                .ok(),
        }
    };
    right().is_some()
}
