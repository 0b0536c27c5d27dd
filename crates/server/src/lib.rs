//! The API server: one HTTP pipeline, generic over kinds.
//!
//! A request becomes a [`call::Call`]: parsed ([`request`]), authenticated and authorized
//! ([`auth`], `pipeline`), bound to a [`resource::Resource`] (a kind in one served version). The
//! generic verbs (`verbs`) do the rest from the kind's data and hooks. Two lists hold what is not
//! generic: [`extend`] (subresources, virtual kinds and allocators that need the server) and
//! [`admission`] (one file per plugin, in upstream's order).
//!
//! Invariants: no handler knows a kind by name outside those two lists; an object is parsed once
//! and encoded once per write; lists and watches copy stored bytes.

mod server;

pub mod auth;
pub mod call;
pub mod request;
pub mod resource;

mod filter;
mod memo;
mod options;
mod pipeline;
mod verbs;

pub mod admission;
pub mod audit;
pub mod extend;
mod services;

pub mod authn;
pub mod authz;
pub mod connect;
pub mod pki;
pub mod review;
mod security;
pub mod token;

mod aggregation;
mod bootstrap;
mod custom;
mod discovery;
pub mod encryption;
mod events;
mod features;
mod flow;
pub mod health;
mod listen;
mod metrics;
mod observe;
mod pages;
pub mod trace;
mod transport;
pub mod wire;

pub use features::Features;
pub use filter::field_terms;
pub use security::{Security, SecurityConfig};
pub use server::{Limits, PathHandler, Server, ServerConfig};
pub use services::ServiceConfig;
pub use transport::Component;
