//! A container whose users are not the host's. What only the host's root may do is done first: copying mounts,
//! translating their owners, putting the layers together. The rest is done inside, by the container's root.

use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Uid};
use rustix::process::Signal;

use super::root;
use super::{MESSAGE_SUCCESSOR, Step, describe, send};
use crate::plan::{ContainerPlan, PidNamespace};
use crate::sys::process::{self, Cloned};

/// Enters `namespace` and the root file system. With a PID namespace of its own the container goes on in
/// another process, and this one ends.
pub fn build(plan: &ContainerPlan, namespace: &OwnedFd, sync: &OwnedFd) -> Step<()> {
    let prepared = root::prepare(&plan.root, namespace)?;
    process::enter(namespace, libc::CLONE_NEWUSER).map_err(|e| describe("join user namespace", &e))?;
    if plan.pid == PidNamespace::Own {
        succeed(sync)?;
    }
    process::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP)
        .map_err(|e| describe("create mount and cgroup namespaces", &e))?;
    root::build_inside(&plan.root, prepared)
}

/// Forks the first process of a new PID namespace as a sibling, so that the shim is its parent.
fn succeed(sync: &OwnedFd) -> Step<()> {
    let flags = (libc::CLONE_NEWPID | libc::CLONE_PARENT) as u64;
    // SAFETY: this process was forked from one that has one thread.
    match unsafe { process::fork(flags, None) }.map_err(|e| describe("create PID namespace", &e))? {
        Cloned::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            rustix::process::setsid().map(drop).map_err(|e| describe("start session", &e.into()))
        }
        Cloned::Parent { child } => {
            let _ = send(sync, MESSAGE_SUCCESSOR, &child.to_string());
            process::exit_now(0)
        }
    }
}

/// From the host's root, who is nobody here, to this namespace's own.
pub fn become_root() -> Step<()> {
    let doing = |e: rustix::io::Errno| describe("become root of the user namespace", &e.into());
    rustix::thread::set_thread_groups(&[]).map_err(doing)?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(doing)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(doing)
}
