//! What containers print: into the log and to whoever is attached.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::poller::{Stream, Token};
use super::state::{Container, Shim};

/// A pipe holds 64 KiB unless made larger.
const READ_BYTES: usize = 32 << 10;
/// Reads per wake-up, so that one chatty container does not starve the others.
const READS_MAX: usize = 4;
/// Reads when a container is dead: a pipe cannot hold more than this (`/proc/sys/fs/pipe-max-size`, 1 MiB).
const DRAIN_READS_MAX: usize = 64;

enum Read {
    Some,
    Nothing,
    End,
}

impl Container {
    fn output(&self, stream: Stream) -> Option<&OwnedFd> {
        match stream {
            Stream::Stdout => self.io.stdout.as_ref(),
            Stream::Stderr => self.io.stderr.as_ref(),
        }
    }
}

impl Shim {
    pub fn read_output(&mut self, index: u32, stream: Stream) {
        for _ in 0..READS_MAX {
            if self.containers.get(index).is_none_or(|c| c.io.paused) {
                return;
            }
            match self.read_once(index, stream) {
                Read::Some => {}
                Read::Nothing => return,
                Read::End => return self.close_output(index, stream),
            }
        }
    }

    /// Takes what is left in the pipes of a dead container.
    pub fn drain_output(&mut self, index: u32) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            for _ in 0..DRAIN_READS_MAX {
                if !matches!(self.read_once(index, stream), Read::Some) {
                    break;
                }
            }
            self.close_output(index, stream);
        }
    }

    fn read_once(&mut self, index: u32, stream: Stream) -> Read {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.reserve_exact(READ_BYTES);
        let read = match self.containers.get(index).and_then(|c| c.output(stream)) {
            Some(fd) => {
                let mut read = || rustix::io::read(fd, rustix::buffer::spare_capacity(&mut buffer));
                // Linux may see a terminal empty, then left, and miss what was written in between: nobody writes
                // after that, so the second answer is true.
                read().or_else(|errno| if errno == Errno::IO { read() } else { Err(errno) })
            }
            None => Ok(0),
        };
        let result = match read {
            Ok(0) => Read::End,
            Ok(_) => {
                self.deliver(index, stream, &buffer);
                Read::Some
            }
            Err(Errno::INTR) => Read::Some,
            Err(Errno::AGAIN) => Read::Nothing,
            // A terminal says this when its last user is gone.
            Err(_) => Read::End,
        };
        self.buffer = buffer;
        result
    }

    fn deliver(&mut self, index: u32, stream: Stream, bytes: &[u8]) {
        let Some(container) = self.containers.get_mut(index) else { return };
        let io = &mut container.io;
        let log_stream = match stream {
            Stream::Stdout => &mut io.log_stdout,
            Stream::Stderr => &mut io.log_stderr,
        };
        io.log.feed(log_stream, bytes);
        self.deliver_to_clients(index, stream, bytes);
    }

    /// The stream has ended.
    pub fn close_output(&mut self, index: u32, stream: Stream) {
        let Some(container) = self.containers.get_mut(index) else { return };
        let io = &mut container.io;
        let (fd, log_stream) = match stream {
            Stream::Stdout => (io.stdout.take(), &mut io.log_stdout),
            Stream::Stderr => (io.stderr.take(), &mut io.log_stderr),
        };
        if let Some(fd) = fd {
            self.poller.remove(&fd);
            io.log.end(log_stream);
        }
    }

    /// Stops or resumes reading a container's output.
    pub fn set_paused(&mut self, index: u32, paused: bool) {
        let Some(container) = self.containers.get_mut(index) else { return };
        if container.io.paused == paused {
            return;
        }
        container.io.paused = paused;
        let container = self.containers.get(index).expect("just seen");
        for stream in [Stream::Stdout, Stream::Stderr] {
            let Some(fd) = container.output(stream) else { continue };
            if paused {
                self.poller.remove(fd);
            } else {
                let _ = self.poller.add(fd, Token::Output(index, stream));
            }
        }
    }
}
