//! An authority that the test trusts, and certificates from it.

use std::fs;
use std::path::{Path, PathBuf};

use mail_dual::{Identity, TlsClient, TlsServer, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Files `ca.pem`, and for each name `NAME.pem` and `NAME.key`.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(folder: &Path) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Authority { folder: folder.to_owned(), issuer }
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Makes a certificate; the paths of it and its key.
    pub(crate) fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = ["pem", "key"].map(|end| self.folder.join(format!("{name}.{end}")));
        fs::write(&paths[0], certificate.pem()).unwrap();
        fs::write(&paths[1], key.serialize_pem()).unwrap();
        let [certificate, key] = paths;
        (certificate, key)
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let (certificate, key) = self.issue(name);
        Identity::from_files(&certificate, &key).unwrap()
    }

    pub(crate) fn server(&self, name: &str) -> TlsServer {
        TlsServer::new(self.identity(name), None).unwrap()
    }

    pub(crate) fn client(&self, name: &str) -> TlsClient {
        TlsClient::new(name, Trust::File(self.roots()), None).unwrap()
    }
}
