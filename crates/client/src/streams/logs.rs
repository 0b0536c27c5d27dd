//! A byte stream as WebSocket messages: `GET .../log` with an upgrade
//! (`k8s.io/streaming/pkg/httpstream/wsstream` Reader).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;

use super::websocket::{self, Message, Role};
use super::{LINGER, StreamError, upgrade};
use crate::transport::Body;

const PROTOCOLS: [&str; 3] = ["", "binary.k8s.io", "base64.binary.k8s.io"];

/// Answers an upgrade request with the 101 and starts sending `body`, one message per frame of it.
/// `Err` is the refusal to send.
pub fn serve<B>(request: &mut Request<B>, body: Body) -> Result<Response<Body>, Box<Response<Body>>> {
    let (response, name) = websocket::accept(request.headers(), &PROTOCOLS)?;
    let pending = hyper::upgrade::on(&mut *request);
    orlop_base::task::spawn(async move {
        if let Err(error) = run(pending, body, name == PROTOCOLS[2]).await {
            tracing::debug!(%error, "log websocket ended early");
        }
    });
    Ok(response)
}

async fn run(pending: hyper::upgrade::OnUpgrade, mut body: Body, base64: bool) -> Result<(), StreamError> {
    let (mut incoming, outgoing) = websocket::start(upgrade::connection(pending).await?, Role::Server);
    let message = |bytes: Bytes| Message::Data {
        text: base64,
        lead: None,
        payload: if base64 { STANDARD.encode(bytes).into() } else { bytes },
    };
    let sending = async {
        // Tells the client that the stream stands before there is anything to read.
        outgoing.send(message(Bytes::new())).await?;
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(bytes) = frame.into_data() {
                outgoing.send(message(bytes)).await?;
            }
        }
        outgoing.close();
        outgoing.written().await;
        tokio::time::sleep(LINGER).await;
        Ok(())
    };
    // Nothing a client sends matters, only that it is still there.
    let receiving = async { while let Some(Ok(_)) = incoming.next().await {} };
    tokio::select! {
        biased;
        result = sending => result,
        () = receiving => Ok(()),
    }
}
