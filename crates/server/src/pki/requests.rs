//! Signing what others ask for: certificate requests that somebody approved
//! (`pkg/controller/certificates/authority/policies.go`).

use std::time::Duration;

use orlop_base::clock;
use rcgen::{
    CertificateSigningRequestParams, DistinguishedName, ExtendedKeyUsagePurpose as Extended, IsCa,
    KeyUsagePurpose as Basic, SigningKey as _,
};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::authority::{self, Authority};
use super::{PkiError, der};

/// How far before now a certificate starts, for peers whose clock is behind.
const BACKDATE: Duration = Duration::from_mins(5);
/// Shorter ones get all the time that was asked for, on top of what they are backdated.
const SHORT: Duration = Duration::from_hours(8);

impl Authority {
    /// A certificate, in PEM, of a request in PEM: its subject, names and key, with these usages, for so long.
    pub fn sign_request(&self, pem: &[u8], usages: &[String], duration: Duration) -> Result<Vec<u8>, PkiError> {
        let failed = |reason: String| PkiError::Issue { what: "a requested certificate".to_owned(), reason };
        let request = CertificateSigningRequestDer::from_pem_slice(pem).map_err(|error| failed(error.to_string()))?;
        let mut signable =
            CertificateSigningRequestParams::from_der(&request).map_err(|error| failed(error.to_string()))?;
        let params = &mut signable.params;
        (params.key_usages, params.extended_key_usages) = purposes(usages).map_err(failed)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.serial_number = Some(authority::serial_number());
        params.use_authority_key_identifier_extension = true;
        let (now, end) = (clock::unix_seconds(), self.ends_at()?);
        if end <= now {
            return Err(failed(format!("the signer has expired: NotAfter={}", clock::format_seconds(end))));
        }
        let backdate = BACKDATE.as_secs() as i64;
        let shortened = if duration < SHORT { 0 } else { backdate };
        authority::set_validity(params, now - backdate, end.min(now + duration.as_secs() as i64 - shortened));
        // A subject may name a type more than once, as groups are; what is known of one here may not.
        params.distinguished_name = DistinguishedName::new();
        let certificate = signable.signed_by(self.issuer()?).map_err(|error| failed(error.to_string()))?;
        let certificate = self.with_subject(certificate.der(), &request)?;
        Ok(pem_of(&certificate))
    }

    /// The certificate signed anew for the request's subject, byte for byte.
    fn with_subject(&self, certificate: &[u8], request: &[u8]) -> Result<Vec<u8>, PkiError> {
        let failed = |reason: String| PkiError::Issue { what: "a requested certificate".to_owned(), reason };
        let (_, made) = x509_parser::parse_x509_certificate(certificate).map_err(|error| failed(error.to_string()))?;
        let (_, asked) = X509CertificationRequest::from_der(request).map_err(|error| failed(error.to_string()))?;
        let fields = der::content(made.tbs_certificate.as_ref());
        let own = made.tbs_certificate.subject.as_raw();
        let start = own.as_ptr() as usize - fields.as_ptr() as usize;
        let subject = asked.certification_request_info.subject.as_raw();
        let signed = der::sequence(&[&fields[..start], subject, &fields[start + own.len()..]]);
        let after = &der::content(certificate)[made.tbs_certificate.as_ref().len()..];
        let algorithm = &after[..after.len() - der::after_first(after).len()];
        let signature = self.issuer()?.key().sign(&signed).map_err(|error| failed(error.to_string()))?;
        Ok(der::sequence(&[&signed, algorithm, &der::bits(&signature)]))
    }

    /// Unix seconds.
    fn ends_at(&self) -> Result<i64, PkiError> {
        let read = x509_parser::parse_x509_certificate(&self.certificates()[0]);
        let (_, ca) = read
            .map_err(|error| PkiError::Issue { what: "a requested certificate".into(), reason: error.to_string() })?;
        Ok(ca.validity().not_after.timestamp())
    }
}

fn purposes(usages: &[String]) -> Result<(Vec<Basic>, Vec<Extended>), String> {
    let (mut basic, mut extended, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for usage in usages {
        match usage.as_str() {
            "signing" | "digital signature" => basic.push(Basic::DigitalSignature),
            "content commitment" => basic.push(Basic::ContentCommitment),
            "key encipherment" => basic.push(Basic::KeyEncipherment),
            "key agreement" => basic.push(Basic::KeyAgreement),
            "data encipherment" => basic.push(Basic::DataEncipherment),
            "cert sign" => basic.push(Basic::KeyCertSign),
            "crl sign" => basic.push(Basic::CrlSign),
            "encipher only" => basic.push(Basic::EncipherOnly),
            "decipher only" => basic.push(Basic::DecipherOnly),
            "any" => extended.push(Extended::Any),
            "server auth" => extended.push(Extended::ServerAuth),
            "client auth" => extended.push(Extended::ClientAuth),
            "code signing" => extended.push(Extended::CodeSigning),
            "email protection" | "s/mime" => extended.push(Extended::EmailProtection),
            "timestamping" => extended.push(Extended::TimeStamping),
            "ocsp signing" => extended.push(Extended::OcspSigning),
            "ipsec end system" => extended.push(Extended::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 5])),
            "ipsec tunnel" => extended.push(Extended::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 6])),
            "ipsec user" => extended.push(Extended::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 7])),
            "microsoft sgc" => extended.push(Extended::Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 3])),
            "netscape sgc" => extended.push(Extended::Other(vec![2, 16, 840, 1, 113_730, 4, 1])),
            other => unknown.push(format!("{other:?}")),
        }
    }
    basic.dedup();
    extended.dedup();
    if unknown.is_empty() {
        Ok((basic, extended))
    } else {
        Err(format!("unrecognized usage values: [{}]", unknown.join(" ")))
    }
}

/// Lines of 64 characters, as everybody writes PEM.
fn pem_of(certificate: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in text.as_bytes().chunks(64) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    /// Of CN=ann, O=devs.
    fn request() -> String {
        let mut params = CertificateParams::new(vec!["ann.example.com".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "devs");
        params.distinguished_name.push(DnType::CommonName, "ann");
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    #[test]
    fn a_request_becomes_a_certificate_of_its_subject() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::open(&dir.path().join("ca"), "kubernetes").unwrap();
        let usages = ["digital signature".to_owned(), "client auth".to_owned()];
        let pem = ca.sign_request(request().as_bytes(), &usages, Duration::from_hours(1)).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        let certificate = block.parse_x509().unwrap();
        assert!(ca.signed(&certificate));
        assert_eq!(certificate.subject().to_string(), "O=devs, CN=ann");
        assert!(!certificate.is_ca());
        assert!(certificate.extended_key_usage().unwrap().unwrap().value.client_auth);
        assert_eq!(certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
        let validity = certificate.validity();
        assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 3600 + 300);
        let odd = ca.sign_request(request().as_bytes(), &["flying".to_owned()], Duration::from_hours(1));
        assert!(odd.unwrap_err().to_string().contains("unrecognized usage values: [\"flying\"]"));
    }
}
