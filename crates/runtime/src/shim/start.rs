//! Starting containers, and what is done when they die.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

use super::external::External;
use super::jobs::Work;
use super::log::{Log, LogStream};
use super::poller::{Stream, Token};
use super::record;
use super::server::set_nonblocking;
use super::state::{Container, Io, Phase, Requester, Shim, Starting};
use crate::init::{self, Context, Stdio, cause};
use crate::plan::{CgroupPlan, ContainerPlan, PidNamespace};
use crate::protocol::{self, ExitRecord, Reply};
use crate::sys::process::{self, Cloned};
use crate::sys::socket;

impl Shim {
    /// Forks the container's first process; the answer follows when it runs or has failed.
    pub fn start(&mut self, requester: Requester, fds: Vec<OwnedFd>) -> Result<(), String> {
        let plan = fds.into_iter().next().ok_or("no plan came with the request")?;
        let plan: ContainerPlan = protocol::read_plan(plan).map_err(|e| cause(&e))?;
        if !self.begun || self.stopping.is_some() {
            return Err("the sandbox is not running".into());
        }
        if self.find_container(&plan.id).is_some() {
            return Err(format!("container {} was started already", plan.id));
        }
        let doing = |what: &str, e: &io::Error| format!("{what}: {}", cause(e));
        let log = Log::open(plan.log.clone())
            .map_err(|e| doing(&format!("open log file {}", plan.log.to_string_lossy()), &e))?;
        let (ours, theirs) = standard_streams(&plan).map_err(|e| doing("make pipes", &e))?;
        let (sync, child_sync) = sync_pair().map_err(|e| doing("make socket pair", &e))?;
        let users = self.user_namespace.as_ref().map(OwnedFd::try_clone).transpose();
        let users = users.map_err(|e| doing("copy the user namespace", &e))?;
        let context = Context { sync: child_sync, stdio: theirs, own_exe: self.own_exe, users };
        let mut starting = Starting::new(sync, requester);
        let external = External::of(&plan)?;
        let (pid, begun) = match &external {
            None => (self.fork_container(&plan, context)?, None),
            Some(external) => {
                let mut begun = external.create(&plan, context)?;
                starting.console = begun.console.take();
                (0, Some(begun))
            }
        };
        let [stdin, stdout, stderr] = ours;
        let (log_stdout, log_stderr) = (LogStream::new("stdout"), LogStream::new("stderr"));
        let io = Io { stdin, stdout, stderr, terminal: None, log, log_stdout, log_stderr, paused: false };
        let index = self.containers.insert(Container {
            id: plan.id,
            dir: plan.dir,
            cgroup: plan.cgroup,
            own_pid_namespace: plan.pid == PidNamespace::Own,
            stdin_once: plan.stdin_once,
            external,
            pid,
            started_unix_nanos: 0,
            phase: Phase::Starting(starting),
            io,
            doomed: false,
        });
        if let Some(begun) = begun {
            self.begin_job(begun, Work::Create { container: index });
        }
        self.watch_container(index)
    }

    fn watch_container(&self, index: u32) -> Result<(), String> {
        let container = self.containers.get(index).expect("the caller has just inserted it");
        // An external runtime is done when its program is, whatever becomes of the socket.
        if let (Phase::Starting(starting), None) = (&container.phase, &container.external) {
            self.watch(&starting.sync, Token::Start(index))?;
        }
        if let Some(stdout) = &container.io.stdout {
            self.watch(stdout, Token::Output(index, Stream::Stdout))?;
        }
        if let Some(stderr) = &container.io.stderr {
            self.watch(stderr, Token::Output(index, Stream::Stderr))?;
        }
        Ok(())
    }

    fn fork_container(&self, plan: &ContainerPlan, context: Context) -> Result<i32, String> {
        let mut flags = libc::CLONE_NEWNS as u64;
        let target;
        let namespace = match &plan.pid {
            // With users of its own, the pod owns the PID namespace only if it makes it after entering theirs.
            PidNamespace::Own if plan.users.is_some() => None,
            PidNamespace::Own => {
                flags |= libc::CLONE_NEWPID as u64;
                None
            }
            PidNamespace::Host => None,
            PidNamespace::Pod => Some(self.pod_pid_namespace.as_ref().ok_or("the pod does not share a PID namespace")?),
            PidNamespace::Container { id } => {
                target = self.open_container(id)?;
                Some(&target)
            }
        };
        self.fork_into(namespace, flags, &plan.cgroup, || init::container(plan, context))
    }

    /// Forks with the child in another PID namespace, when one is given.
    pub fn fork_into(
        &self,
        pid_namespace: Option<&OwnedFd>,
        flags: u64,
        cgroup: &CgroupPlan,
        child: impl FnOnce(),
    ) -> Result<i32, String> {
        let doing = |what: &'static str| move |e: io::Error| format!("{what}: {}", cause(&e));
        let cgroup = cgroup.unified.as_deref().map(open_dir).transpose().map_err(doing("open cgroup"))?;
        if let Some(namespace) = pid_namespace {
            process::enter(namespace, libc::CLONE_NEWPID).map_err(doing("join PID namespace"))?;
        }
        // SAFETY: a shim has one thread.
        let forked = unsafe { process::fork(flags, cgroup.as_ref()) };
        if let Ok(Cloned::Child) = forked {
            child();
            process::exit_now(1)
        }
        if pid_namespace.is_some() {
            process::enter(&self.own_pid_namespace, libc::CLONE_NEWPID).map_err(doing("leave PID namespace"))?;
        }
        match forked.map_err(doing("fork"))? {
            Cloned::Parent { child } => Ok(child),
            Cloned::Child => process::exit_now(1),
        }
    }

    /// Hears a child that has not executed its program yet.
    pub fn read_start(&mut self, index: u32) {
        // An external runtime is heard when it is done.
        let Some(container) = self.containers.get_mut(index).filter(|c| c.external.is_none()) else { return };
        let Phase::Starting(starting) = &mut container.phase else { return };
        let over = hear(starting);
        let mut died = None;
        if let Some(pid) = starting.successor.take() {
            container.pid = pid;
            died = self.take_stray(pid);
        }
        if over {
            self.finish_start(index);
        }
        if let Some(status) = died {
            self.container_died(index, status);
        }
    }

    pub fn finish_start(&mut self, index: u32) {
        let Some(container) = self.containers.get_mut(index) else { return };
        let Phase::Starting(starting) = std::mem::replace(&mut container.phase, Phase::Running) else { return };
        self.poller.remove(&starting.sync);
        if let Some(text) = start_error(&starting, &container.cgroup) {
            self.discard(index);
            self.answer(starting.requester, &Reply::Failed { text }, &[]);
            return self.answer_lists();
        }
        container.started_unix_nanos = record::unix_nanos();
        let (pid, unix_nanos) = (container.pid, container.started_unix_nanos);
        let _ = record::write_started(&container.dir, pid, unix_nanos);
        if let Some(terminal) = starting.terminal {
            self.adopt_terminal(index, terminal);
        }
        process::trim_heap();
        self.answer(starting.requester, &Reply::Started { pid, unix_nanos, warnings: starting.warnings }, &[]);
        self.answer_lists();
    }

    fn adopt_terminal(&mut self, index: u32, terminal: OwnedFd) {
        let Some(container) = self.containers.get_mut(index) else { return };
        let _ = set_nonblocking(&terminal);
        container.io.stdout = rustix::io::fcntl_dupfd_cloexec(&terminal, 3).ok();
        container.io.terminal = Some(terminal);
        if let Some(stdout) = &container.io.stdout {
            let _ = self.poller.add(stdout, Token::Output(index, Stream::Stdout));
        }
    }

    /// Forgets a container that never ran.
    fn discard(&mut self, index: u32) {
        self.close_output(index, Stream::Stdout);
        self.close_output(index, Stream::Stderr);
        self.containers.remove(index);
    }

    /// A container's first process is dead: write down all there is to know, then tell.
    pub fn container_died(&mut self, index: u32, status: i32) {
        if let Some(Container { external: Some(_), phase: Phase::Starting(starting), .. }) =
            self.containers.get_mut(index)
        {
            // Its runtime is not done with it yet.
            starting.status = Some(status);
            return;
        }
        self.read_start(index);
        if self.containers.get(index).is_some_and(|c| matches!(c.phase, Phase::Starting(_))) {
            self.finish_start(index);
        }
        let Some(container) = self.containers.get_mut(index) else { return };
        if matches!(container.phase, Phase::Exited(_)) {
            return;
        }
        if !container.own_pid_namespace {
            // The kernel empties a PID namespace with its first process; here that is for us to do.
            kill_cgroup(&container.cgroup);
        }
        self.drain_output(index);
        let Some(container) = self.containers.get_mut(index) else { return };
        let (code, signal) = process::exit_code(status);
        let oom_killed = container.cgroup.oom.as_deref().is_some_and(record::oom_killed);
        let exit = ExitRecord { code, signal, oom_killed, unix_nanos: record::unix_nanos() };
        let _ = record::write_exit(&container.dir, &exit);
        container.phase = Phase::Exited(exit.clone());
        container.io.stdin = None;
        container.io.terminal = None;
        let (id, external) = (container.id.clone(), container.external.clone());
        self.end_clients_of(index);
        if let Some(external) = external {
            self.delete(&external);
        }
        self.announce(&Reply::Exited { container: id, exit });
    }

    /// Kills all of a container's processes.
    pub fn kill_container(&mut self, index: u32) {
        let Some(container) = self.containers.get_mut(index) else { return };
        container.doomed = true;
        match (&container.external, &container.phase) {
            (Some(_), Phase::Starting(_)) => return self.cut_short(index),
            (Some(external), _) => {
                if let Ok(begun) = external.kill(libc::SIGKILL) {
                    self.begin_job(begun, Work::Kill { container: index, requester: None });
                }
                return;
            }
            (None, _) => {}
        }
        kill_cgroup(&container.cgroup);
        let _ = process::kill(container.pid, libc::SIGKILL);
    }
}

/// Takes a starting child's messages; true at their end.
pub fn hear(starting: &mut Starting) -> bool {
    let mut buffer = [0; init::MESSAGE_TEXT_MAX + 1];
    loop {
        let mut fds = Vec::new();
        let len = match socket::receive(&starting.sync, &mut buffer, &mut fds) {
            Ok(0) => return true,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        };
        let text = || String::from_utf8_lossy(&buffer[1..len]).into_owned();
        match buffer[0] {
            init::MESSAGE_ERROR => starting.error = Some(text()),
            init::MESSAGE_WARNING => starting.warnings.push(text()),
            init::MESSAGE_TERMINAL => starting.terminal = fds.pop(),
            init::MESSAGE_READY => starting.ready = true,
            init::MESSAGE_SUCCESSOR => starting.successor = text().parse().ok(),
            _ => {}
        }
    }
}

/// Why a child that closed its socket does not run.
pub fn start_error(starting: &Starting, cgroup: &CgroupPlan) -> Option<String> {
    if let Some(error) = &starting.error {
        return Some(error.clone());
    }
    if starting.ready {
        return None;
    }
    let oom = cgroup.oom.as_deref().is_some_and(record::oom_killed);
    Some(if oom { OOM_KILLED.into() } else { "container init was killed before it could execute its program".into() })
}

/// runc's words.
pub const OOM_KILLED: &str = "container init was OOM-killed (memory limit too low?)";

impl Starting {
    pub fn new(sync: OwnedFd, requester: Requester) -> Self {
        Self {
            sync,
            requester,
            warnings: Vec::new(),
            terminal: None,
            console: None,
            ready: false,
            error: None,
            successor: None,
            status: None,
        }
    }
}

/// At once through `cgroup.kill`, else one by one until none is new.
fn kill_cgroup(cgroup: &CgroupPlan) {
    let Some(path) = &cgroup.kill else { return };
    if path.to_bytes().ends_with(b"cgroup.kill") {
        let _ = init::write_file(path, b"1");
        return;
    }
    for _ in 0..KILL_ROUNDS_MAX {
        let Ok(text) = std::fs::read_to_string(std::ffi::OsStr::new(&*path.to_string_lossy())) else { return };
        let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = process::kill(pid, libc::SIGKILL);
        }
    }
}

/// A fork bomb may win a round, not all of them: each kills every process of the cgroup that was there.
const KILL_ROUNDS_MAX: usize = 16;

/// The shim's ends and the child's.
fn standard_streams(plan: &ContainerPlan) -> io::Result<([Option<OwnedFd>; 3], Stdio)> {
    if plan.tty {
        return Ok(([None, None, None], Stdio::Terminal));
    }
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    let (stdout, child_stdout) = pipe()?;
    let (stderr, child_stderr) = pipe()?;
    set_nonblocking(&stdout)?;
    set_nonblocking(&stderr)?;
    let (child_stdin, stdin) = if plan.stdin { pipe().map(|(r, w)| (Some(r), Some(w)))? } else { (None, None) };
    let theirs = Stdio::Pipes([child_stdin, Some(child_stdout), Some(child_stderr)]);
    Ok(([stdin, Some(stdout), Some(stderr)], theirs))
}

/// Ours never blocks.
pub fn sync_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    set_nonblocking(&pair.0)?;
    Ok(pair)
}

fn open_dir(path: &CStr) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
