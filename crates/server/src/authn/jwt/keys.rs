//! Public keys as issuers publish them (RFC 7517), and what they verify (RFC 7518).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orlop_api::Value;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

/// What a token may be signed with (`--oidc-signing-algs`). ES512 is missing: ring has no P-521.
pub const ALGORITHMS: [&str; 8] = ["ES256", "ES384", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// Keys of one set that are looked at.
const MAX_KEYS: usize = 256;

/// One key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    id: String,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
}

/// The keys of a set; those of kinds we do not know are left out.
pub fn of_set(set: &Value) -> Option<Vec<Key>> {
    let keys = set["keys"].as_array()?;
    Some(keys.iter().take(MAX_KEYS).filter_map(of_jwk).collect())
}

fn of_jwk(jwk: &Value) -> Option<Key> {
    if jwk["use"].as_str().is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let number = |field: &str| URL_SAFE_NO_PAD.decode(jwk[field].as_str()?).ok();
    let point = |length: usize| {
        let (x, y) = (number("x")?, number("y")?);
        (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
    };
    let material = match (jwk["kty"].as_str()?, jwk["crv"].as_str()) {
        ("RSA", _) => Material::Rsa { modulus: without_zeros(&number("n")?), exponent: without_zeros(&number("e")?) },
        ("EC", Some("P-256")) => Material::P256(point(32)?),
        ("EC", Some("P-384")) => Material::P384(point(48)?),
        _ => return None,
    };
    Some(Key { id: jwk["kid"].as_str().unwrap_or_default().to_owned(), material })
}

/// ring takes numbers in their shortest form.
fn without_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

impl Key {
    /// Whether a token that names `id` may be signed by this key.
    pub fn is_named(&self, id: &str) -> bool {
        id.is_empty() || self.id == id
    }

    pub fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { modulus, exponent } => rsa(algorithm).is_some_and(|parameters| {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature).is_ok()
            }),
            Material::P256(point) => {
                algorithm == "ES256" && verifies(&signature::ECDSA_P256_SHA256_FIXED, point, message, signature)
            }
            Material::P384(point) => {
                algorithm == "ES384" && verifies(&signature::ECDSA_P384_SHA384_FIXED, point, message, signature)
            }
        }
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn verifies(algorithm: &'static dyn VerificationAlgorithm, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
}
