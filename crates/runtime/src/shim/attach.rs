//! Attached clients: each gets a pipe of output. A client that reads slowly slows the container down, as a
//! terminal would; one that does not read at all is dropped.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::poller::{Poller, Stream, Token};
use super::server::set_nonblocking;
use super::state::{Client, ClientStream, Phase, Requester, Shim};
use crate::init::cause;
use crate::protocol::Reply;

/// A client that takes nothing for so long has hung or been suspended; its container must go on.
const STALL_MAX: Duration = Duration::from_secs(10);

impl Shim {
    pub fn attach(&mut self, requester: Requester, id: &str) -> Result<(), String> {
        let Some(index) = self.find_container(id) else { return Err(format!("container {id} not found")) };
        let container = self.containers.get_mut(index).expect("just found");
        if !matches!(container.phase, Phase::Running) {
            return Err(format!("container {id} is not running"));
        }
        let failed = |e: Errno| format!("attach to container {id}: {}", cause(&e.into()));
        let duplicate = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(failed);
        let terminal = container.io.terminal.as_ref().map(duplicate).transpose()?;
        let stdin = match (&terminal, &container.io.stdin) {
            (Some(terminal), _) => Some(duplicate(terminal)?),
            // Handed over: when this client closes it, the container's input ends.
            (None, Some(_)) if container.stdin_once => container.io.stdin.take(),
            (None, stdin) => stdin.as_ref().map(duplicate).transpose()?,
        };
        let (stdout, ours) = output_pipe().map_err(failed)?;
        let (stderr, our_stderr) = match &terminal {
            Some(_) => (None, None),
            None => output_pipe().map(|(theirs, ours)| (Some(theirs), Some(ours))).map_err(failed)?,
        };
        let client =
            self.clients.insert(Client { container: index, stdout: ours, stderr: our_stderr, stalled_since: None });
        let added = self.clients.get(client).expect("just inserted");
        for stream in [Some(&added.stdout), added.stderr.as_ref()].into_iter().flatten() {
            // Only errors are reported: the other end was closed.
            self.poller.add_errors(&stream.fd, Token::Client(client)).map_err(|e| cause(&e))?;
        }
        let reply = Reply::Attached { stdin: stdin.is_some(), stderr: stderr.is_some(), tty: terminal.is_some() };
        let fds = [stdin.as_ref(), Some(&stdout), stderr.as_ref(), terminal.as_ref()];
        let fds: Vec<_> = fds.into_iter().flatten().map(AsFd::as_fd).collect();
        self.answer(requester, &reply, &fds);
        Ok(())
    }

    pub fn deliver_to_clients(&mut self, index: u32, stream: Stream, bytes: &[u8]) {
        let mut gone = Vec::new();
        let mut behind = false;
        for (number, client) in self.clients.iter_mut().filter(|(_, client)| client.container == index) {
            let target = match (stream, &mut client.stderr) {
                (Stream::Stderr, Some(stderr)) => stderr,
                _ => &mut client.stdout,
            };
            match target.write(bytes) {
                Ok(true) => {}
                Ok(false) => {
                    behind = true;
                    client.stalled_since.get_or_insert_with(Instant::now);
                    let _ = self.poller.watch_writable(&target.fd, Token::Client(number));
                }
                Err(_) => gone.push(number),
            }
        }
        for number in gone {
            self.drop_client(number);
        }
        if behind {
            self.set_paused(index, true);
        }
    }

    /// A client can take more, or is gone.
    pub fn flush_client(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(number) else { return };
        match client.flush(&self.poller, Token::Client(number)) {
            Err(_) => self.drop_client(number),
            Ok(false) => {}
            Ok(true) => {
                client.stalled_since = None;
                let index = client.container;
                if self.containers.get(index).is_none_or(|c| matches!(c.phase, Phase::Exited(_))) {
                    self.drop_client(number);
                }
                self.resume(index);
            }
        }
    }

    /// Reads a container's output again if no client is behind.
    fn resume(&mut self, index: u32) {
        if !self.clients.iter().any(|(_, c)| c.container == index && c.stalled_since.is_some()) {
            self.set_paused(index, false);
        }
    }

    fn drop_client(&mut self, number: u32) {
        let Some(client) = self.clients.remove(number) else { return };
        for stream in [Some(&client.stdout), client.stderr.as_ref()].into_iter().flatten() {
            self.poller.remove(&stream.fd);
        }
        self.resume(client.container);
    }

    /// The container is dead: clients that have everything see the end now, the others when they have it.
    pub fn end_clients_of(&mut self, index: u32) {
        let of_container = self.clients.iter().filter(|(_, c)| c.container == index && c.stalled_since.is_none());
        let done: Vec<u32> = of_container.map(|(number, _)| number).collect();
        for number in done {
            self.drop_client(number);
        }
    }

    pub fn drop_clients_of(&mut self, index: u32) {
        let all: Vec<u32> = self.clients.iter().filter(|(_, c)| c.container == index).map(|(n, _)| n).collect();
        for number in all {
            self.drop_client(number);
        }
    }

    /// How long to sleep at most: until a stalled client's time is over.
    pub fn client_deadline(&self) -> Option<Duration> {
        let stalled = self.clients.iter().filter_map(|(_, client)| client.stalled_since);
        stalled.min().map(|since| STALL_MAX.saturating_sub(since.elapsed()))
    }

    pub fn drop_stalled_clients(&mut self) {
        let over = |c: &Client| c.stalled_since.is_some_and(|since| since.elapsed() >= STALL_MAX);
        let stalled: Vec<u32> = self.clients.iter().filter(|(_, c)| over(c)).map(|(n, _)| n).collect();
        for number in stalled {
            self.drop_client(number);
        }
    }
}

impl Client {
    /// Writes what waits; true when nothing is left, an error when nobody reads any more.
    fn flush(&mut self, poller: &Poller, token: Token) -> Result<bool, Errno> {
        let mut empty = true;
        for stream in [Some(&mut self.stdout), self.stderr.as_mut()].into_iter().flatten() {
            let before = stream.pending.len();
            if stream.write(&[])? {
                let _ = poller.watch_errors(&stream.fd, token);
                if stream.is_closed() {
                    return Err(Errno::PIPE);
                }
            } else {
                empty = false;
            }
            if stream.pending.len() < before {
                self.stalled_since = Some(Instant::now());
            }
        }
        Ok(empty)
    }
}

impl ClientStream {
    /// Writes what waits and then `bytes`; false when some of it has to wait.
    fn write(&mut self, bytes: &[u8]) -> Result<bool, Errno> {
        if !self.pending.is_empty() {
            let written = write_some(&self.fd, &self.pending)?;
            self.pending.drain(..written);
        }
        let written = if self.pending.is_empty() { write_some(&self.fd, bytes)? } else { 0 };
        self.pending.extend_from_slice(&bytes[written..]);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        Ok(self.pending.is_empty())
    }

    /// Whether the reading end is closed.
    fn is_closed(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::empty())];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(1..))
    }
}

fn write_some(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(fd, &bytes[written..]) {
            Ok(n) => written += n,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(written)
}

/// The client's end and ours, which never blocks.
fn output_pipe() -> Result<(OwnedFd, ClientStream), Errno> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    set_nonblocking(&write).map_err(|_| Errno::INVAL)?;
    Ok((read, ClientStream { fd: write, pending: Vec::new() }))
}
