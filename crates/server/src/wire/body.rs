//! Reading a request's body under a limit.

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body::Body as _;
use http_body_util::{BodyExt as _, StreamBody};
use orlop_api::status::StatusError;
use orlop_client::transport::Body;
use tokio::time::{Instant, sleep_until};

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

/// The body, which breaks off at `deadline`: who sends it too slowly must not hold for ever what requests hold.
pub fn until(body: Body, deadline: Instant) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let frames = stream::unfold(Some((body, Box::pin(sleep_until(deadline)))), |state| async move {
        let (mut body, mut late) = state?;
        tokio::select! {
            biased;
            frame = body.frame() => frame.map(|frame| (frame, Some((body, late)))),
            () = &mut late => Some((Err("it took too long".into()), None)),
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use orlop_client::transport::full;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_break_off() {
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        let begun = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{")))]);
        let endless = StreamBody::new(stream::StreamExt::chain(begun, stream::pending()));
        let endless = endless.map_err(|never| match never {}).boxed_unsync();
        let error = read(until(endless, deadline)).await.expect_err("it never ends");
        assert_eq!((error.code, &*error.message), (400, "reading the request body failed: it took too long"));
        assert_eq!(Instant::now(), deadline);
        assert_eq!(read(until(full("{}"), deadline)).await.expect("whole"), "{}");
    }
}
