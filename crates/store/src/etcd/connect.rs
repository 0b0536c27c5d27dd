//! Making a connection to a member.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::grpc::Channel;

/// A member cut off from the others says so at once instead of trying (clientv3.WithRequireLeader).
const METADATA: &[(&str, &str)] = &[("hasleader", "true")];

/// A member's client URL.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// Host and port.
    authority: String,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Plain,
    Tls(Arc<ClientConfig>, ServerName<'static>),
    /// In this process. Behind a pointer: what nobody dials is not linked.
    Local(Arc<dyn Fn() -> DuplexStream + Send + Sync>),
}

impl Endpoint {
    /// `http://host:port`, or `https://` with `tls`.
    pub fn parse(url: &str, tls: Option<&ClientConfig>) -> Result<Endpoint, String> {
        let uri: http::Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(format!("{url}: want http://host:port or https://host:port"));
        };
        let host = authority.host();
        let way = match (scheme, tls) {
            ("http", _) => Way::Plain,
            ("https", Some(tls)) => {
                let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(name).map_err(|error| format!("{url}: {error}"))?;
                let mut tls = tls.clone();
                tls.alpn_protocols = vec![b"h2".to_vec()];
                Way::Tls(Arc::new(tls), name)
            }
            ("https", None) => return Err(format!("{url}: there is no CA to trust")),
            _ => return Err(format!("{url}: want http:// or https://")),
        };
        Ok(Endpoint { authority: format!("{host}:{}", authority.port_u16().unwrap_or(2379)), way })
    }

    /// A member in this process.
    pub fn local(authority: &str, dial: impl Fn() -> DuplexStream + Send + Sync + 'static) -> Endpoint {
        Endpoint { authority: authority.to_owned(), way: Way::Local(Arc::new(dial)) }
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub async fn connect(&self) -> Result<Channel, String> {
        match &self.way {
            Way::Plain => self.speak(self.tcp().await?).await,
            Way::Tls(tls, name) => {
                let connecting = TlsConnector::from(tls.clone()).connect(name.clone(), self.tcp().await?);
                self.speak(connecting.await.map_err(|error| error.to_string())?).await
            }
            Way::Local(dial) => self.speak(dial()).await,
        }
    }

    async fn speak(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Channel, String> {
        Channel::over(io, &self.authority, METADATA).await
    }

    async fn tcp(&self) -> Result<TcpStream, String> {
        let tcp = TcpStream::connect(&self.authority).await.map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(tcp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_scheme_and_a_host() {
        let authority = |url| Endpoint::parse(url, None).map(|endpoint| endpoint.authority);
        assert_eq!(authority("http://127.0.0.1:2379").unwrap(), "127.0.0.1:2379");
        assert_eq!(authority("http://[::1]").unwrap(), "[::1]:2379");
        for bad in ["127.0.0.1:2379", "etcd", "ftp://a:1", "https://a:1", "http://"] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }
}
