//! ServiceAccount tokens: signed by the cluster, bound to objects, verified on every use.
//!
//! - [`jwt`]: the compact serialization, signing and verifying.
//! - [`Claims`]: what a token says, and whether that still holds.
//! - [`Issuer`]: whose tokens, for whom; verified tokens are remembered.
//! - [`TokenRequest`] answers `serviceaccounts/token`.
//! - [`discovery`]: how others learn to verify them.

mod claims;
pub mod discovery;
mod issuer;
pub mod jwt;
mod objects;
mod request;

pub use claims::{Claims, Invalid, Reference};
pub use issuer::{Authenticated, Issuer, IssuerConfig};
pub use request::TokenRequest;

#[cfg(test)]
pub(crate) mod tests;
