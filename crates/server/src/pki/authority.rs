//! A certificate authority: read, or made on first start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use orlop_base::clock;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{PkiError, files, keys};

/// As kubeadm: a CA outlives the hardware.
const CA_VALIDITY: Duration = Duration::from_hours(10 * 365 * 24);

/// How far before now a CA starts to be valid: a machine's clock may have been wrong by a time
/// zone when its cluster began.
const CA_BACKDATE: Duration = Duration::from_hours(24);

/// Signs certificates. Without its key (kept elsewhere by the user) it only verifies.
#[derive(Debug)]
pub struct Authority {
    path: PathBuf,
    pem: String,
    chain: Vec<CertificateDer<'static>>,
    issuer: Option<Issuer<'static, KeyPair>>,
}

impl Authority {
    /// Reads `<path>.crt` and `<path>.key`, or makes them.
    pub(super) fn open(path: &Path, common_name: &str) -> Result<Self, PkiError> {
        let (crt, key) = (path.with_extension("crt"), path.with_extension("key"));
        let pem = match files::read(&crt)? {
            Some(pem) => pem,
            None => Self::make(&crt, &key, common_name)?,
        };
        let chain = certificates(&crt, &pem)?;
        let issuer = files::read(&key)?.map(|text| issuer(&key, &text, &chain[0])).transpose()?;
        Ok(Self { path: path.to_owned(), pem, chain, issuer })
    }

    fn make(crt: &Path, key_path: &Path, common_name: &str) -> Result<String, PkiError> {
        let what = || format!("CA {common_name}");
        // A key without a certificate is what a death between the two writes leaves.
        let key = match files::read(key_path)? {
            Some(text) => key_pair(key_path, &text)?,
            None => KeyPair::generate().map_err(|error| issue(what(), error))?,
        };
        let now = clock::unix_seconds();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial_number());
        set_validity(&mut params, now - CA_BACKDATE.as_secs() as i64, now + CA_VALIDITY.as_secs() as i64);
        let pem = params.self_signed(&key).map_err(|error| issue(what(), error))?.pem();
        files::write(key_path, key.serialize_pem().as_bytes(), files::PRIVATE)?;
        files::write(crt, pem.as_bytes(), files::PUBLIC)?;
        Ok(pem)
    }

    /// The certificates as one PEM text: `ca.crt`, `kube-root-ca.crt`, a kubeconfig's CA data.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn issuer(&self) -> Result<&Issuer<'static, KeyPair>, PkiError> {
        self.issuer.as_ref().ok_or_else(|| PkiError::NoCaKey { path: self.path.with_extension("key") })
    }

    /// Whether `certificate` carries a signature of ours.
    pub(super) fn signed(&self, certificate: &x509_parser::certificate::X509Certificate<'_>) -> bool {
        self.chain.iter().any(|ca| match x509_parser::parse_x509_certificate(ca) {
            Ok((_, ca)) => certificate.verify_signature(Some(ca.public_key())).is_ok(),
            Err(_) => false,
        })
    }
}

/// All certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path, pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let wrong = |reason: String| PkiError::Content { path: path.to_owned(), expected: "a PEM certificate", reason };
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if chain.is_empty() { Err(wrong("no certificate in it".into())) } else { Ok(chain) }
}

pub(super) fn key_pair(path: &Path, text: &str) -> Result<KeyPair, PkiError> {
    let pkcs8 = keys::pkcs8_from_pem(path, text)?;
    let wrong = |error: rcgen::Error| PkiError::Content {
        path: path.to_owned(),
        expected: "a usable private key",
        reason: error.to_string(),
    };
    KeyPair::try_from(pkcs8).map_err(wrong)
}

fn issuer(path: &Path, text: &str, ca: &CertificateDer<'static>) -> Result<Issuer<'static, KeyPair>, PkiError> {
    let key = key_pair(path, text)?;
    let crt = path.with_extension("crt");
    Issuer::from_ca_cert_der(ca, key).map_err(|error| PkiError::Content {
        path: crt,
        expected: "a CA certificate",
        reason: error.to_string(),
    })
}

/// 128 random bits, positive.
pub(super) fn serial_number() -> SerialNumber {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes[0] &= 0x7f;
    SerialNumber::from(bytes.to_vec())
}

/// Sets both ends in Unix seconds; times before 1970 become 1970.
pub(super) fn set_validity(params: &mut CertificateParams, not_before: i64, not_after: i64) {
    let date = |seconds: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.max(0) as u64);
    params.not_before = date(not_before);
    params.not_after = date(not_after);
}

pub(super) fn issue(what: String, error: rcgen::Error) -> PkiError {
    PkiError::Issue { what, reason: error.to_string() }
}
