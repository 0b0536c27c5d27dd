//! A pod's user namespace. Whoever makes the other namespaces owns them, so a child makes them all at once, and
//! this process, which stays one of the host's users, joins them.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::namespaces::pause;
use crate::plan::Users;
use crate::sys::process::{self, Cloned};

/// Makes a user namespace and in it those of `kinds`, and enters these. Answers the user namespace, and the
/// child: it goes on as the first process of a PID namespace if one is wanted, else it ends.
pub fn enter(users: &Users, kinds: libc::c_int, with_pid: bool) -> io::Result<(OwnedFd, i32)> {
    let (wait, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let pid_kind = if with_pid { libc::CLONE_NEWPID } else { 0 };
    // SAFETY: a shim has one thread.
    match unsafe { process::fork((libc::CLONE_NEWUSER | kinds | pid_kind) as u64, None)? } {
        Cloned::Child => {
            drop(go);
            hold(&wait, with_pid)
        }
        Cloned::Parent { child } => {
            drop(wait);
            let namespace = map(users, child).and_then(|()| join(child, kinds));
            // The child sees the other end close.
            drop(go);
            Ok((namespace?, child))
        }
    }
}

fn hold(wait: &OwnedFd, with_pid: bool) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::io::read(wait, &mut [0; 1]);
    if with_pid { pause() } else { process::exit_now(0) }
}

fn map(users: &Users, child: i32) -> io::Result<()> {
    let line = format!("0 {} {}\n", users.first, users.length);
    for map in ["uid_map", "gid_map"] {
        crate::init::write_file(&CString::new(format!("/proc/{child}/{map}"))?, line.as_bytes())?;
    }
    Ok(())
}

fn join(child: i32, kinds: libc::c_int) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(child).ok_or(rustix::io::Errno::SRCH)?;
    let path = CString::new(format!("/proc/{child}/ns/user"))?;
    let namespace = rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if kinds != 0 {
        process::enter(rustix::process::pidfd_open(pid, PidfdFlags::empty())?, kinds)?;
    }
    Ok(namespace)
}
