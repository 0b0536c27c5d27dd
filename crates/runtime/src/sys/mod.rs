//! System calls that rustix does not wrap, or wraps with more than is wanted here. Every `unsafe` of the
//! crate that is not a `fork` stands below this module.

pub mod bpf;
pub mod mount;
pub mod process;
pub mod socket;

use std::io;

/// The result of a raw system call: -1 means look at `errno`.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A path as the kernel takes it. Paths that came from the file system or were made here hold no NUL.
pub fn c_path(path: &std::path::Path) -> std::ffi::CString {
    std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default()
}
