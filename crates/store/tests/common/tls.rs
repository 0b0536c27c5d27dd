//! Certificates of an etcd cluster that knows its clients.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};

pub struct Certificates {
    dir: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub fn make() -> Certificates {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let certificates = Certificates { dir: tempfile::tempdir().unwrap(), ca };
        let (certificate, key) = certificates.issue();
        certificates.write("server.crt", &certificate);
        certificates.write("server.key", &key);
        certificates.write("ca.crt", &certificates.ca.pem());
        certificates
    }

    /// What etcd is started with.
    pub fn arguments(&self) -> Vec<String> {
        let files = [("cert-file", "server.crt"), ("key-file", "server.key"), ("trusted-ca-file", "ca.crt")];
        let files = files.iter().map(|(flag, name)| format!("--{flag}={}", self.dir.path().join(name).display()));
        files.chain(["--client-cert-auth".to_owned()]).collect()
    }

    /// A client that etcd knows.
    pub fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.pem().as_bytes()).unwrap()).unwrap();
        let (certificate, key) = self.issue();
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        builder.with_client_auth_cert(chain, key).unwrap()
    }

    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &self.ca).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }
}
