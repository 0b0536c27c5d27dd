//! Reading a request's body under a limit.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use orlop_api::status::StatusError;
use orlop_client::transport::Body;

/// Upstream's `MaxRequestBodyBytes`: twice etcd's request limit of 1.5 MiB.
pub const LIMIT: usize = 3 * 1024 * 1024;

/// The whole body; a body that comes in one frame is not copied.
pub async fn read(mut body: Body) -> Result<Bytes, StatusError> {
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| StatusError::bad_request(format!("reading the request body failed: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = more.as_ref().map_or(first.len(), BytesMut::len);
        if so_far + data.len() > LIMIT {
            return Err(StatusError::too_large(format!("Request entity too large: limit is {LIMIT}")));
        }
        match &mut more {
            Some(buffer) => buffer.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut buffer = BytesMut::with_capacity(so_far + data.len());
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&data);
                more = Some(buffer);
            }
        }
    }
    Ok(more.map_or(first, BytesMut::freeze))
}
