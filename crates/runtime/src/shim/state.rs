//! What a shim knows.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::external::External;
use super::jobs::Job;
use super::log::{Log, LogStream};
use super::poller::Poller;
use crate::plan::CgroupPlan;
use crate::protocol::ExitRecord;

pub struct Shim {
    pub poller: Poller,
    pub listener: OwnedFd,
    pub signals: OwnedFd,
    /// This process's own PID namespace, to come back to after forking into another.
    pub own_pid_namespace: OwnedFd,
    /// Device and inode of the program's file.
    pub own_exe: (u64, u64),
    pub connections: Slots<OwnedFd>,
    pub containers: Slots<Container>,
    pub execs: Slots<Exec>,
    pub clients: Slots<Client>,
    /// Runs of external runtimes.
    pub jobs: Slots<Job>,
    /// Processes that died while one of those ran or a container was being started, with their wait status.
    pub strays: Vec<(i32, i32)>,
    /// The pod's user namespace, when it has one.
    pub user_namespace: Option<OwnedFd>,
    /// The pod's PID namespace, when it has one.
    pub pod_pid_namespace: Option<OwnedFd>,
    pub begun: bool,
    /// Who asked what there is while something was being started.
    pub lists: Vec<Requester>,
    /// Who asked the shim to end.
    pub stopping: Option<Requester>,
    /// Filled anew by every read.
    pub buffer: Vec<u8>,
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    pub connection: u32,
    pub number: u32,
}

pub struct Container {
    pub id: String,
    pub dir: CString,
    pub cgroup: CgroupPlan,
    pub own_pid_namespace: bool,
    pub stdin_once: bool,
    /// Run by an external runtime.
    pub external: Option<External>,
    /// 0 until an external runtime has said.
    pub pid: i32,
    pub started_unix_nanos: i64,
    pub phase: Phase,
    pub io: Io,
    /// To be killed as soon as that is possible.
    pub doomed: bool,
}

pub enum Phase {
    Starting(Starting),
    Running,
    Exited(ExitRecord),
}

/// A child that has not executed its program yet.
pub struct Starting {
    pub sync: OwnedFd,
    pub requester: Requester,
    pub warnings: Vec<String>,
    pub terminal: Option<OwnedFd>,
    /// Where an external runtime sends the terminal to.
    pub console: Option<OwnedFd>,
    /// It said that it is about to execute.
    pub ready: bool,
    pub error: Option<String>,
    /// The process that goes on in the place of the one that was forked.
    pub successor: Option<i32>,
    /// Wait status of an external runtime's container that came before the runtime was done.
    pub status: Option<i32>,
}

/// The shim's ends of a container's streams.
pub struct Io {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    /// The terminal's master; then `stdout` is the same one again.
    pub terminal: Option<OwnedFd>,
    pub log: Log,
    pub log_stdout: LogStream,
    pub log_stderr: LogStream,
    /// Not read while an attached client is behind.
    pub paused: bool,
}

pub struct Exec {
    pub requester: Requester,
    /// 0 until an external runtime has said.
    pub pid: i32,
    /// Gone once the answer was sent.
    pub starting: Option<Starting>,
    /// Wait status that came before the answer was sent.
    pub status: Option<i32>,
    /// To be killed as soon as that is possible.
    pub doomed: bool,
}

/// Someone attached to a container's output.
pub struct Client {
    pub container: u32,
    pub stdout: ClientStream,
    pub stderr: Option<ClientStream>,
    /// Since when it has not taken what waits for it.
    pub stalled_since: Option<Instant>,
}

pub struct ClientStream {
    pub fd: OwnedFd,
    pub pending: Vec<u8>,
}

impl Shim {
    pub fn find_container(&self, id: &str) -> Option<u32> {
        self.containers.iter().find(|(_, c)| c.id == id).map(|(index, _)| index)
    }

    pub fn alive(&self) -> usize {
        self.containers.iter().filter(|(_, c)| !matches!(c.phase, Phase::Exited(_))).count()
    }
}

/// Values under small, stable numbers.
pub struct Slots<T>(Vec<Option<T>>);

impl<T> Slots<T> {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn insert(&mut self, value: T) -> u32 {
        let free = self.0.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.0.push(None);
            self.0.len() - 1
        });
        self.0[at] = Some(value);
        at as u32
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub fn get(&self, index: u32) -> Option<&T> {
        self.0.get(index as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.0.get_mut(index as usize)?.as_mut()
    }

    pub fn remove(&mut self, index: u32) -> Option<T> {
        self.0.get_mut(index as usize)?.take()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.0.iter().enumerate().filter_map(|(at, slot)| Some((at as u32, slot.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.0.iter_mut().enumerate().filter_map(|(at, slot)| Some((at as u32, slot.as_mut()?)))
    }
}
