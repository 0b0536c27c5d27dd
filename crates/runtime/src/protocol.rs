//! The conversation between the agent and a shim: one `SOCK_SEQPACKET` connection, each request numbered,
//! each answered once, in any order. Number 0 marks events, which need no asking.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::MemfdFlags;

use crate::sys::socket;
use crate::wire::{self, Wire, wire_enum, wire_struct};

/// Number of messages nobody asked for.
pub const EVENT: u32 = 0;
/// Requests are this small because plans travel in a memory file of their own.
pub const REQUEST_BYTES_MAX: usize = 1 << 10;
/// Answers: error texts, and lists of a pod's containers.
pub const REPLY_BYTES_MAX: usize = 64 << 10;
/// Largest plan: a container's environment is bounded by `execve` to 2 MiB.
pub const PLAN_BYTES_MAX: usize = 8 << 20;

wire_enum! {
    pub enum Request {
        /// With a [`crate::plan::SandboxPlan`]; the first thing a shim is told.
        Begin = 1,
        /// With a [`crate::plan::ContainerPlan`].
        Start = 2,
        /// With a [`crate::plan::ExecPlan`] and the streams it names.
        Exec = 3,
        /// To a container's first process, or to all in its cgroup.
        Signal { container: String, signal: i32, all: bool } = 4,
        /// Kills a process that [`Request::Exec`] with this number started.
        KillExec { number: u32 } = 5,
        Attach { container: String } = 6,
        ReopenLog { container: String } = 7,
        List = 8,
        /// Drops an exited container from the list.
        Forget { container: String } = 9,
        /// Kills everything and ends the shim once all are dead.
        Stop = 10,
    }
}

wire_enum! {
    pub enum Reply {
        Done = 1,
        Failed { text: String } = 2,
        Started { pid: i32, unix_nanos: i64, warnings: Vec<String> } = 3,
        /// With the terminal's master, if there is one.
        ExecStarted { pid: i32 } = 4,
        /// With stdin (if any), stdout, stderr (if no terminal), terminal (if any).
        Attached { stdin: bool, stderr: bool, tty: bool } = 5,
        Containers { list: Vec<Listed> } = 6,
        /// Event: a container's first process is dead and its logs are written.
        Exited { container: String, exit: ExitRecord } = 7,
        /// Event: the process of that [`Request::Exec`] is dead.
        ExecExited { number: u32, code: i32 } = 8,
    }
}

wire_struct! {
    pub struct Listed {
        pub id: String,
        pub pid: i32,
        pub started_unix_nanos: i64,
        pub exit: Option<ExitRecord>,
    }
}

wire_struct! {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct ExitRecord {
        pub code: i32,
        pub signal: i32,
        pub oom_killed: bool,
        pub unix_nanos: i64,
    }
}

/// Sends a numbered message.
pub fn send(socket: impl AsFd, number: u32, message: &impl Wire, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut bytes = vec![wire::VERSION];
    number.put(&mut bytes);
    message.put(&mut bytes);
    socket::send(socket, &bytes, fds)
}

/// Receives a numbered message; `None` at the end of the connection.
pub fn receive<T: Wire>(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<Option<(u32, T)>> {
    let len = socket::receive(socket, buffer, fds)?;
    if len == 0 {
        return Ok(None);
    }
    let mut bytes = &buffer[..len];
    let parsed = (|| {
        (u8::get(&mut bytes)? == wire::VERSION).then_some(())?;
        Some((u32::get(&mut bytes)?, T::get(&mut bytes)?))
    })();
    parsed.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown message"))
}

/// Puts a plan into a memory file.
pub fn write_plan(plan: &impl Wire) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create(c"plan", MemfdFlags::CLOEXEC)?);
    file.write_all(&plan.to_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads a plan back.
pub fn read_plan<T: Wire>(fd: OwnedFd) -> io::Result<T> {
    let file = File::from(fd);
    let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let len = file.metadata()?.len() as usize;
    if len > PLAN_BYTES_MAX {
        return Err(invalid("plan is too large"));
    }
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    T::from_bytes(&bytes).ok_or_else(|| invalid("plan cannot be read"))
}
