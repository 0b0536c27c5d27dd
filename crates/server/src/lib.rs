//! The API server: one HTTP pipeline, generic over kinds.
//!
//! A request becomes a [`call::Call`]: parsed ([`request`]), authenticated and authorized
//! ([`auth`]), bound to a [`resource::Resource`] (a kind in one served version). The generic verbs
//! do the rest from the kind's data and hooks. Two lists hold what is not generic:
//! [`extend`] (subresources, virtual kinds and allocators that need the server) and
//! [`admission`] (one file per plugin, in upstream's order).
//!
//! Invariants: no handler knows a kind by name outside those two lists; an object is parsed once
//! and encoded once per write; lists and watches copy stored bytes.

pub mod admission;
pub mod auth;
pub mod authz;
pub mod call;
pub mod extend;
pub mod pki;
pub mod request;
pub mod resource;
mod server;

pub use server::{Server, ServerConfig};
