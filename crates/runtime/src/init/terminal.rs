//! Terminals, made inside the container so that `ttyname` finds them there.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;

use super::{MESSAGE_TERMINAL, Step, describe, own_fd_path, set_standard};
use crate::sys;

/// Makes a terminal, hands its master to the shim, and makes its other end the standard streams.
pub fn open(sync: &OwnedFd, uid: u32) -> Step<()> {
    let (master, terminal) = make().map_err(|e| describe("make terminal", &e))?;
    rustix::fs::fchown(&terminal, Some(Uid::from_raw(uid)), None).map_err(|e| describe("own terminal", &e.into()))?;
    sys::socket::send(sync, &[MESSAGE_TERMINAL], &[master.as_fd()]).map_err(|e| describe("hand over terminal", &e))?;
    if console_is_free() {
        bind(&terminal).map_err(|e| describe("bind /dev/console", &e))?;
    }
    sys::process::set_controlling_terminal(&terminal).map_err(|e| describe("set controlling terminal", &e))?;
    for number in 0..3 {
        set_standard(&terminal, number).map_err(|e| describe("connect standard streams", &e))?;
    }
    Ok(())
}

/// Makes the file on which the container's terminal will stand as `/dev/console`.
pub fn bind_console() -> Step<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::openat(CWD, CONSOLE, flags, Mode::from_raw_mode(0o600)) {
        // A container with the host's /dev keeps the host's console.
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(describe("make /dev/console", &errno.into())),
    }
}

const CONSOLE: &std::ffi::CStr = c"/dev/console";

/// Empty and regular only when [`bind_console`] just made it: an exec leaves the container's own alone.
fn console_is_free() -> bool {
    rustix::fs::statat(CWD, CONSOLE, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile)
}

fn bind(terminal: &OwnedFd) -> io::Result<()> {
    let tree = sys::mount::clone_tree(&own_fd_path(terminal), false)?;
    let target = rustix::fs::openat(CWD, CONSOLE, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    sys::mount::attach(tree, target)
}

fn make() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat(CWD, c"/dev/pts/ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, peer)?;
    Ok((master, terminal))
}
