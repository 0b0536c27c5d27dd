//! From what a pod says to what a shim is told.

pub mod capabilities;
mod container;
mod devices;
mod mounts;
mod process;
mod sandbox;
pub mod seccomp;

pub use container::{Places, container};
pub use process::{exec, process};
pub use sandbox::{Keep, sandbox, users};

use std::ffi::CString;

use crate::{Result, RuntimeError};

/// Text as a C string; a NUL inside is the user's mistake.
fn c_string(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text)
        .map_err(|e| RuntimeError::Start(format!("{e}: {}", String::from_utf8_lossy(&e.clone().into_vec()))))
}
