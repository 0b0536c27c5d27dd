//! Terminals from an external runtime: it connects to a socket and sends the master over it
//! (opencontainers/runc, docs/terminals.md).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::sys::socket;

/// A runtime connects once.
const BACKLOG: i32 = 1;
/// The terminal's name comes with it.
const NAME_BYTES_MAX: usize = 4 << 10;

/// A listening socket in `dir`, whose own path may be longer than an address.
pub fn listen(dir: &Path, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, dir, flags, Mode::empty())?;
    let _ = rustix::fs::unlinkat(&dir, name, rustix::fs::AtFlags::empty());
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), name.to_string_lossy()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&listener, &address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// The terminal that has come.
pub fn receive(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let connection = rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let mut fds = Vec::new();
    socket::receive(&connection, &mut [0; NAME_BYTES_MAX], &mut fds)?;
    fds.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
