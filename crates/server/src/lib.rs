//! The API server: one HTTP pipeline, generic over kinds.

pub mod auth;
pub mod request;
