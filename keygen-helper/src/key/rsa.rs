//! RSA through OpenSSL: making keys, signing, checking signatures.
//!
//! The `rsa` crate is no way out: private operations with it leak through their timing
//! (RUSTSEC-2023-0071), and making a key takes it three to ten times as long.

use openssl::bn::{BigNum, BigNumContext};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Rsa, RsaPrivateKeyBuilder};
use openssl::sign::{Signer, Verifier};
use zeroize::Zeroizing;

use super::error::KeyError;
use super::kind::RsaBits;
use super::material::{Material, RsaNumbers};

/// Makes a key with the public exponent 65537.
pub(super) fn generate(bits: RsaBits) -> Result<Material, KeyError> {
    let failed = |_| KeyError::OpenSsl("make an RSA key");
    let key = Rsa::generate(bits.bits()).map_err(failed)?;
    let secret = |number: Option<&openssl::bn::BigNumRef>| {
        let number = number.ok_or(KeyError::OpenSsl("give the numbers of the key it made"))?;
        Ok::<_, KeyError>(Zeroizing::new(number.to_vec()))
    };
    Material::rsa(RsaNumbers {
        n: key.n().to_vec(),
        e: key.e().to_vec(),
        d: secret(Some(key.d()))?,
        q_inverse: secret(key.iqmp())?,
        p: secret(key.p())?,
        q: secret(key.q())?,
    })
}

/// RSASSA-PKCS1-v1_5 with SHA-512 (RFC 8332).
pub(super) fn sign(numbers: &RsaNumbers, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let signed = || {
        let key = private_key(numbers)?;
        let mut signer = Signer::new(MessageDigest::sha512(), &key)?;
        signer.sign_oneshot_to_vec(message)
    };
    signed().map_err(|_: ErrorStack| KeyError::OpenSsl("sign with the RSA key"))
}

fn private_key(numbers: &RsaNumbers) -> Result<PKey<Private>, ErrorStack> {
    let number = |digits: &[u8]| BigNum::from_slice(digits);
    let (p, q, mut d) = (number(&numbers.p)?, number(&numbers.q)?, number(&numbers.d)?);
    d.set_const_time();
    // SSH keeps no exponents for the Chinese remainders; they are d mod p−1 and d mod q−1.
    let mut context = BigNumContext::new_secure()?;
    let one = BigNum::from_u32(1)?;
    let mut exponent = |prime: &openssl::bn::BigNumRef| {
        let mut less_one = BigNum::new_secure()?;
        less_one.checked_sub(prime, &one)?;
        let mut exponent = BigNum::new_secure()?;
        exponent.nnmod(&d, &less_one, &mut context)?;
        Ok::<_, ErrorStack>(exponent)
    };
    let (dp, dq) = (exponent(&p)?, exponent(&q)?);
    let builder = RsaPrivateKeyBuilder::new(number(&numbers.n)?, number(&numbers.e)?, d)?;
    let builder = builder.set_factors(p, q)?;
    let builder = builder.set_crt_params(dp, dq, number(&numbers.q_inverse)?)?;
    PKey::from_rsa(builder.build())
}

/// Whether a signature fits; SHA-1 (`ssh-rsa`) fits no more, as in OpenSSH since 8.8.
pub(super) fn verify(e: &[u8], n: &[u8], algorithm: &[u8], message: &[u8], value: &[u8]) -> bool {
    let digest = match algorithm {
        b"rsa-sha2-256" => MessageDigest::sha256(),
        b"rsa-sha2-512" => MessageDigest::sha512(),
        _ => return false,
    };
    let checked = || -> Result<bool, ErrorStack> {
        let key = Rsa::from_public_components(BigNum::from_slice(n)?, BigNum::from_slice(e)?)?;
        let key = PKey::from_rsa(key)?;
        Verifier::new(digest, &key)?.verify_oneshot(value, message)
    };
    checked().unwrap_or(false)
}
