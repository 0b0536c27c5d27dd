//! rustls configurations over certificates that change under them.

use std::sync::Arc;

use base64::Engine as _;
use orlop_client::config::TrustAnyone;
use rustls::client::WantsClientCert;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

use super::{Authority, Leaf, Pki, PkiError};

/// ring, named everywhere: with two providers in the tree rustls would refuse to guess.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}

impl Pki {
    /// For the API server's listener, where nobody but our own authorities vouches for clients.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, PkiError> {
        server_config(self.serving.clone(), &[self.cluster_ca(), self.front_proxy_ca()])
    }

    /// The same where others do, too, which may change: clients are asked for whatever certificate they have.
    pub fn open_server_config(&self) -> Result<Arc<ServerConfig>, PkiError> {
        server_config(self.serving.clone(), &[])
    }

    /// For this machine's kubelet's listener.
    pub fn kubelet_server_config(&self) -> Result<Arc<ServerConfig>, PkiError> {
        server_config(self.kubelet_serving.clone(), &[self.cluster_ca()])
    }

    /// For calls from the API server to kubelets: their certificates must be the cluster CA's.
    pub fn kubelet_client_config(&self) -> Result<Arc<ClientConfig>, PkiError> {
        client_config(self.kubelet_client.clone(), self.cluster_ca())
    }

    /// Verifies certificates of the cluster's users.
    pub fn user_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
        client_verifier(self.cluster_ca(), "")
    }
}

/// Verifies certificates of an authority and of others, in PEM.
pub fn client_verifier(authority: &Authority, others: &str) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
    let mut roots = roots(authority)?;
    for certificate in certificates(others)? {
        roots.add(certificate)?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| PkiError::Tls(rustls::Error::General(error.to_string())))
}

/// Of a file in PEM; whatever else it holds is skipped.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes());
    all.map(|one| one.map_err(|error| PkiError::Tls(rustls::Error::General(error.to_string())))).collect()
}

/// A server that asks for a client certificate, needs none, and leaves its judgement to
/// authentication: a wrong certificate is answered with 401, as upstream does, not with a TLS alert.
pub fn server_config(
    certificate: Arc<dyn ResolvesServerCert>,
    authorities: &[&Arc<Authority>],
) -> Result<Arc<ServerConfig>, PkiError> {
    let mut hints = Vec::new();
    for authority in authorities {
        hints.extend_from_slice(client_verifier(authority, "")?.root_hint_subjects());
    }
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(AnyCertificate { hints, provider: provider() }))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client that shows `certificate` and trusts `authority` alone.
pub fn client_config(certificate: Arc<Leaf>, authority: &Authority) -> Result<Arc<ClientConfig>, PkiError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authority)?)
        .with_client_cert_resolver(certificate);
    Ok(Arc::new(config))
}

/// A client that trusts a `caBundle`'s authorities, or those every Go program would, of which a static binary knows
/// none. Errors are in upstream's words.
pub fn bundle_client_config(bundle: Option<&str>, certificate: Option<Arc<Leaf>>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = bundle {
        let pem = base64::engine::general_purpose::STANDARD.decode(bundle).map_err(|error| error.to_string())?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate =
                certificate.map_err(|_| "unable to load root certificates: unable to parse bytes as PEM block")?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    Ok(with_certificate(builder, certificate))
}

/// A client that trusts whatever it meets: for backends whose certificates nobody vouches for.
pub fn unchecked_client_config(certificate: Option<Arc<Leaf>>) -> Result<Arc<ClientConfig>, PkiError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnyone(provider())));
    Ok(with_certificate(builder, certificate))
}

fn with_certificate(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: Option<Arc<Leaf>>,
) -> Arc<ClientConfig> {
    Arc::new(match certificate {
        Some(certificate) => builder.with_client_cert_resolver(certificate),
        None => builder.with_no_client_auth(),
    })
}

fn roots(authority: &Authority) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in authority.certificates() {
        roots.add(certificate.clone())?;
    }
    Ok(roots)
}

/// Lets every certificate through whose key the client holds.
#[derive(Debug)]
struct AnyCertificate {
    /// Go clients show a certificate only when its issuer is named here, or none is.
    hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
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
