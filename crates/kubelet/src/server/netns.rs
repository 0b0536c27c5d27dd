//! Connections from inside a pod's network.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Connects to a port of the pod's loopback; `netns` is `None` on the node's own network.
pub async fn connect(netns: Option<PathBuf>, port: u16) -> io::Result<tokio::net::TcpStream> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own, that ends afterwards: it never leaves the pod's network again.
    std::thread::Builder::new().name("pod-connect".to_owned()).spawn(move || {
        let _ = sender.send(connect_inside(netns, port));
    })?;
    let stream = receiver.await.map_err(|_| io::Error::other("the connecting thread ended"))??;
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

fn connect_inside(netns: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    if let Some(path) = netns {
        let namespace = File::open(path)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    }
    let to = |ip: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(ip, port), CONNECT_LIMIT);
    to(IpAddr::V4(Ipv4Addr::LOCALHOST)).or_else(|first| to(IpAddr::V6(Ipv6Addr::LOCALHOST)).map_err(|_| first))
}
