//! ServiceAccount tokens: signed by the cluster, bound to objects, verified on every use.
//!
//! - [`jwt`]: the compact serialization, signing and verifying.
//! - [`Claims`]: what a token says, and whether that still holds.
//! - [`Issuer`]: whose tokens, for whom; verified tokens are remembered.
//! - [`TokenRequest`] answers `serviceaccounts/token`.
//! - [`external`]: another program signs.
//! - `legacy` ones never expire and are kept in Secrets; [`tracking`] tells which are still used.
//! - [`discovery`]: how others learn to verify them.

mod claims;
pub mod discovery;
pub mod external;
mod issuer;
pub mod jwt;
mod legacy;
mod objects;
mod request;
pub mod tracking;

pub use claims::{Claims, Invalid, Reference};
pub use external::{External, ExternalError};
pub use issuer::{Authenticated, Issuer, IssuerConfig};
pub use legacy::{AUTO_GENERATED, ISSUER as LEGACY_ISSUER};
pub use request::TokenRequest;

/// Whether two secrets are the same, in a time that tells nothing of how much of them is.
pub fn same_secret(a: &[u8], b: &[u8]) -> bool {
    let digest = |bytes| ring::digest::digest(&ring::digest::SHA256, bytes);
    digest(a).as_ref() == digest(b).as_ref()
}

#[cfg(test)]
pub(crate) mod tests;
