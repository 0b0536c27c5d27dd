//! JSON Web Tokens in the compact form (RFC 7515, 7519), as far as ServiceAccounts use them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::pki::{PublicKey, SigningKey};

/// No token of ours comes near; longer ones are not looked at.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token taken apart, nothing verified.
#[derive(Debug)]
pub struct Parsed<'a> {
    signed: &'a str,
    header: Header,
    pub payload: Value,
    signature: Vec<u8>,
}

#[derive(Debug, Default, Deserialize)]
struct Header {
    #[serde(default)]
    alg: String,
    #[serde(default)]
    kid: String,
}

/// A token whose signature says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("invalid signature, no keys found")]
    NoKey,
    #[error("go-jose/go-jose: error in cryptographic primitive")]
    Wrong,
}

/// Takes a token apart; `None` for what is not one.
pub fn parse(token: &str) -> Option<Parsed<'_>> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    if payload.contains('.') {
        return None;
    }
    let header = serde_json::from_slice(&decode(header)?).ok()?;
    let payload = serde_json::from_slice(&decode(payload)?).ok()?;
    Some(Parsed { signed, header, payload, signature: decode(signature)? })
}

impl Parsed<'_> {
    /// `alg` and `kid` of the header, as the token has them.
    pub fn header(&self) -> (&str, &str) {
        (&self.header.alg, &self.header.kid)
    }

    /// What is signed, and the signature.
    pub fn signature(&self) -> (&[u8], &[u8]) {
        (self.signed.as_bytes(), &self.signature)
    }

    /// Checks the signature with the key the token names, or with each when it names none.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<(), SignatureError> {
        let kid = &self.header.kid;
        let mut named = keys.iter().filter(|key| kid.is_empty() || key.key_id() == kid).peekable();
        if named.peek().is_none() {
            return Err(SignatureError::NoKey);
        }
        let verifies = |key: &PublicKey| {
            // The key decides the algorithm; the header may only agree.
            key.algorithm().name() == self.header.alg && key.verifies(self.signed.as_bytes(), &self.signature)
        };
        if named.any(verifies) { Ok(()) } else { Err(SignatureError::Wrong) }
    }
}

/// Signs a payload.
pub fn sign(key: &SigningKey, payload: &Value) -> String {
    let public = key.public();
    let header = format!(r#"{{"alg":"{}","kid":"{}"}}"#, public.algorithm().name(), public.key_id());
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload.to_string(), &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_token_is_none() {
        for text in ["", ".", "..", "a.b.c", "e30.e30", "e30.e30.e30.e30", "e30.e30.=", "bm90.anNvbg.eA"] {
            assert!(parse(text).is_none(), "{text:?}");
        }
        assert!(parse("e30.e30.").is_some(), "empty header, payload and signature are well-formed");
        assert!(parse(&format!("e30.e30.{}", "e".repeat(MAX_TOKEN_BYTES))).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_total(text in ".{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_parts_are_total(header in any::<Vec<u8>>(), payload in any::<Vec<u8>>(), signature in any::<Vec<u8>>()) {
            let text = [header, payload, signature].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
            if let Some(parsed) = parse(&text) {
                prop_assert_eq!(parsed.verify(&[]), Err(SignatureError::NoKey));
            }
        }
    }
}
