//! How others verify our tokens: OpenID discovery (`pkg/serviceaccount/openidmetadata.go`).

use http::{HeaderValue, Response, header};
use orlop_client::transport::{Body, full};
use serde_json::json;

use super::Issuer;
use crate::pki::PublicKey;

pub const CONFIG_PATH: &str = "/.well-known/openid-configuration";
pub const JWKS_PATH: &str = "/openid/v1/jwks";

/// Answers a path of discovery; `None` for all others. `external_address` is `host:port` as
/// verifiers reach this server.
pub fn answer(path: &str, issuer: &Issuer, external_address: &str) -> Option<Response<Body>> {
    let keys: Vec<PublicKey> = issuer.keys().into_iter().filter(|key| !key.is_unpublished()).collect();
    let (content_type, body) = match path {
        CONFIG_PATH => {
            let mut algorithms: Vec<&str> = keys.iter().map(|key| key.algorithm().name()).collect();
            algorithms.sort_unstable();
            algorithms.dedup();
            let jwks_uri = issuer.config().jwks_uri.clone();
            let config = json!({
                "issuer": issuer.config().issuer,
                "jwks_uri": jwks_uri.unwrap_or_else(|| format!("https://{external_address}{JWKS_PATH}")),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": algorithms,
            });
            ("application/json", config)
        }
        JWKS_PATH => {
            let keys: Vec<_> = keys.iter().map(PublicKey::to_jwk).collect();
            ("application/jwk-set+json", json!({ "keys": keys }))
        }
        _ => return None,
    };
    let mut response = Response::new(full(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let max_age = format!("public, max-age={}", issuer.max_age().as_secs());
    if let Ok(max_age) = HeaderValue::try_from(max_age) {
        response.headers_mut().insert(header::CACHE_CONTROL, max_age);
    }
    Some(response)
}
