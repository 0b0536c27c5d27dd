//! Who asks for a pod's certificate must have the key it is for
//! (`pkg/apis/certificates/validation`, `ValidatePodCertificateRequestCreate`).
//!
//! ring knows no P-521, and of RSA-PSS only signatures whose salt is as long as their hash: keys of that curve, and
//! proofs that Go makes with RSA, are refused as proofs that do not hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_api::Value;
use orlop_api::field::{ErrorList, ErrorType, Path};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Extension, Hooks};
use crate::Server;

/// Of a key, a proof, a request.
const MAX_BYTES: usize = 10 * 1024;
const RSA_BITS: [usize; 2] = [3072, 4096];

const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
const UNKNOWN: &str = "unknown public key type; supported types are Ed25519, ECDSA, and RSA";
const UNPROVEN: &str = "could not verify proof-of-possession signature";

pub fn extension() -> Extension {
    Extension::new("certificates.k8s.io/podcertificaterequests").hooks(Requests)
}

struct Requests;

impl Hooks for Requests {
    /// What was asked for never changes.
    fn validate(&self, _: &Server, request: &Value, old: Option<&Value>) -> ErrorList {
        let mut errors = ErrorList::default();
        if old.is_none() {
            check(&request["spec"], &mut errors);
        }
        errors
    }
}

fn check(spec: &Value, errors: &mut ErrorList) {
    let bytes = |field: &str| STANDARD.decode(spec[field].as_str().unwrap_or_default()).unwrap_or_default();
    let path = Path::new("spec");
    let request = bytes("stubPKCS10Request");
    if !request.is_empty() {
        return check_request(&request, &path.child("stubPKCS10Request"), errors);
    }
    let (key, proof) = (bytes("pkixPublicKey"), bytes("proofOfPossession"));
    let uid = spec["podUID"].as_str().unwrap_or_default();
    check_proof(&key, &proof, uid, &path, errors);
}

fn check_request(der: &[u8], path: &Path<'_>, errors: &mut ErrorList) {
    if der.len() > MAX_BYTES {
        return errors.too_long(path, MAX_BYTES);
    }
    let Ok((_, request)) = X509CertificationRequest::from_der(der) else {
        return errors.shown(ErrorType::Invalid, path, "must be a valid PKCS#10 CSR", "");
    };
    let (_, wrong) = kind_of(&request.certification_request_info.subject_pki);
    match wrong {
        Some(Wrong::Size(bits)) => errors.invalid(path, bits, "RSA keys must have modulus size 3072 or 4096"),
        Some(Wrong::Curve(curve)) => {
            errors.invalid(path, curve, "elliptic public keys must use curve P256, P384, or P521");
        }
        Some(Wrong::Type) => errors.shown(ErrorType::Invalid, path, UNKNOWN, ""),
        None if request.verify_signature().is_err() => {
            errors.shown(ErrorType::Invalid, path, "invalid signature", "");
        }
        None => {}
    }
}

/// The old way: a signature of the pod's uid.
fn check_proof(der: &[u8], proof: &[u8], uid: &str, spec: &Path<'_>, errors: &mut ErrorList) {
    let (key_path, proof_path) = (spec.child("pkixPublicKey"), spec.child("proofOfPossession"));
    for (bytes, path) in [(der, &key_path), (proof, &proof_path)] {
        if bytes.len() > MAX_BYTES {
            return errors.too_long(path, MAX_BYTES);
        }
    }
    let shown = STANDARD.encode(der);
    let Ok((_, key)) = SubjectPublicKeyInfo::from_der(der) else {
        return errors.invalid(&key_path, shown, "must be a valid PKIX-serialized public key");
    };
    let (algorithm, wrong) = kind_of(&key);
    let proves = |algorithm: &'static dyn VerificationAlgorithm| {
        UnparsedPublicKey::new(algorithm, &key.subject_public_key.data).verify(uid.as_bytes(), proof).is_ok()
    };
    match wrong {
        Some(Wrong::Size(bits)) => errors.invalid(&key_path, bits, "RSA keys must have modulus size 3072 or 4096"),
        Some(Wrong::Curve(curve)) => {
            errors.invalid(&key_path, curve, "elliptic public keys must use curve P256 or P384");
        }
        Some(Wrong::Type) => errors.invalid(&key_path, shown, UNKNOWN),
        None if algorithm.is_some_and(proves) => {}
        None => errors.shown(ErrorType::Invalid, &proof_path, UNPROVEN, ""),
    }
}

/// What is wrong with a key.
enum Wrong {
    Size(String),
    Curve(String),
    Type,
}

/// How signatures of a pod's uid by this key are verified, if ring can.
fn kind_of(key: &SubjectPublicKeyInfo<'_>) -> (Option<&'static dyn VerificationAlgorithm>, Option<Wrong>) {
    match (&*key.algorithm.algorithm.to_id_string(), key.parsed()) {
        (ED25519, _) => (Some(&signature::ED25519), None),
        (_, Ok(PublicKey::RSA(rsa))) => {
            let bits = rsa.key_size();
            let wrong = (!RSA_BITS.contains(&bits)).then(|| Wrong::Size(format!("{bits}-bit modulus")));
            (Some(&signature::RSA_PSS_2048_8192_SHA256), wrong)
        }
        (EC, _) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            match &*curve.map(|oid| oid.to_id_string()).unwrap_or_default() {
                "1.2.840.10045.3.1.7" => (Some(&signature::ECDSA_P256_SHA256_ASN1), None),
                "1.3.132.0.34" => (Some(&signature::ECDSA_P384_SHA256_ASN1), None),
                "1.3.132.0.35" => (None, None),
                "1.3.132.0.33" => (None, Some(Wrong::Curve("curve P-224".to_owned()))),
                _ => (None, Some(Wrong::Type)),
            }
        }
        _ => (None, Some(Wrong::Type)),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, SigningKey as _};
    use serde_json::json;

    use super::*;

    fn errors(spec: Value) -> String {
        let mut errors = ErrorList::default();
        check(&spec, &mut errors);
        if errors.is_empty() { String::new() } else { errors.aggregate() }
    }

    #[test]
    fn requests_are_signed_by_their_keys() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let pair = KeyPair::generate_for(algorithm).expect("a key");
            let mut der = CertificateParams::default().serialize_request(&pair).expect("a request").der().to_vec();
            assert_eq!(errors(json!({"stubPKCS10Request": STANDARD.encode(&der)})), "");
            *der.last_mut().expect("it is long") ^= 1;
            let refused = errors(json!({"stubPKCS10Request": STANDARD.encode(&der)}));
            assert_eq!(refused, "spec.stubPKCS10Request: Invalid value: invalid signature");
        }
        let refused = errors(json!({"stubPKCS10Request": STANDARD.encode(b"nothing")}));
        assert_eq!(refused, "spec.stubPKCS10Request: Invalid value: must be a valid PKCS#10 CSR");
    }

    #[test]
    fn proofs_sign_the_pods_uid() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
            let pair = KeyPair::generate_for(algorithm).expect("a key");
            let proof = STANDARD.encode(pair.sign(b"uid").expect("signed"));
            let key = STANDARD.encode(pair.subject_public_key_info());
            let spec = |uid: &str| json!({"podUID": uid, "pkixPublicKey": key, "proofOfPossession": proof});
            assert_eq!(errors(spec("uid")), "");
            assert_eq!(errors(spec("other")), format!("spec.proofOfPossession: Invalid value: {UNPROVEN}"));
        }
        let refused = errors(json!({"podUID": "u", "pkixPublicKey": "YQ==", "proofOfPossession": "YQ=="}));
        assert_eq!(refused, "spec.pkixPublicKey: Invalid value: \"YQ==\": must be a valid PKIX-serialized public key");
    }
}
