//! The loop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{DumpableBehavior, Pid};

use super::poller::{Poller, Token};
use super::state::{Shim, Slots};
use crate::sys;

/// Runs a shim on this process's standard input and output, and ends the process.
pub fn main_with() -> ! {
    let code = match Shim::new().and_then(Shim::run) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    std::process::exit(code)
}

impl Shim {
    fn new() -> io::Result<Self> {
        // Containers must not look into this process (they may share its user), nor at what it has open.
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
        // Orphans of containers in the host's PID namespace come here to be reaped.
        rustix::process::set_child_subreaper(Pid::from_raw(1))?;
        // Memory is short when it is short: losing the shim would lose the pod. Needs CAP_SYS_RESOURCE.
        let _ = crate::init::write_file(&c"/proc/self/oom_score_adj".into(), b"-999");
        let signals = sys::process::child_signals()?;
        let (listener, connection) = take_standard_streams()?;
        let _ = rustix::process::setsid();
        let _ = rustix::process::chdir(c"/");
        let _ = rustix::thread::set_name(c"orlop-shim");
        let exe = std::fs::metadata("/proc/self/exe")?;
        let namespace = rustix::fs::openat(CWD, c"/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut shim = Self {
            poller: Poller::new()?,
            listener,
            signals,
            own_pid_namespace: namespace,
            own_exe: (exe.dev(), exe.ino()),
            connections: Slots::new(),
            containers: Slots::new(),
            execs: Slots::new(),
            clients: Slots::new(),
            jobs: Slots::new(),
            strays: Vec::new(),
            user_namespace: None,
            pod_pid_namespace: None,
            begun: false,
            lists: Vec::new(),
            stopping: None,
            buffer: Vec::new(),
        };
        shim.poller.add(&shim.listener, Token::Listener)?;
        shim.poller.add(&shim.signals, Token::Signals)?;
        shim.add_connection(connection)?;
        Ok(shim)
    }

    fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            if self.is_over() {
                return Ok(());
            }
            let timeout = self.next_deadline();
            self.poller.wait(timeout, &mut ready)?;
            for token in &ready {
                self.dispatch(*token);
            }
            self.drop_stalled_clients();
        }
    }

    fn dispatch(&mut self, token: Token) {
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.reap_children(),
            Token::Connection(index) => self.read_requests(index),
            Token::Start(index) => self.read_start(index),
            Token::Exec(index) => self.read_exec(index),
            Token::Output(index, stream) => self.read_output(index, stream),
            Token::Client(index) => self.flush_client(index),
        }
    }

    /// Stopped and all dead; or never begun and the agent is gone.
    fn is_over(&mut self) -> bool {
        if let Some(requester) = self.stopping
            && self.alive() == 0
            && self.jobs.is_empty()
        {
            self.answer(requester, &crate::protocol::Reply::Done, &[]);
            return true;
        }
        !self.begun && self.connections.is_empty()
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.client_deadline()
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        if let Ok(connection) = rustix::net::accept_with(&self.listener, flags) {
            let _ = self.add_connection(connection);
        }
    }

    fn add_connection(&mut self, connection: OwnedFd) -> io::Result<()> {
        set_nonblocking(&connection)?;
        let raw = rustix::io::fcntl_dupfd_cloexec(&connection, 3)?;
        drop(connection);
        let index = self.connections.insert(raw);
        let fd = self.connections.get(index).expect("just inserted");
        self.poller.add(fd, Token::Connection(index))
    }

    fn reap_children(&mut self) {
        // One signal may stand for many children: the descriptor is emptied, then all are asked for.
        let mut scratch = [0; 128];
        while matches!(rustix::io::read(&self.signals, &mut scratch), Ok(1..) | Err(Errno::INTR)) {}
        while let Some((pid, status)) = sys::process::reap() {
            self.child_died(pid, status);
        }
    }

    fn child_died(&mut self, pid: i32, status: i32) {
        let container = self.containers.iter().find(|(_, c)| c.pid == pid).map(|(index, _)| index);
        let exec = self.execs.iter().find(|(_, e)| e.pid == pid).map(|(index, _)| index);
        let job = self.jobs.iter().find(|(_, j)| j.pid == pid).map(|(index, _)| index);
        if let Some(index) = container {
            // What it forked may go on in its place.
            self.read_start(index);
            if self.containers.get(index).is_some_and(|c| c.pid == pid) {
                self.container_died(index, status);
            }
        } else if let Some(index) = exec {
            self.exec_died(index, status);
        } else if let Some(index) = job {
            self.job_done(index, status);
        } else {
            self.keep_stray(pid, status);
        }
    }
}

pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    Ok(rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}

/// Moves the two sockets that came as standard streams out of the way of what programs inherit.
fn take_standard_streams() -> io::Result<(OwnedFd, OwnedFd)> {
    let listener = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let connection = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null = rustix::fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    set_nonblocking(&listener)?;
    Ok((listener, connection))
}
