//! PEM blocks of Secrets, requests and trust bundles.

use orlop_api::pem::blocks;

use crate::Target;

pub const TARGET: Target = Target {
    name: "pem",
    corpus: None,
    seeds: &[
        b"-----BEGIN CERTIFICATE-----\nk: v\n\nMIIB\nAAA=\n-----END CERTIFICATE-----\n",
        b"x\n-----BEGIN A-----\n-----END A-----",
    ],
    run,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(blocks(text).count() <= text.len());
}
