//! The pod's namespaces: this process enters them, and so every container is born in them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Signal;

use super::state::Shim;
use super::user;
use crate::init::{cause, join_cgroups, write_file};
use crate::plan::{CgroupPlan, SandboxPlan, Users};
use crate::protocol;
use crate::sys::mount;
use crate::sys::process::{self, Cloned};

impl Shim {
    pub fn begin(&mut self, fds: Vec<OwnedFd>) -> Result<(), String> {
        let plan = fds.into_iter().next().ok_or("no plan came with the request")?;
        let plan: SandboxPlan = protocol::read_plan(plan).map_err(|e| cause(&e))?;
        if self.begun {
            return Err("the sandbox has begun already".into());
        }
        self.begun = true;
        let _ = process_title(&plan.id);
        let doing = |what: &'static str| move |e: io::Error| format!("{what}: {}", cause(&e));
        join(&plan.cgroup).map_err(doing("join the shims' cgroup"))?;
        let holder = self.enter(&plan).map_err(doing("create namespaces"))?;
        for (path, value) in &plan.sysctls {
            write_file(path, value.as_bytes())
                .map_err(|e| format!("set sysctl {}={value}: {}", path.to_string_lossy(), cause(&e)))?;
        }
        if let Some(target) = &plan.netns {
            rustix::mount::mount_bind(c"/proc/self/ns/net", target)
                .map_err(|e| doing("keep the network namespace")(e.into()))?;
        }
        if let Some(target) = &plan.shm {
            mount_shm(target, plan.users.as_ref()).map_err(doing("mount /dev/shm"))?;
        }
        if plan.share_pid {
            let doing = doing("create the pod's PID namespace");
            self.pod_pid_namespace = Some(start_pause(holder, plan.pidns.as_deref()).map_err(doing)?);
        }
        // Reading the plan was the largest thing so far and is over.
        drop(plan);
        process::trim_heap();
        Ok(())
    }
}

fn join(cgroup: &CgroupPlan) -> io::Result<()> {
    join_cgroups(&cgroup.tasks)?;
    if let Some(dir) = &cgroup.unified {
        let mut path = dir.clone().into_bytes();
        path.extend_from_slice(b"/cgroup.procs");
        write_file(&CString::new(path)?, b"0")?;
    }
    Ok(())
}

impl Shim {
    /// Answers the first process of the pod's PID namespace, if there is one already.
    fn enter(&mut self, plan: &SandboxPlan) -> io::Result<Option<i32>> {
        let mut kinds = 0;
        if !plan.host_network {
            // A pod with the host's network has the host's name, too.
            kinds |= libc::CLONE_NEWNET | libc::CLONE_NEWUTS;
        }
        if !plan.host_ipc {
            kinds |= libc::CLONE_NEWIPC;
        }
        let mut holder = None;
        if let Some(users) = &plan.users {
            let (namespace, pid) = user::enter(users, kinds, plan.share_pid)?;
            self.user_namespace = Some(namespace);
            holder = plan.share_pid.then_some(pid);
        } else if kinds != 0 {
            process::unshare(kinds)?;
        }
        if !plan.host_network {
            process::set_hostname(&plan.hostname)?;
            process::loopback_up()?;
        }
        Ok(holder)
    }
}

/// The size is containerd's and docker's default.
fn mount_shm(target: &CStr, users: Option<&Users>) -> io::Result<()> {
    let owner = CString::new(users.map_or(0, |users| users.first).to_string())?;
    let owner = owner.as_c_str();
    let options = [(c"mode", Some(c"1777")), (c"size", Some(c"65536k")), (c"uid", Some(owner)), (c"gid", Some(owner))];
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let shm = mount::new_filesystem(c"tmpfs", options, attributes as u32)?;
    mount::attach(shm, rustix::fs::openat(CWD, target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)?;
    // Copies in containers must not follow what happens to it here.
    rustix::mount::mount_change(target, rustix::mount::MountPropagationFlags::PRIVATE)?;
    Ok(())
}

/// Forks the first process of the pod's PID namespace, unless it was `started` with the user namespace: it reaps
/// orphans and does nothing else.
///
/// The namespace is kept at `target` too, for runtimes that take it by name.
fn start_pause(started: Option<i32>, target: Option<&CStr>) -> io::Result<OwnedFd> {
    let child = match started {
        Some(pid) => pid,
        // SAFETY: a shim has one thread.
        None => match unsafe { process::fork(libc::CLONE_NEWPID as u64, None)? } {
            Cloned::Child => pause(),
            Cloned::Parent { child } => child,
        },
    };
    let path = CString::new(format!("/proc/{child}/ns/pid"))?;
    if let Some(target) = target {
        rustix::mount::mount_bind(&path, target)?;
    }
    Ok(rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

pub fn pause() -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::thread::set_name(c"pause");
    let _ = rustix::process::setsid();
    process::close_all();
    let Ok(signals) = process::child_signals_blocking() else { process::exit_now(1) };
    let mut scratch = [0; 128];
    loop {
        let _ = rustix::io::read(&signals, &mut scratch);
        while process::reap().is_some() {}
    }
}

/// Shows which pod this is in the process list's short name: the first letters of its id.
fn process_title(id: &str) -> io::Result<()> {
    let short: String = id.chars().take(8).collect();
    Ok(rustix::thread::set_name(&CString::new(format!("shim-{short}"))?)?)
}
