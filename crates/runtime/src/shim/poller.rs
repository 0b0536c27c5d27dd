//! epoll, with a token per descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

/// What a ready descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Listener,
    Signals,
    Connection(u32),
    /// Messages of a container that is being started.
    Start(u32),
    /// Messages of an exec that is being started.
    Exec(u32),
    Output(u32, Stream),
    /// A slow attached client of a container can take more.
    Client(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, index) = match self {
            Token::Listener => (0, 0),
            Token::Signals => (1, 0),
            Token::Connection(n) => (2, n),
            Token::Start(n) => (3, n),
            Token::Exec(n) => (4, n),
            Token::Output(n, Stream::Stdout) => (5, n),
            Token::Output(n, Stream::Stderr) => (6, n),
            Token::Client(n) => (7, n),
        };
        (kind << 32) | u64::from(index)
    }

    fn decode(data: u64) -> Option<Self> {
        let index = data as u32;
        Some(match data >> 32 {
            0 => Token::Listener,
            1 => Token::Signals,
            2 => Token::Connection(index),
            3 => Token::Start(index),
            4 => Token::Exec(index),
            5 => Token::Output(index, Stream::Stdout),
            6 => Token::Output(index, Stream::Stderr),
            7 => Token::Client(index),
            _ => return None,
        })
    }
}

/// Events taken per call; more stay ready in the kernel.
const BATCH: usize = 16;

pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    pub fn add(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token.encode()), EventFlags::IN)?)
    }

    /// Reports only that the other end is gone.
    pub fn add_errors(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token.encode()), EventFlags::empty())?)
    }

    /// From now on reports that there is room to write.
    pub fn watch_writable(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token.encode()), EventFlags::OUT)?)
    }

    /// From now on reports only that the other end is gone.
    pub fn watch_errors(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token.encode()), EventFlags::empty())?)
    }

    pub fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until something is ready or the time is over, and fills `ready`.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Token>) -> io::Result<()> {
        let timeout = timeout.map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; BATCH];
        ready.clear();
        match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok(count) => ready.extend(events[..count].iter().filter_map(|e| Token::decode(e.data.u64()))),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Listener,
            Token::Signals,
            Token::Connection(1),
            Token::Start(2),
            Token::Exec(u32::MAX),
            Token::Output(4, Stream::Stdout),
            Token::Output(5, Stream::Stderr),
            Token::Client(6),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
