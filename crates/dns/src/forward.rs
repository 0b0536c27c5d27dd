//! Questions about the rest of the world, passed to the node's resolvers as they are.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one resolver may take before the next is asked (resolv.conf's default).
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The resolvers that the node's resolv.conf names, read again when the file changes.
#[derive(Debug)]
pub struct Forwarder {
    path: PathBuf,
    /// Addresses that lead back here are never asked: a loop.
    own: Vec<std::net::IpAddr>,
    cached: std::sync::Mutex<(Option<SystemTime>, Vec<SocketAddr>)>,
}

impl Forwarder {
    pub fn new(path: PathBuf, own: Vec<std::net::IpAddr>) -> Self {
        Self { path, own, cached: std::sync::Mutex::default() }
    }

    /// Sends the query bytes on and returns the answer's bytes.
    pub async fn ask(&self, query: &[u8], over_tcp: bool) -> io::Result<Vec<u8>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no resolver is configured");
        for resolver in self.resolvers() {
            let attempt =
                async { if over_tcp { ask_tcp(resolver, query).await } else { ask_udp(resolver, query).await } };
            match timeout(RESOLVER_TIMEOUT, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    fn resolvers(&self) -> Vec<SocketAddr> {
        let modified = std::fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        let mut cached = self.cached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if cached.0 != modified || modified.is_none() {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            *cached = (modified, parse(&text, &self.own));
        }
        cached.1.clone()
    }
}

fn parse(text: &str, own: &[std::net::IpAddr]) -> Vec<SocketAddr> {
    let words = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    let addresses = words.filter_map(|word| word.parse::<std::net::IpAddr>().ok());
    addresses.filter(|ip| !own.contains(ip)).map(|ip| SocketAddr::new(ip, 53)).collect()
}

async fn ask_udp(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if resolver.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Anything with another identity is a late or forged answer.
        if length >= 12 && buffer[..2] == query[..2] {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_message(&mut stream, query).await?;
    read_message(&mut stream).await
}

/// A message with its two-byte length (RFC 1035 section 4.2.2), in one write.
pub async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes()[..], message].concat();
    stream.write_all(&framed).await
}

/// The counterpart; `UnexpectedEof` when the peer is done.
pub async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_come_from_resolv_conf_but_never_lead_back() {
        let text = "# a comment\nsearch x.y\nnameserver 10.0.0.2\nnameserver 10.96.0.10\n nameserver fd00::1\nnameserver bad\n";
        let own = ["10.96.0.10".parse().unwrap()];
        assert_eq!(parse(text, &own), ["10.0.0.2:53".parse().unwrap(), "[fd00::1]:53".parse().unwrap()]);
    }
}
