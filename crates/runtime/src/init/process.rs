//! Becoming the container's user with the container's rights, and executing its program.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::inside::{self, Make};
use super::{MESSAGE_READY, Step, cause, describe, lookup};
use crate::plan::ProcessPlan;
use crate::sys;

/// Capabilities known to any kernel so far and the next ones (`CAP_LAST_CAP` is 40 today).
const CAPABILITIES_MAX: u32 = 64;

pub fn run(plan: &ProcessPlan, own_exe: (u64, u64), sync: &OwnedFd) -> Step<Infallible> {
    let env = with_home(plan);
    set_limits(&plan.rlimits)?;
    let entered = enter_directory(&plan.cwd);
    drop_bounding(plan.capabilities)?;
    become_user(plan)?;
    if let Err(error) = entered {
        // Root may be locked out where the user is not, on a network file system.
        rustix::process::chdir(&plan.cwd).map_err(|_| error)?;
    }
    check_inside(&plan.cwd)?;
    let name = plan.args.first().ok_or("no command given")?;
    let program = lookup::find(name, &env, own_exe)?;
    // Changing the user cleared it.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    sys::process::close_on_exec_from(3).map_err(|e| describe("close descriptors", &e))?;
    sys::socket::send(sync, &[MESSAGE_READY], &[]).map_err(|e| describe("tell the shim", &e))?;
    restrict(plan)?;
    let error = sys::process::exec(&program, &plan.args, &env);
    Err(format!("exec {}: {}", program.to_string_lossy(), cause(&error)))
}

pub fn set_limits(limits: &[(u32, (u64, u64))]) -> Step<()> {
    for (resource, (soft, hard)) in limits {
        sys::process::set_limit(*resource, *soft, *hard)
            .map_err(|e| describe(format!("set resource limit {resource}"), &e))?;
    }
    Ok(())
}

/// Changes to the working directory, made if absent.
fn enter_directory(cwd: &CStr) -> Step<()> {
    let enter = || -> io::Result<()> {
        match rustix::process::chdir(cwd) {
            Err(Errno::NOENT) => {}
            result => return Ok(result?),
        }
        let root = rustix::fs::openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        inside::ensure(root, cwd, Make::Directory)?;
        Ok(rustix::process::chdir(cwd)?)
    };
    enter().map_err(|e| describe(format!("chdir to cwd (\"{}\")", cwd.to_string_lossy()), &e))
}

/// A path like /proc/self/fd/7 may have led to a directory of the host (CVE-2024-21626).
fn check_inside(cwd: &CStr) -> Step<()> {
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.to_bytes().starts_with(b"/") => Ok(()),
        _ => Err(format!(
            "chdir to cwd (\"{}\"): current working directory is outside of container",
            cwd.to_string_lossy()
        )),
    }
}

fn drop_bounding(keep: u64) -> Step<()> {
    for number in (0..CAPABILITIES_MAX).filter(|n| keep & (1 << n) == 0) {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            // Past the last one this kernel knows.
            Err(Errno::INVAL) => break,
            result => result.map_err(|e| describe("drop capabilities", &e.into()))?,
        }
    }
    Ok(())
}

fn become_user(plan: &ProcessPlan) -> Step<()> {
    let doing = |what: &'static str| move |e: Errno| describe(what, &e.into());
    rustix::thread::set_keep_capabilities(true).map_err(doing("keep capabilities"))?;
    let groups: Vec<Gid> = plan.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups).map_err(doing("set supplementary groups"))?;
    let gid = Gid::from_raw(plan.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(doing("set group"))?;
    let uid = Uid::from_raw(plan.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(doing("set user"))
}

/// The last steps: what remains is to execute. A filter without `no_new_privs` needs CAP_SYS_ADMIN, so it
/// comes before that goes; with it, the filter comes last and need not allow for setting capabilities.
fn restrict(plan: &ProcessPlan) -> Step<()> {
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(|e| describe("set no_new_privs", &e.into()))?;
        set_capabilities(plan)?;
        return load_filter(plan);
    }
    if !plan.seccomp.is_empty() {
        let mut sets = current_capabilities()?;
        sets.effective = sets.permitted;
        rustix::thread::set_capabilities(None, sets).map_err(|e| describe("raise capabilities", &e.into()))?;
        load_filter(plan)?;
    }
    set_capabilities(plan)
}

fn load_filter(plan: &ProcessPlan) -> Step<()> {
    if plan.seccomp.is_empty() {
        return Ok(());
    }
    sys::process::set_seccomp(&plan.seccomp).map_err(|e| describe("load seccomp filter", &e))
}

/// Root executes with the container's capabilities; anyone else with none, as nothing is inheritable or
/// ambient, and so looks at the program's file with none, too.
fn set_capabilities(plan: &ProcessPlan) -> Step<()> {
    let _ = rustix::thread::clear_ambient_capability_set();
    let granted =
        if plan.uid == 0 { CapabilitySet::from_bits_retain(plan.capabilities) } else { CapabilitySet::empty() };
    let granted = granted & current_capabilities()?.permitted;
    let sets = CapabilitySets { effective: granted, permitted: granted, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(|e| describe("set capabilities", &e.into()))
}

fn current_capabilities() -> Step<CapabilitySets> {
    rustix::thread::capabilities(None).map_err(|e| describe("read capabilities", &e.into()))
}

/// `HOME` from the container's passwd file unless the environment has it.
fn with_home(plan: &ProcessPlan) -> Vec<CString> {
    let mut env = plan.env.clone();
    if !env.iter().any(|var| var.to_bytes().starts_with(b"HOME=")) {
        let home = home_of(plan.uid).unwrap_or_else(|| "/".into());
        env.extend(CString::new(format!("HOME={home}")));
    }
    env
}

fn home_of(uid: u32) -> Option<String> {
    let file = std::fs::File::open("/etc/passwd").ok()?;
    for line in BufReader::with_capacity(1024, file).lines() {
        let line = line.ok()?;
        let mut fields = line.split(':').skip(2);
        if fields.next().and_then(|field| field.parse().ok()) == Some(uid) {
            return fields.nth(2).map(str::to_owned).filter(|home| !home.is_empty());
        }
    }
    None
}
