//! Making processes and changing what they may do.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::check;

/// `linux/sched.h`; libc's constant does not fit its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What `clone3` said, on either side.
pub enum Cloned {
    Parent { child: i32 },
    Child,
}

/// Forks with `flags`, into the cgroup `cgroup` when given.
///
/// # Safety
/// The caller is the only thread of its process: the child gets a copy of memory in which locks held by
/// other threads would stay locked for ever.
pub unsafe fn fork(flags: u64, cgroup: Option<&OwnedFd>) -> io::Result<Cloned> {
    // SAFETY: zeroes are a valid value of every field.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    // A sibling takes after this process.
    args.exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the structure has its true size; without CLONE_VM the child runs on a copy of this stack.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    Ok(match check(result)? {
        0 => Cloned::Child,
        child => Cloned::Parent { child: child as i32 },
    })
}

/// `unshare(2)` of namespaces.
pub fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointers; namespaces only, so descriptors stay shared as they are.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// `setns(2)`: a namespace descriptor, or a pidfd with the kinds wanted.
pub fn enter(namespace: impl AsFd, kinds: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setns(namespace.as_fd().as_raw_fd(), kinds) }.into()).map(drop)
}

/// Blocks every signal and returns a descriptor on which SIGCHLD is read, without waiting.
pub fn child_signals() -> io::Result<OwnedFd> {
    signal_descriptor(libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
}

/// As [`child_signals`], waiting.
pub fn child_signals_blocking() -> io::Result<OwnedFd> {
    signal_descriptor(libc::SFD_CLOEXEC)
}

fn signal_descriptor(flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the sets are initialised by `sigfillset` and `sigemptyset` before use.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::signalfd(-1, &raw const set, flags)
    };
    check(fd.into())?;
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Every signal to its default, none blocked: what a new program expects.
pub fn reset_signals() {
    // SAFETY: SIG_DFL needs no handler; SIGKILL and SIGSTOP refuse, which is harmless.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Loads a seccomp program for this process.
pub fn set_seccomp(program: &[u8]) -> io::Result<()> {
    let instructions = program.len() / size_of::<libc::sock_filter>();
    let filter = libc::sock_fprog {
        len: u16::try_from(instructions).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel copies `len` instructions, which the buffer holds; it needs no alignment.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    check(result).map(drop)
}

/// Sends a signal to a process that this one has not reaped yet, so that the number is its own.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        // To the kernel that means many.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: takes no pointers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// One dead child, if there is one: its number and raw wait status.
pub fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the status is a valid place to write to.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (pid > 0).then_some((pid, status))
}

/// Exit code and signal of a wait status; killed counts as 128 + signal.
pub fn exit_code(status: i32) -> (i32, i32) {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        (128 + signal, signal)
    } else {
        (libc::WEXITSTATUS(status), 0)
    }
}

/// Sets a resource limit of this process, clamped to the hard limit that it may not raise.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let set = |soft: u64, hard: u64| {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the structure outlives the call.
        check(unsafe { libc::setrlimit(resource, &raw const limit) }.into()).map(drop)
    };
    set(soft, hard).or_else(|_| {
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: as above.
        check(unsafe { libc::getrlimit(resource, &raw mut now) }.into())?;
        let hard = hard.min(now.rlim_max);
        set(soft.min(hard), hard)
    })
}

/// Replaces the program; returns only on failure.
pub fn exec(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| {
        let mut pointers: Vec<*const libc::c_char> = list.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        pointers
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once, running nothing.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from `first` on to be closed when a program is executed.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_uint) };
    check(result).map(drop)
}

/// Closes every descriptor; for a process that is to hold nothing.
pub fn close_all() {
    // SAFETY: takes no pointers; the caller uses no descriptor that was open before.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
}

/// Makes `terminal` the controlling terminal of this session.
pub fn set_controlling_terminal(terminal: impl AsFd) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    check(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: zeroes are a valid value; the name is shorter than the field and stays NUL-terminated.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the structure outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }.into()).map(drop)
}

/// Sets the host name of this UTS namespace.
pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe the same string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Gives freed heap back to the system, where the program's allocator is mimalloc.
pub fn trim_heap() {
    // SAFETY: takes no pointers.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
