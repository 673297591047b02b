//! TLS with rustls: a name that is checked whatever address was dialled, or a key that is known.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::text::{from_hex, to_hex};

/// Where Debian and most others keep the authorities that their users trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What is wrong with a certificate, key or name of our own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadTls {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; it must be readable for the user that runs this")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file holds nothing of what it should.
    #[error("{path} holds no {what} in PEM")]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The name to verify is none.
    #[error("{0:?} is no name or address that a certificate could be for")]
    Name(String),
    /// The pin is none.
    #[error("a pin is the SHA-256 of the server's public key in 64 hexadecimal digits")]
    Pin,
    /// rustls does not take them.
    #[error("the certificate or key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// Authorities that cannot be used for clients.
    #[error("the authorities for clients' certificates cannot be used: {0}")]
    Clients(String),
}

fn read(path: &Path) -> Result<Vec<u8>, BadTls> {
    std::fs::read(path).map_err(|source| BadTls::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(BadTls::Nothing { path: path.to_owned(), what: "certificate" }),
    }
}

fn roots(certificates: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut store = RootCertStore::empty();
    // A system's list may hold some that no modern verifier takes.
    store.add_parsable_certificates(certificates);
    store
}

/// Whose word for a server's name is taken.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Trust {
    /// The authorities that this system trusts.
    System,
    /// The authorities, or the one certificate, in a file.
    File(PathBuf),
    /// These authorities.
    Roots(Vec<CertificateDer<'static>>),
    /// Nobody's: the server's public key has this SHA-256 (over its SubjectPublicKeyInfo). Neither
    /// names nor dates are looked at.
    Pin([u8; 32]),
}

impl Trust {
    /// Reads a pin.
    ///
    /// # Errors
    /// [`BadTls::Pin`] when it is none.
    pub fn pin(hex: &str) -> Result<Trust, BadTls> {
        from_hex(&hex.to_ascii_lowercase()).map(Trust::Pin).ok_or(BadTls::Pin)
    }
}

/// A certificate with its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From the two, in DER.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Identity {
        Identity { chain, key }
    }

    /// From two files in PEM, the certificate's with the chain behind it.
    ///
    /// # Errors
    /// [`BadTls`] names the file.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Identity, BadTls> {
        let chain = certificates(certificate)?;
        let pem = zeroize::Zeroizing::new(read(key)?);
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| BadTls::Nothing { path: key.to_owned(), what: "private key" })?;
        Ok(Identity { chain, key })
    }
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        Identity { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates and a key)", self.chain.len())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// How to know a server.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
    shown: String,
}

impl TlsClient {
    /// The server must prove to be `name`, a host name or an IP address, at whatever address it
    /// is dialled. `identity` is what we show when it asks for ours.
    ///
    /// # Errors
    /// [`BadTls`] names what cannot be used.
    pub fn new(name: &str, trust: Trust, identity: Option<Identity>) -> Result<TlsClient, BadTls> {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| BadTls::Name(crate::text::printable(name.as_bytes())))?;
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let (builder, shown) = match trust {
            Trust::Pin(pin) => {
                let shown = format!("public key {}", to_hex(&pin));
                let verifier = Arc::new(Pinned { pin, provider: provider() });
                (builder.dangerous().with_custom_certificate_verifier(verifier), shown)
            }
            Trust::System => {
                (with_roots(builder, certificates(SYSTEM_ROOTS.as_ref())?)?, name.to_owned())
            }
            Trust::File(path) => (with_roots(builder, certificates(&path)?)?, name.to_owned()),
            Trust::Roots(certificates) => (with_roots(builder, certificates)?, name.to_owned()),
        };
        let config = match identity {
            Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        Ok(TlsClient { config: Arc::new(config), name: server, shown })
    }

    pub(super) fn connection(&self) -> Result<rustls::ClientConnection, rustls::Error> {
        rustls::ClientConnection::new(self.config.clone(), self.name.clone())
    }

    /// The name or key that is verified.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

fn with_roots(
    builder: rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>, BadTls> {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(certificates).into(), provider())
            .build()
            .map_err(|error| BadTls::Unusable(rustls::Error::General(error.to_string())))?;
    Ok(builder.with_webpki_verifier(verifier))
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsClient({:?})", self.shown)
    }
}

/// Takes the one key and nothing else. The server still proves that it holds it.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let key = Sha256::digest(certificate.subject_public_key_info().as_ref());
        if key[..] != self.pin[..] {
            return Err(rustls::Error::General(format!(
                "the server's public key is {}, not the pinned one",
                to_hex(&key)
            )));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a listener shows its clients.
#[derive(Clone)]
pub struct TlsServer {
    config: Arc<rustls::ServerConfig>,
}

impl TlsServer {
    /// Shows `identity`. With `clients`, only those get in whose certificate one of these
    /// authorities gave.
    ///
    /// # Errors
    /// [`BadTls`] names what cannot be used.
    pub fn new(identity: Identity, clients: Option<&Path>) -> Result<TlsServer, BadTls> {
        let builder = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(certificates(path)?));
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| BadTls::Clients(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_single_cert(identity.chain, identity.key)?;
        Ok(TlsServer { config: Arc::new(config) })
    }

    pub(super) fn connection(&self) -> Result<rustls::ServerConnection, rustls::Error> {
        rustls::ServerConnection::new(self.config.clone())
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

/// Whether and how a connection is encrypted.
#[derive(Debug, Clone, Default)]
pub enum Encryption {
    /// Not at all: for what stays on this machine.
    #[default]
    None,
    /// From the first byte on (RFC 8314 §3).
    Implicit(TlsClient),
    /// After STARTTLS, which the server must offer (RFC 3207).
    StartTls(TlsClient),
}
