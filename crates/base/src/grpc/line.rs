//! A server on a Unix socket.

use std::io;
use std::os::unix::net::SocketAddr;

use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::{Channel, Failure};
use crate::protobuf::Message;

/// Calls over one connection, which is made when it is needed and anew when it broke.
pub struct Line {
    /// How failures name it.
    endpoint: String,
    address: Result<SocketAddr, String>,
    channel: Mutex<Option<Channel>>,
}

impl Line {
    pub fn new(endpoint: &str, address: io::Result<SocketAddr>) -> Self {
        let address = address.map_err(|error| error.to_string());
        Self { endpoint: endpoint.to_owned(), address, channel: Mutex::default() }
    }

    /// One request, one answer. `path` is `/package.Service/Method`.
    pub async fn unary(&self, path: &str, request: &Message) -> Result<Bytes, Failure> {
        let channel = {
            let mut channel = self.channel.lock().await;
            match channel.as_ref().filter(|channel| !channel.is_closed()) {
                Some(channel) => channel.clone(),
                None => channel.insert(self.connect().await?).clone(),
            }
        };
        channel.unary(path, request).await
    }

    async fn connect(&self) -> Result<Channel, Failure> {
        let failed = |why: String| Failure::Unreachable { endpoint: self.endpoint.clone(), why };
        let address = self.address.as_ref().map_err(|why| failed(why.clone()))?;
        let connect = || {
            let stream = std::os::unix::net::UnixStream::connect_addr(address)?;
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        };
        Channel::over(connect().map_err(|error| failed(error.to_string()))?, "localhost", &[]).await.map_err(failed)
    }
}
