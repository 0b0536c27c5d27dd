//! Private keys: reading what tools write, and the one that signs ServiceAccount tokens.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::pem::{PemObject, SectionKind};

use super::{PkiError, der, files};

/// PEM of a PKCS #8 document.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = String::new();
    // base64 is ASCII, so any cut is a character boundary.
    for line in text.as_bytes().chunks(64) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

/// Reads a private key in any of the three PEM forms as PKCS #8.
pub(super) fn pkcs8_from_pem(path: &Path, text: &str) -> Result<Vec<u8>, PkiError> {
    let wrong = |reason: &str| PkiError::Content {
        path: path.to_owned(),
        expected: "a PEM private key",
        reason: reason.to_owned(),
    };
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        match section.map_err(|error| wrong(&error.to_string()))? {
            (SectionKind::PrivateKey, key) => return Ok(key),
            (SectionKind::RsaPrivateKey, key) => return Ok(der::pkcs8_from_pkcs1(&key)),
            (SectionKind::EcPrivateKey, key) => return Ok(der::pkcs8_from_sec1(&key)),
            _ => {}
        }
    }
    Err(wrong("no private key in it"))
}

/// The key that signs ServiceAccount tokens: P-256 when we made it, RSA when a user brought one.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
    random: SystemRandom,
}

enum Pair {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// Reads `<path>.key`, or makes it and `<path>.pub`.
    pub fn open(path: &Path) -> Result<Self, PkiError> {
        let (key_path, pub_path) = (path.with_extension("key"), path.with_extension("pub"));
        if let Some(text) = files::read(&key_path)? {
            return Self::from_pem(&key_path, &text);
        }
        let issue = |reason: String| PkiError::Issue { what: "the ServiceAccount signing key".into(), reason };
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|error| issue(error.to_string()))?;
        let key = Self::from_pkcs8(pkcs8.as_ref()).map_err(issue)?;
        // The public half first: a private key that is there counts as complete.
        files::write(&pub_path, pem("PUBLIC KEY", &key.public.info).as_bytes(), files::PUBLIC)?;
        files::write(&key_path, pem("PRIVATE KEY", pkcs8.as_ref()).as_bytes(), files::PRIVATE)?;
        Ok(key)
    }

    /// Reads a key that somebody else made (`--service-account-signing-key-file`).
    pub fn read(path: &Path) -> Result<Self, PkiError> {
        let missing =
            || PkiError::Content { path: path.to_owned(), expected: "a signing key", reason: "missing".into() };
        Self::from_pem(path, &files::read(path)?.ok_or_else(missing)?)
    }

    fn from_pem(path: &Path, text: &str) -> Result<Self, PkiError> {
        Self::from_pkcs8(&pkcs8_from_pem(path, text)?).map_err(|reason| PkiError::Content {
            path: path.to_owned(),
            expected: "a signing key",
            reason,
        })
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, String> {
        let random = SystemRandom::new();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random) {
            let public = PublicKey::p256(pair.public_key().as_ref());
            return Ok(Self { pair: Pair::P256(pair), public, random });
        }
        let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|error| format!("neither P-256 nor RSA ({error})"))?;
        let public = PublicKey::rsa(pair.public_key().as_ref());
        Ok(Self { pair: Pair::Rsa(pair), public, random })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature as JWS has it: r and s in fixed width for ES256, PKCS #1 v1.5 for RS256.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) => {
                let signature = pair.sign(&self.random, message).expect("the system has randomness");
                signature.as_ref().to_vec()
            }
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &self.random, message, &mut out)
                    .expect("the buffer has the modulus' length and the system randomness");
                out
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What verifies a signature, and how it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// What ring verifies with: the point, or PKCS #1.
    raw: Vec<u8>,
    /// SubjectPublicKeyInfo.
    info: Vec<u8>,
    key_id: String,
    /// Good for tokens, but not told to others.
    unpublished: bool,
}

/// JWS signature algorithms we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    Es384,
    Rs256,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
        }
    }
}

impl PublicKey {
    fn p256(point: &[u8]) -> Self {
        Self::new(Algorithm::Es256, point, der::p256_public_key_info(point))
    }

    fn p384(point: &[u8]) -> Self {
        Self::new(Algorithm::Es384, point, der::p384_public_key_info(point))
    }

    fn rsa(pkcs1: &[u8]) -> Self {
        Self::new(Algorithm::Rs256, pkcs1, der::rsa_public_key_info(pkcs1))
    }

    fn new(algorithm: Algorithm, raw: &[u8], info: Vec<u8>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, &info);
        Self { algorithm, raw: raw.to_vec(), info, key_id: URL_SAFE_NO_PAD.encode(digest), unpublished: false }
    }

    /// As somebody else names it.
    pub fn named(self, key_id: &str, unpublished: bool) -> Self {
        Self { key_id: key_id.to_owned(), unpublished, ..self }
    }

    pub fn is_unpublished(&self) -> bool {
        self.unpublished
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Hash of the key, as `keyIDFromPublicKey` in `pkg/serviceaccount` derives it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn signature::VerificationAlgorithm = match self.algorithm {
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        };
        signature::UnparsedPublicKey::new(algorithm, &self.raw).verify(message, signature).is_ok()
    }

    /// The key as a JSON Web Key.
    pub fn to_jwk(&self) -> serde_json::Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = serde_json::json!({ "use": "sig", "kid": self.key_id, "alg": self.algorithm.name() });
        match self.algorithm {
            // The point is 04, x, y.
            Algorithm::Es256 | Algorithm::Es384 => {
                let (x, y) = self.raw[1..].split_at(self.raw.len() / 2);
                jwk["kty"] = "EC".into();
                jwk["crv"] = if self.algorithm == Algorithm::Es256 { "P-256" } else { "P-384" }.into();
                jwk["x"] = encode(x).into();
                jwk["y"] = encode(y).into();
            }
            Algorithm::Rs256 => {
                jwk["kty"] = "RSA".into();
                if let Some((n, e)) = rsa_numbers(&self.raw) {
                    jwk["n"] = encode(n).into();
                    jwk["e"] = encode(e).into();
                }
            }
        }
        jwk
    }

    /// Every key of a file to verify with: public ones, and the public halves of private ones
    /// (`--service-account-key-file`).
    pub fn read_all(path: &Path) -> Result<Vec<Self>, PkiError> {
        let wrong = |reason: String| PkiError::Content { path: path.to_owned(), expected: "public keys", reason };
        let text = files::read(path)?.ok_or_else(|| wrong("missing".into()))?;
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
            let (kind, der) = section.map_err(|error| wrong(error.to_string()))?;
            let private = match kind {
                SectionKind::PublicKey => {
                    keys.push(Self::from_info(&der).ok_or_else(|| wrong("not P-256, P-384 or RSA".into()))?);
                    continue;
                }
                SectionKind::PrivateKey => der,
                SectionKind::RsaPrivateKey => der::pkcs8_from_pkcs1(&der),
                SectionKind::EcPrivateKey => der::pkcs8_from_sec1(&der),
                _ => continue,
            };
            keys.push(SigningKey::from_pkcs8(&private).map_err(wrong)?.public);
        }
        if keys.is_empty() {
            Err(wrong("data does not contain any valid RSA or ECDSA public keys".into()))
        } else {
            Ok(keys)
        }
    }

    /// Of a SubjectPublicKeyInfo: P-256, P-384 or RSA.
    pub fn from_info(info: &[u8]) -> Option<Self> {
        use x509_parser::prelude::FromDer;
        let (_, parsed) = x509_parser::x509::SubjectPublicKeyInfo::from_der(info).ok()?;
        let raw: &[u8] = &parsed.subject_public_key.data;
        [Self::p256(raw), Self::p384(raw), Self::rsa(raw)].into_iter().find(|key| key.info == info)
    }
}

/// Modulus and exponent of a PKCS #1 public key, without leading zeros.
fn rsa_numbers(pkcs1: &[u8]) -> Option<(&[u8], &[u8])> {
    use x509_parser::prelude::FromDer;
    let (_, key) = x509_parser::public_key::RSAPublicKey::from_der(pkcs1).ok()?;
    let trim = |bytes: &'_ [u8]| bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
    Some((&key.modulus[trim(key.modulus)..], &key.exponent[trim(key.exponent)..]))
}
