//! A connection to a pod's shim.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::protocol::{self, EVENT, Listed, REPLY_BYTES_MAX, Reply, Request};
use crate::{Result, RuntimeError};

/// Name of the socket in a sandbox's run directory.
const SOCKET: &str = "sock";
/// Agents that may be waiting to be accepted; there is one.
const BACKLOG: i32 = 4;
/// A start that takes longer hangs, and shall not keep the node from starting.
const LIST_WAIT: Duration = Duration::from_secs(30);

pub type Answer = (Reply, Vec<OwnedFd>);

/// Told of everything a shim says unasked, in the order it was said. Must not block.
pub trait Listener: Send + Sync {
    fn event(&self, reply: Reply);
    /// The shim is gone. The last thing that is told.
    fn closed(&self);
}

pub struct ShimClient {
    socket: AsyncFd<OwnedFd>,
    next: AtomicU32,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    closed: bool,
    answers: BTreeMap<u32, Pending>,
    exec_exits: BTreeMap<u32, oneshot::Sender<i32>>,
}

struct Pending {
    sender: oneshot::Sender<Answer>,
    /// Run before anything said later is heard, even if nobody waits any more.
    first: Option<Box<dyn FnOnce(&Reply) + Send>>,
}

impl ShimClient {
    /// Takes a connected socket and listens to it from now on.
    pub fn new(socket: OwnedFd, listener: impl Listener + 'static) -> io::Result<Arc<Self>> {
        let flags = rustix::fs::fcntl_getfl(&socket)?;
        rustix::fs::fcntl_setfl(&socket, flags | OFlags::NONBLOCK)?;
        let client = Arc::new(Self {
            // SAFETY: an `OwnedFd` names the same open file from here to its drop, inside this value.
            socket: unsafe { AsyncFd::register(socket) }.map_err(|error| io::Error::other(error.to_string()))?,
            next: AtomicU32::new(EVENT + 1),
            waiting: Mutex::new(Waiting::default()),
        });
        orlop_base::task::spawn(read_all(client.clone(), listener));
        Ok(client)
    }

    /// Sends a request with descriptors and waits for the answer.
    pub async fn request(&self, request: &Request, fds: &[OwnedFd]) -> Result<Answer> {
        self.request_first(request, fds, None).await
    }

    /// As [`request`](Self::request); `first` sees the answer before any later event is heard.
    pub async fn request_first(
        &self,
        request: &Request,
        fds: &[OwnedFd],
        first: Option<Box<dyn FnOnce(&Reply) + Send>>,
    ) -> Result<Answer> {
        let number = self.number();
        self.request_numbered(number, request, fds, first).await
    }

    pub async fn request_numbered(
        &self,
        number: u32,
        request: &Request,
        fds: &[OwnedFd],
        first: Option<Box<dyn FnOnce(&Reply) + Send>>,
    ) -> Result<Answer> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.closed {
                return Err(gone());
            }
            waiting.answers.insert(number, Pending { sender, first });
        }
        if let Err(error) = self.send(number, request, fds).await {
            self.waiting().answers.remove(&number);
            return Err(RuntimeError::Io { doing: "talk to the sandbox's shim".into(), source: error });
        }
        receiver.await.map_err(|_| gone())
    }

    /// A request whose answer does not matter.
    pub fn tell(&self, request: &Request) {
        let _ = protocol::send(self.socket.get_ref(), self.number(), request, &[]);
    }

    /// A number for [`request_numbered`](Self::request_numbered).
    pub fn number(&self) -> u32 {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number != EVENT {
                return number;
            }
        }
    }

    /// Where the exit code of that exec will arrive.
    pub fn exec_exit(&self, number: u32) -> oneshot::Receiver<i32> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting();
        if !waiting.closed {
            waiting.exec_exits.insert(number, sender);
        }
        receiver
    }

    pub fn forget_exec(&self, number: u32) {
        self.waiting().exec_exits.remove(&number);
    }

    async fn send(&self, number: u32, request: &Request, fds: &[OwnedFd]) -> io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        loop {
            let mut guard = self.socket.writable().await?;
            match guard.try_io(|socket| protocol::send(socket.get_ref(), number, request, &fds)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, number: u32, reply: Reply, fds: Vec<OwnedFd>, listener: &impl Listener) {
        if let Reply::ExecExited { number, code } = reply {
            if let Some(sender) = self.waiting().exec_exits.remove(&number) {
                let _ = sender.send(code);
            }
            return;
        }
        if number == EVENT {
            return listener.event(reply);
        }
        let pending = self.waiting().answers.remove(&number);
        if let Some(Pending { sender, first }) = pending {
            if let Some(first) = first {
                first(&reply);
            }
            let _ = sender.send((reply, fds));
        }
    }
}

async fn read_all(client: Arc<ShimClient>, listener: impl Listener) {
    while let Ok(Some((number, reply, fds))) = receive(&client.socket).await {
        client.hear(number, reply, fds, &listener);
    }
    {
        let mut waiting = client.waiting();
        waiting.closed = true;
        // Dropping the senders tells those who wait.
        waiting.answers.clear();
        waiting.exec_exits.clear();
    }
    listener.closed();
}

async fn receive(socket: &AsyncFd<OwnedFd>) -> io::Result<Option<(u32, Reply, Vec<OwnedFd>)>> {
    loop {
        let mut guard = socket.readable().await?;
        let received = guard.try_io(|socket| {
            let mut fds = Vec::new();
            // Made for each message: a pod says little, and there are many pods.
            let mut buffer = vec![0; REPLY_BYTES_MAX];
            let message = protocol::receive::<Reply>(socket.get_ref(), &mut buffer, &mut fds)?;
            Ok(message.map(|(number, reply)| (number, reply, fds)))
        });
        match received {
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(result) => return result,
            Err(_would_block) => {}
        }
    }
}

fn gone() -> RuntimeError {
    RuntimeError::Other("the sandbox's shim is gone".into())
}

/// An answer that is either yes or a reason.
pub fn done(answer: Answer) -> Result<()> {
    match answer.0 {
        Reply::Failed { text } => Err(RuntimeError::Other(text)),
        _ => Ok(()),
    }
}

/// What a shim says it has; nothing if it does not answer. It answers when no container is half started.
pub async fn list(client: &ShimClient) -> Vec<Listed> {
    match tokio::time::timeout(LIST_WAIT, client.request(&Request::List, &[])).await {
        Ok(Ok((Reply::Containers { list }, _))) => list,
        _ => Vec::new(),
    }
}

/// A listening socket in `dir`.
pub fn listen(dir: &Path) -> io::Result<OwnedFd> {
    let (socket, address, _dir) = socket_in(dir)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// A connection to the shim that listens in `dir`.
pub fn connect(dir: &Path) -> io::Result<OwnedFd> {
    let (socket, address, _dir) = socket_in(dir)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// A connected pair, for the first connection.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Socket addresses end at 108 bytes; directories do not, but a descriptor's name is short.
fn socket_in(dir: &Path) -> io::Result<(OwnedFd, SocketAddrUnix, OwnedFd)> {
    use std::os::fd::AsRawFd;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, dir, flags, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((socket, address, dir))
}
