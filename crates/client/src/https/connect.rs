//! Making one connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// client-go's dialer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The kernel asks a silent peer after this long, and gives up after three more tries: what
/// notices a dead server under an idle watch or an exec without waking this process.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Sent bytes unacknowledged for this long end the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(45);

pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

pub(super) type Io = TokioIo<Box<dyn Socket>>;

/// Where connections go.
pub(super) struct Target {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    /// `None`: in the clear. Two offers: anything, or HTTP/1.1 only.
    tls: Option<Offers>,
}

struct Offers {
    any: ArcSwapOption<ClientConfig>,
    http1: ArcSwapOption<ClientConfig>,
}

impl Target {
    pub fn new(
        authority: &http::uri::Authority,
        tls: Option<ClientConfig>,
        server_name: Option<&str>,
    ) -> Result<Self, String> {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let name = server_name.unwrap_or(&host).to_owned();
        let server_name = ServerName::try_from(name.clone()).map_err(|e| format!("{name}: {e}"))?;
        let encrypted = tls.is_some();
        let target = Self {
            host,
            port,
            server_name,
            tls: encrypted.then(|| Offers { any: ArcSwapOption::empty(), http1: ArcSwapOption::empty() }),
        };
        if let Some(tls) = tls {
            target.set_tls(&tls);
        }
        Ok(target)
    }

    pub fn set_tls(&self, tls: &ClientConfig) {
        let Some(offers) = &self.tls else { return };
        let offering = |protocols: &[&str]| {
            let mut offer = tls.clone();
            offer.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
            Some(Arc::new(offer))
        };
        offers.http1.store(offering(&["http/1.1"]));
        offers.any.store(offering(&["h2", "http/1.1"]));
    }

    /// A connection, and whether it speaks HTTP/2.
    pub async fn connect(&self, http1_only: bool) -> io::Result<(Io, bool)> {
        let connecting = self.connect_patiently(http1_only);
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect_patiently(&self, http1_only: bool) -> io::Result<(Io, bool)> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&tcp, true)?;
        sockopt::set_tcp_keepidle(&tcp, KEEPALIVE)?;
        sockopt::set_tcp_keepintvl(&tcp, KEEPALIVE / 6)?;
        sockopt::set_tcp_keepcnt(&tcp, 3)?;
        sockopt::set_tcp_user_timeout(&tcp, USER_TIMEOUT.as_millis() as u32)?;
        let Some(offers) = &self.tls else { return Ok((TokioIo::new(Box::new(tcp)), false)) };
        let offer = if http1_only { &offers.http1 } else { &offers.any };
        let offer = offer.load_full().expect("set when the target was made");
        let tls = TlsConnector::from(offer).connect(self.server_name.clone(), tcp).await?;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((TokioIo::new(Box::new(tls)), http2))
    }
}
