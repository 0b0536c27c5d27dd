//! A TCP port of loopback for a server that is started later, or never.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// While it is held, nobody who asks for any port gets this one, no connection goes out from it, and who connects to
/// it is refused, unless somebody listens on it by name: servers bind ports that another socket holds and does not
/// listen on, if both let them be reused (`SO_REUSEADDR`, as Rust's and Go's listeners do).
pub struct ReservedPort {
    _socket: TcpSocket,
    pub address: SocketAddr,
}

impl ReservedPort {
    pub fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { address: socket.local_addr()?, _socket: socket })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn it_refuses_until_it_is_listened_on_and_afterwards() {
        let port = ReservedPort::new().unwrap();
        let connect = || TcpStream::connect(port.address).map(drop).map_err(|error| error.kind());
        for _ in 0..2 {
            assert_eq!(connect(), Err(io::ErrorKind::ConnectionRefused));
            let _listener = TcpListener::bind(port.address).unwrap();
            assert_eq!(connect(), Ok(()));
        }
        assert_eq!(connect(), Err(io::ErrorKind::ConnectionRefused));
    }
}
