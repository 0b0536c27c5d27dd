//! What an external signer can be asked: `v1.ExternalJWTSigner` (`k8s.io/externaljwt/apis/v1/api.proto`).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use orlop_base::grpc::{CallError, Failure, Line};
use orlop_base::protobuf::{Malformed, Message, read};
use tokio::time::{Instant, timeout};

use super::metrics::METRICS;

const SIGN: &str = "/v1.ExternalJWTSigner/Sign";
const FETCH_KEYS: &str = "/v1.ExternalJWTSigner/FetchKeys";
const METADATA: &str = "/v1.ExternalJWTSigner/Metadata";

pub struct Client(Line);

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// Both in base64url.
    pub header: String,
    pub signature: String,
}

#[derive(Debug, Default)]
pub struct Fetched {
    pub keys: Vec<Key>,
    /// Seconds since the epoch and nanoseconds.
    pub data_timestamp: Option<(i64, i64)>,
    pub refresh_hint_seconds: i64,
}

#[derive(Debug, Default)]
pub struct Key {
    pub id: String,
    /// SubjectPublicKeyInfo.
    pub info: Bytes,
    /// Only for tokens signed earlier.
    pub is_unpublished: bool,
}

impl Client {
    /// A path, or `@` and the name of an abstract socket.
    pub fn new(endpoint: &str) -> Self {
        let address = match endpoint.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(endpoint),
        };
        Self(Line::new(endpoint, address))
    }

    pub async fn sign(&self, claims: &str, within: Duration) -> Result<Signed, CallError> {
        let answer = self.call(SIGN, &Message::default().bytes(1, claims.as_bytes()), within).await?;
        let mut signed = Signed::default();
        read(&answer, |number, value| {
            match number {
                1 => signed.header = text(&value.bytes()?)?,
                2 => signed.signature = text(&value.bytes()?)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(signed)
    }

    pub async fn fetch_keys(&self, within: Duration) -> Result<Fetched, CallError> {
        let answer = self.call(FETCH_KEYS, &Message::default(), within).await?;
        let mut fetched = Fetched::default();
        read(&answer, |number, value| {
            match number {
                1 => fetched.keys.push(key(&value.bytes()?)?),
                2 => fetched.data_timestamp = Some(timestamp(&value.bytes()?)?),
                3 => fetched.refresh_hint_seconds = value.int()? as i64,
                _ => {}
            }
            Ok(())
        })?;
        Ok(fetched)
    }

    /// The longest life of a token that it signs, in seconds.
    pub async fn max_expiration_seconds(&self, within: Duration) -> Result<i64, CallError> {
        let answer = self.call(METADATA, &Message::default(), within).await?;
        let mut seconds = 0;
        read(&answer, |number, value| {
            if number == 1 {
                seconds = value.int()? as i64;
            }
            Ok(())
        })?;
        Ok(seconds)
    }

    async fn call(&self, method: &'static str, request: &Message, within: Duration) -> Result<Bytes, Failure> {
        let start = Instant::now();
        let result = timeout(within, self.0.unary(method, request)).await.unwrap_or(Err(Failure::TimedOut));
        METRICS.call(method, result.as_ref().err(), start.elapsed());
        result
    }
}

fn key(bytes: &Bytes) -> Result<Key, Malformed> {
    let mut key = Key::default();
    read(bytes, |number, value| {
        match number {
            1 => key.id = text(&value.bytes()?)?,
            2 => key.info = value.bytes()?,
            3 => key.is_unpublished = value.int()? != 0,
            _ => {}
        }
        Ok(())
    })?;
    Ok(key)
}

fn timestamp(bytes: &Bytes) -> Result<(i64, i64), Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    read(bytes, |number, value| {
        match number {
            1 => seconds = value.int()? as i64,
            2 => nanos = value.int()? as i64,
            _ => {}
        }
        Ok(())
    })?;
    Ok((seconds, nanos))
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
}
