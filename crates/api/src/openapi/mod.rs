//! OpenAPI documents, generated from the field tables and the list of kinds.
//!
//! A document is built when first asked for; the server caches its bytes by their ETag.

pub mod v2;
pub mod v3;
