//! tcpSocket: can a connection be made?

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;

use super::Answer;

pub async fn probe(host: &str, port: u16, timeout: Duration) -> Answer {
    match connect(host, port, timeout).await {
        Ok(_) => Answer::Success,
        Err(why) => Answer::Failure(why),
    }
}

/// Connects; the error reads as Go's `dial` would tell it.
pub async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let address = join(host, port);
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => {
            // Nothing is worth TIME_WAIT here: probes open a connection every few seconds.
            let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            Ok(stream)
        }
        Ok(Err(error)) => Err(format!("dial tcp {address}: {}", in_gos_words(&error, "connect"))),
        Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
    }
}

/// `host:port`, brackets around IPv6.
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// `connect: connection refused`
pub fn in_gos_words(error: &io::Error, call: &str) -> String {
    let text = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED) => "connection refused",
        Some(Errno::CONNRESET) => "connection reset by peer",
        Some(Errno::HOSTUNREACH) => "no route to host",
        Some(Errno::NETUNREACH) => "network is unreachable",
        Some(Errno::TIMEDOUT) => "connection timed out",
        _ => return error.to_string(),
    };
    format!("{call}: {text}")
}

#[cfg(test)]
mod tests {
    use orlop_base::port::ReservedPort;

    use super::*;

    #[tokio::test]
    async fn open_and_closed_ports() {
        let reserved = ReservedPort::new().unwrap();
        let port = reserved.address.port();
        let listener = tokio::net::TcpListener::bind(reserved.address).await.unwrap();
        let minute = Duration::from_mins(1);
        assert_eq!(probe("127.0.0.1", port, minute).await, Answer::Success);
        drop(listener);
        let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(probe("127.0.0.1", port, minute).await, Answer::Failure(refused));
    }
}
