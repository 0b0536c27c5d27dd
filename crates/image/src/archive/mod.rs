//! Images as files: OCI layouts and docker archives in a tar.

mod export;
mod import;

pub use export::export;
pub use import::import;
