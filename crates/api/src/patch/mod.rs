//! The three patch formats that need no ownership; server-side apply is [`crate::managed_fields`].
//!
//! Each is a pure function from the current object and the patch to the patched object, in the
//! version of the request. What comes out may still break the schema: it is decoded afterwards like
//! any object sent by a client.

mod go_format;
pub mod json;
pub mod merge;
pub mod strategic;

pub use go_format::{go_format, go_type};

#[cfg(test)]
mod tests;
