//! What a plugin can be asked: `v2.KeyManagementService` over a Unix socket (`k8s.io/kms/apis/v2/api.proto`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orlop_base::grpc::{CallError, Failure, Line};
use orlop_base::protobuf::{Message, read};
use tokio::time::{Instant, timeout};

use super::metrics::METRICS;
use super::object::{Annotations, Source, annotation, entry, text};
use super::{KmsConfiguration, endpoint};

const STATUS: &str = "/v2.KeyManagementService/Status";
const ENCRYPT: &str = "/v2.KeyManagementService/Encrypt";
const DECRYPT: &str = "/v2.KeyManagementService/Decrypt";

#[derive(Clone)]
pub struct Plugin(Arc<Calls>);

struct Calls {
    name: String,
    /// Of one call.
    timeout: Duration,
    line: Line,
}

#[derive(Debug, Default)]
pub struct Status {
    pub version: String,
    pub healthz: String,
    pub key_id: String,
}

impl Plugin {
    pub fn new(configuration: &KmsConfiguration) -> Self {
        let endpoint = &*configuration.endpoint;
        Self(Arc::new(Calls {
            name: configuration.name.clone(),
            timeout: configuration.timeout(),
            line: Line::new(endpoint, endpoint::address(endpoint)),
        }))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub async fn status(&self) -> Result<Status, CallError> {
        let answer = self.0.call(STATUS, &Message::default()).await?;
        let mut status = Status::default();
        read(&answer, |number, value| {
            match number {
                1 => status.version = text(&value.bytes()?)?,
                2 => status.healthz = text(&value.bytes()?)?,
                3 => status.key_id = text(&value.bytes()?)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(status)
    }

    /// A seed, encrypted.
    pub async fn encrypt(&self, uid: &str, seed: &[u8]) -> Result<Source, CallError> {
        let request = Message::default().bytes(1, seed).bytes(2, uid.as_bytes());
        let answer = self.0.call(ENCRYPT, &request).await?;
        let mut source = Source { derived: true, ..Source::default() };
        read(&answer, |number, value| {
            match number {
                1 => source.encrypted = value.bytes()?,
                2 => source.key_id = text(&value.bytes()?)?,
                3 => annotation(&value.bytes()?, &mut source.annotations)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(source)
    }

    /// The key or seed itself. The call outlives the borrow: it is made on another thread.
    pub fn decrypt(&self, source: &Source) -> impl Future<Output = Result<Bytes, CallError>> + Send + 'static {
        let (calls, request) = (self.0.clone(), decrypt_request(source));
        async move {
            let answer = calls.call(DECRYPT, &request).await?;
            let mut plain = Bytes::new();
            read(&answer, |number, value| {
                if number == 1 {
                    plain = value.bytes()?;
                }
                Ok(())
            })?;
            Ok(plain)
        }
    }
}

fn decrypt_request(source: &Source) -> Message {
    let Source { key_id, encrypted, annotations, .. } = source;
    let uid = orlop_base::id::uuid();
    let request = Message::default().bytes(1, encrypted).bytes(2, uid.as_bytes()).bytes(3, key_id.as_bytes());
    with_annotations(request, annotations)
}

fn with_annotations(request: Message, annotations: &Annotations) -> Message {
    annotations.iter().fold(request, |request, (name, value)| request.message(4, entry(name, value)))
}

impl Calls {
    async fn call(&self, method: &'static str, request: &Message) -> Result<Bytes, Failure> {
        let start = Instant::now();
        let result = timeout(self.timeout, self.line.unary(method, request)).await.unwrap_or(Err(Failure::TimedOut));
        METRICS.operation(&self.name, method, result.as_ref().err(), start.elapsed());
        result
    }
}
