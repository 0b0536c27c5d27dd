//! What happens in a forked child until it has become the container's program. Nothing here returns to the
//! shim's loop: a step fails with a sentence that reaches the pod's status, or the program runs.

mod inside;
mod lookup;
mod process;
mod root;
mod terminal;
mod users;

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Signal;

use crate::plan::{CgroupPlan, ContainerPlan, ExecPlan, ProcessPlan, Users};
use crate::sys;

/// Kinds of messages from the child to the shim, by their first byte. Closing without an error means that the
/// program runs.
pub const MESSAGE_ERROR: u8 = b'E';
pub const MESSAGE_WARNING: u8 = b'W';
/// Carries the master of the terminal made for the program.
pub const MESSAGE_TERMINAL: u8 = b'T';

/// Another process goes on in the place of this one: its number, in digits.
pub const MESSAGE_SUCCESSOR: u8 = b'S';
/// Everything is set up; next comes the program itself.
pub const MESSAGE_READY: u8 = b'R';

/// A sentence that says what went wrong.
type Step<T> = Result<T, String>;

pub use root::mount_root;

/// Where the program's standard streams lead.
pub enum Stdio {
    /// stdin, stdout, stderr; what is absent is `/dev/null`.
    Pipes([Option<OwnedFd>; 3]),
    Terminal,
}

/// What the child needs from the shim besides the plan.
pub struct Context {
    /// Messages to the shim go here.
    pub sync: OwnedFd,
    pub stdio: Stdio,
    /// Device and inode of this program's own file, which no container may execute (CVE-2019-5736).
    pub own_exe: (u64, u64),
    /// The pod's user namespace, to begin a container in.
    pub users: Option<OwnedFd>,
}

/// The first process of a container.
pub fn container(plan: &ContainerPlan, context: Context) -> ! {
    let sync = duplicate(&context.sync);
    finish(sync.as_ref(), run_container(plan, context))
}

/// A process in a running container, whose first process `target` is open on.
pub fn exec(plan: &ExecPlan, target: &OwnedFd, context: Context) -> ! {
    let sync = duplicate(&context.sync);
    finish(sync.as_ref(), run_exec(plan, target, context))
}

fn run_container(plan: &ContainerPlan, context: Context) -> Step<Infallible> {
    begin(&plan.cgroup, &plan.process, &context.sync)?;
    rustix::process::umask(Mode::empty());
    if let (Some(users), Some(namespace)) = (&plan.users, &context.users) {
        give_streams(&context.stdio, &plan.process, users);
        process::set_limits(&plan.process.rlimits)?;
        users::build(plan, namespace, &context.sync)?;
    } else {
        sys::process::unshare(libc::CLONE_NEWCGROUP).map_err(|e| describe("create cgroup namespace", &e))?;
        root::build(&plan.root)?;
    }
    if matches!(context.stdio, Stdio::Terminal) {
        terminal::bind_console()?;
    }
    connect(context.stdio, &context.sync, &plan.process)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    process::run(&plan.process, context.own_exe, &context.sync)
}

fn run_exec(plan: &ExecPlan, target: &OwnedFd, context: Context) -> Step<Infallible> {
    begin(&plan.cgroup, &plan.process, &context.sync)?;
    let mut kinds = libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP;
    if let Some(users) = &plan.users {
        give_streams(&context.stdio, &plan.process, users);
        process::set_limits(&plan.process.rlimits)?;
        kinds |= libc::CLONE_NEWUSER;
    }
    sys::process::enter(target, kinds).map_err(|e| describe("join the container's namespaces", &e))?;
    if plan.users.is_some() {
        users::become_root()?;
    }
    connect(context.stdio, &context.sync, &plan.process)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    process::run(&plan.process, context.own_exe, &context.sync)
}

/// What is done while still outside.
fn begin(cgroup: &CgroupPlan, process: &ProcessPlan, sync: &OwnedFd) -> Step<()> {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    sys::process::reset_signals();
    join_cgroups(&cgroup.tasks).map_err(|e| describe("join cgroup", &e))?;
    rustix::process::setsid().map_err(|e| describe("start session", &e.into()))?;
    if let Some(score) = process.oom_score_adj {
        set_oom_score(score, sync)?;
    }
    Ok(())
}

/// Moves this process into v1 cgroups.
pub fn join_cgroups(tasks: &[CString]) -> io::Result<()> {
    for file in tasks {
        write_file(file, b"0")?;
    }
    Ok(())
}

pub fn write_file(path: &CString, bytes: &[u8]) -> io::Result<()> {
    let fd = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&fd, bytes)?;
    Ok(())
}

/// A score below one's own needs CAP_SYS_RESOURCE; without it the score stays and the shim is told.
fn set_oom_score(score: i32, sync: &OwnedFd) -> Step<()> {
    match write_file(&c"/proc/self/oom_score_adj".into(), score.to_string().as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            let text = format!("oom_score_adj {score} is not permitted here, left as it is");
            let _ = send(sync, MESSAGE_WARNING, &text);
            Ok(())
        }
        Err(error) => Err(describe("set oom_score_adj", &error)),
    }
}

/// The program may reopen its streams by `/dev/stdout`, which asks for permission anew. From inside a user
/// namespace they could not be given to it.
fn give_streams(stdio: &Stdio, process: &ProcessPlan, users: &Users) {
    let Stdio::Pipes(streams) = stdio else { return };
    let owner = users.first.saturating_add(process.uid);
    for stream in streams.iter().flatten() {
        let _ = rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(owner)), None);
    }
}

/// Puts the standard streams in place.
fn connect(stdio: Stdio, sync: &OwnedFd, process: &ProcessPlan) -> Step<()> {
    let streams = match stdio {
        Stdio::Terminal => return terminal::open(sync, process.uid),
        Stdio::Pipes(streams) => streams,
    };
    let null = rustix::fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| describe("open /dev/null", &e.into()))?;
    for (number, stream) in streams.iter().enumerate() {
        let source = stream.as_ref().unwrap_or(&null);
        // The program may reopen them by /dev/stdout, which asks for permission anew.
        if stream.is_some() && process.uid != 0 {
            let _ = rustix::fs::fchown(source, Some(rustix::fs::Uid::from_raw(process.uid)), None);
        }
        set_standard(source, number).map_err(|e| describe("connect standard streams", &e))?;
    }
    Ok(())
}

/// Makes `source` descriptor `number` (0, 1 or 2) of this process.
pub fn set_standard(source: impl AsFd, number: usize) -> io::Result<()> {
    match number {
        0 => rustix::stdio::dup2_stdin(source)?,
        1 => rustix::stdio::dup2_stdout(source)?,
        _ => rustix::stdio::dup2_stderr(source)?,
    }
    Ok(())
}

pub fn finish(sync: Option<&OwnedFd>, result: Step<Infallible>) -> ! {
    let Err(text) = result;
    if let Some(sync) = sync {
        let _ = send(sync, MESSAGE_ERROR, &text);
    }
    sys::process::exit_now(1)
}

pub fn send(sync: &OwnedFd, kind: u8, text: &str) -> io::Result<()> {
    let mut message = vec![kind];
    // A datagram must fit the shim's buffer.
    message.extend_from_slice(&text.as_bytes()[..text.len().min(MESSAGE_TEXT_MAX)]);
    sys::socket::send(sync, &message, &[])
}

/// Longest sentence sent to the shim.
pub const MESSAGE_TEXT_MAX: usize = 4000;

fn duplicate(fd: &OwnedFd) -> Option<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).ok()
}

/// `doing: cause`, the cause in the words users of other runtimes know.
fn describe(doing: impl std::fmt::Display, error: &io::Error) -> String {
    format!("{doing}: {}", cause(error))
}

/// `no such file or directory`: the system's words as Go prints them.
pub fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

fn own_fd_path(fd: impl AsFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).expect("digits hold no NUL")
}
