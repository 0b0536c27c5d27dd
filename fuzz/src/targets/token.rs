//! Bearer tokens.

use orlop_server::token::{Claims, jwt};

use crate::Target;

pub const TARGET: Target = Target {
    name: "token",
    corpus: None,
    seeds: &[
        b"eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIiwiZXhwIjoyMDAwMDAwMDAwLCJhdWQiOlsiYSJdfQ.AAAA",
        b"e30.e30.",
    ],
    run,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(token) = jwt::parse(text) else { return };
    if let Some(claims) = Claims::from_payload(&token.payload) {
        let _ = (claims.check_times(), claims.user(), claims.subject());
    }
    assert!(token.verify(&[]).is_err());
}
