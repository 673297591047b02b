//! Signs messages, and checks signatures as a receiver would, with the key at hand instead of DNS.

use std::borrow::Borrow;
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::dkim::{Canonicalization, DkimSigner};
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
};

/// A domain's key pair.
#[derive(Debug)]
pub(crate) struct Signer {
    pkcs8: Vec<u8>,
}

/// Answers every question with the one key.
struct OneKey(Txt);

impl ResolverCache<String, Txt> for OneKey {
    fn get<Q>(&self, _: &Q) -> Option<Txt>
    where
        String: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Some(self.0.clone())
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        String: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: String, _: Txt, _: Instant) {}
}

impl Signer {
    pub(crate) fn new() -> Signer {
        Signer { pkcs8: Ed25519Key::generate_pkcs8().unwrap() }
    }

    fn key(&self) -> Ed25519Key {
        Ed25519Key::from_pkcs8_der(&self.pkcs8).unwrap()
    }

    /// The message with a signature on top.
    pub(crate) fn sign(
        &self,
        message: &str,
        canonicalization: Canonicalization,
        headers: &[&str],
        length: bool,
    ) -> String {
        let signature = DkimSigner::from_key(self.key())
            .domain("example.org")
            .selector("one")
            .headers(headers.iter().copied())
            .header_canonicalization(canonicalization)
            .body_canonicalization(canonicalization)
            .body_length(length)
            .sign(message.as_bytes())
            .unwrap();
        format!("{}{message}", signature.to_header())
    }

    /// Whether there is a signature and all of them are good.
    pub(crate) fn verifies(&self, message: &[u8]) -> bool {
        use base64::Engine as _;
        let public = base64::engine::general_purpose::STANDARD.encode(self.key().public_key());
        let record = DomainKey::parse(format!("v=DKIM1; k=ed25519; p={public}").as_bytes());
        let key = OneKey(Txt::DomainKey(Arc::new(record.unwrap())));
        let authenticator = MessageAuthenticator::new_google().unwrap();
        let message = AuthenticatedMessage::parse_with_opts(message, false).unwrap();
        let parameters = Parameters::new(&message).with_txt_cache(&key);
        let found = now(authenticator.verify_dkim(parameters));
        !found.is_empty() && found.iter().all(|output| *output.result() == DkimResult::Pass)
    }
}

/// The result of a future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the key is at hand"),
    }
}
