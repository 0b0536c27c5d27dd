//! Netlink messages and sockets (RFC 3549; `linux/netlink.h`).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Flags of `struct nlmsghdr`.
pub mod flags {
    pub const REQUEST: u16 = 0x1;
    pub const ACK: u16 = 0x4;
    pub const DUMP: u16 = 0x300;
    pub const REPLACE: u16 = 0x100;
    pub const EXCL: u16 = 0x200;
    pub const CREATE: u16 = 0x400;
    pub const APPEND: u16 = 0x800;
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_LEN: usize = 16;
const NLA_F_NESTED: u16 = 0x8000;

/// Builds one or many messages into one buffer.
#[derive(Default)]
pub struct Writer {
    buffer: Vec<u8>,
    message_start: usize,
    sequence: u32,
}

/// An attribute that is still open; close it with [`Writer::end`].
#[must_use]
pub struct Open(usize);

impl Writer {
    /// Starts a message; the family's own header bytes follow the netlink header.
    pub fn begin(&mut self, kind: u16, flags: u16, family_header: &[u8]) -> u32 {
        self.sequence += 1;
        self.message_start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(&(flags | flags::REQUEST).to_ne_bytes());
        self.buffer.extend_from_slice(&self.sequence.to_ne_bytes());
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(family_header);
        self.pad();
        self.sequence
    }

    /// Closes the message: writes its length.
    pub fn finish(&mut self) {
        let length = u32::try_from(self.buffer.len() - self.message_start).expect("messages are far below 4 GiB");
        self.buffer[self.message_start..self.message_start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub fn attr(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).expect("attributes are bounded by their callers");
        self.buffer.extend_from_slice(&length.to_ne_bytes());
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(value);
        self.pad();
    }

    /// A NUL-terminated string.
    pub fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    /// A number in host order (rtnetlink).
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// A number in network order (nfnetlink).
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub fn be64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub fn nest(&mut self, kind: u16) -> Open {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 2]);
        self.buffer.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        Open(at)
    }

    pub fn end(&mut self, open: Open) {
        let length = u16::try_from(self.buffer.len() - open.0).expect("callers split what would not fit");
        self.buffer[open.0..open.0 + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// Raw bytes inside an open attribute (a family header in a nested message).
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.pad();
    }

    /// Asks for an acknowledgement of the message that was begun last.
    pub fn acknowledge_last(&mut self) {
        let at = self.message_start + 6;
        let flags = u16::from_ne_bytes([self.buffer[at], self.buffer[at + 1]]) | flags::ACK;
        self.buffer[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    fn pad(&mut self) {
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
    }
}

/// A message that came back: its type and the payload behind the netlink header.
pub struct Reply {
    pub kind: u16,
    pub payload: Vec<u8>,
}

/// Splits attribute bytes into (type without flags, value).
pub fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        if length < 4 || length > bytes.len() {
            break;
        }
        found.push((kind, &bytes[4..length]));
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    found
}

/// A netlink socket. It stays in the network namespace of the thread that made it.
pub struct Socket(OwnedFd);

impl Socket {
    /// `protocol` is `libc::NETLINK_ROUTE` or `libc::NETLINK_NETFILTER`.
    pub fn open(protocol: libc::c_int) -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked and owned at once.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a fresh descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends what `writer` holds and returns every reply; the first kernel error becomes `Err`.
    pub fn exchange(&self, writer: &Writer) -> io::Result<Vec<Reply>> {
        self.fit_buffers(writer.bytes().len());
        self.send(writer.bytes())?;
        self.receive()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length describe `bytes`, alive for the call.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// One datagram carries a whole batch: the buffers must hold it (needs CAP_NET_ADMIN, which
    /// every caller has; without it the kernel answers the send itself with an error).
    fn fit_buffers(&self, length: usize) {
        const USUAL: usize = 128 * 1024;
        if length <= USUAL {
            return;
        }
        let size = libc::c_int::try_from(length * 2).unwrap_or(libc::c_int::MAX);
        for option in [libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE] {
            // SAFETY: the pointer and length describe `size`, alive for the call.
            unsafe {
                libc::setsockopt(
                    self.0.as_raw_fd(),
                    libc::SOL_SOCKET,
                    option,
                    (&raw const size).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                );
            }
        }
    }

    /// Reads until the queue is empty. The kernel has queued every reply when `send` returns,
    /// except a dump's later parts, which it queues as they are read, up to `NLMSG_DONE`.
    fn receive(&self) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::new();
        let mut failure = None;
        let mut buffer = vec![0u8; 64 * 1024];
        loop {
            // SAFETY: pointer and length describe `buffer`, alive and writable for the call.
            let got =
                unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
            if got < 0 {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                }
            }
            let got = usize::try_from(got).expect("checked not negative");
            split(&buffer[..got], &mut replies, &mut failure);
        }
        failure.map_or(Ok(replies), Err)
    }
}

fn split(mut bytes: &[u8], replies: &mut Vec<Reply>, failure: &mut Option<io::Error>) {
    while bytes.len() >= HEADER_LEN {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        if length < HEADER_LEN || length > bytes.len() {
            return;
        }
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        let payload = &bytes[HEADER_LEN..length];
        match kind {
            NLMSG_DONE => {}
            NLMSG_ERROR if payload.len() >= 4 => {
                let code = i32::from_ne_bytes([payload[0], payload[1], payload[2], payload[3]]);
                if code != 0 && failure.is_none() {
                    *failure = Some(io::Error::from_raw_os_error(-code));
                }
            }
            _ => replies.push(Reply { kind, payload: payload.to_vec() }),
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
}
