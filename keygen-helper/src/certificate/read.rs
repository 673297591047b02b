//! Reading what a certificate says (PROTOCOL.certkeys).

use std::collections::BTreeMap;

use super::error::CertificateError;
use super::{Certificate, CertificateKind, MAX_PRINCIPALS, Validity};
use crate::bytes::Bytes;
use crate::public_key::PublicKey;
use crate::time::Timestamp;
use crate::wire::Reader;

const CUT: CertificateError = CertificateError::Damaged("it was cut short");

impl Certificate {
    /// Reads a certificate. Whether it is genuine and holds is another matter: see
    /// [`judge`](Certificate::judge).
    ///
    /// # Errors
    /// [`CertificateError::NotACertificate`], [`CertificateError::Damaged`].
    pub fn read(key: &PublicKey) -> Result<Certificate, CertificateError> {
        if !key.is_certificate() {
            return Err(CertificateError::NotACertificate);
        }
        let subject = key.plain();
        let mut reader = Reader::new(key.blob());
        let _algorithm = reader.string();
        let nonce = reader.string().ok_or(CUT)?.to_vec();
        // The fields of the key come next, as many as it has by itself.
        let mut fields = Reader::new(subject.blob());
        fields.string();
        while fields.string().is_some() {
            reader.string().ok_or(CUT)?;
        }
        let serial = reader.long().ok_or(CUT)?;
        let kind = match reader.number().ok_or(CUT)? {
            1 => CertificateKind::User,
            2 => CertificateKind::Host,
            _ => return Err(CertificateError::Damaged("it is neither for users nor for hosts")),
        };
        let key_id = reader.string().ok_or(CUT)?.into();
        let mut names = Reader::new(reader.string().ok_or(CUT)?);
        let mut principals = Vec::new();
        while !names.rest().is_empty() {
            if principals.len() == MAX_PRINCIPALS {
                return Err(CertificateError::TooManyPrincipals);
            }
            principals.push(names.string().ok_or(CUT)?.into());
        }
        let (after, before) = (reader.long().ok_or(CUT)?, reader.long().ok_or(CUT)?);
        let critical_options = unpacked(reader.string().ok_or(CUT)?)?;
        let extensions = unpacked(reader.string().ok_or(CUT)?)?;
        let _reserved = reader.string().ok_or(CUT)?;
        let authority = PublicKey::from_blob(reader.string().ok_or(CUT)?)?;
        let signature = reader.string().ok_or(CUT)?.to_vec();
        if !reader.rest().is_empty() {
            return Err(CertificateError::Damaged("something follows the signature"));
        }
        if authority.is_certificate() {
            return Err(CertificateError::Damaged("it is signed by another certificate"));
        }
        Ok(Certificate {
            kind,
            subject,
            serial,
            key_id,
            principals,
            validity: Validity { after: Timestamp(after), before: Timestamp(before) },
            critical_options,
            extensions,
            authority,
            nonce,
            signature,
            blob: key.clone(),
        })
    }

    /// The bytes under the signature: all that come before it.
    pub(super) fn signed(&self) -> &[u8] {
        let blob = self.blob.blob();
        &blob[..blob.len() - self.signature.len() - 4]
    }
}

fn unpacked(options: &[u8]) -> Result<BTreeMap<Bytes, Bytes>, CertificateError> {
    let mut reader = Reader::new(options);
    let mut out = BTreeMap::new();
    while !reader.rest().is_empty() {
        let (name, outer) = (reader.string().ok_or(CUT)?, reader.string().ok_or(CUT)?);
        let mut inner = Reader::new(outer);
        // What is not a string within a string is kept as it is: extensions may be anything.
        let value = inner.string().filter(|_| inner.rest().is_empty()).unwrap_or(outer);
        if out.insert(name.into(), value.into()).is_some() {
            return Err(CertificateError::Damaged("it has an option twice"));
        }
    }
    Ok(out)
}
