//! Bytes: reading bodies, choosing media types, writing answers.

pub mod body;
pub mod decode;
pub mod draft;
pub(crate) mod held;
pub mod negotiate;
pub mod pieces;
pub mod raw;
pub mod respond;
pub mod shape;
