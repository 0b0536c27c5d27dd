//! For kubelets that speak only SPDY: WebSocket towards the caller, SPDY towards the node
//! (KEP-4006; `apiserver/pkg/util/proxy/streamtranslator.go`, `streamtunnel.go`).

use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use orlop_api::Value;
use orlop_api::status::StatusError;
use orlop_client::streams::remote_command::{self, ClientSession, Options, Session};
use orlop_client::streams::websocket::{self, Role};
use orlop_client::streams::{StreamError, spdy, upgrade};
use orlop_client::transport::{Body, BoxError, Transport, empty};
use tokio::io::AsyncWriteExt;

use super::dial::{Dialer, Target};
use crate::audit::Trail;

/// What a kubelet declares that understands the newer protocols itself.
const FEATURE: &str = "ExtendWebSocketsToKubelet";

const COMMAND: &str = "v5.channel.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// What has to be translated for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Translation {
    Command,
    PortForward,
}

/// Whether the node needs the caller's protocol translated.
pub(super) fn needed(node: &Value, headers: &HeaderMap) -> Option<Translation> {
    let mut declared = node["status"]["declaredFeatures"].as_array().into_iter().flatten();
    if declared.any(|feature| feature == FEATURE) || upgrade::requested(headers) != Some(upgrade::Protocol::WebSocket) {
        return None;
    }
    let mut asked = upgrade::tokens(headers, "sec-websocket-protocol");
    asked.find_map(|protocol| match protocol {
        COMMAND => Some(Translation::Command),
        TUNNEL => Some(Translation::PortForward),
        _ => None,
    })
}

/// exec and attach.
pub(super) async fn command(
    kubelet: Kubelet,
    mut head: Parts,
    path: &str,
    options: Options,
) -> Result<Response<Body>, StatusError> {
    let node = remote_command::connect_spdy(&kubelet, path, options).await.map_err(failed)?;
    let trail = head.extensions.remove::<Trail>();
    let accepted = match remote_command::accept(&mut Request::from_parts(head, ()), options) {
        Ok(accepted) => accepted,
        Err(refusal) => return Ok(*refusal),
    };
    orlop_base::task::spawn(async move {
        match accepted.session.await {
            Ok(session) => converse(session, node).await,
            Err(error) => tracing::debug!(error = %orlop_base::error::chain(&error), "translated session ended"),
        }
        drop(trail);
    });
    Ok(accepted.response)
}

/// Carries a command's streams until the node tells its end or the caller is gone.
async fn converse(mut caller: Session, mut node: ClientSession) {
    let (mut stdin, mut to_node) = (caller.stdin.take(), node.stdin.take());
    let input = async {
        if let (Some(from), Some(to)) = (&mut stdin, &mut to_node) {
            // Either side may end first; the outcome tells how the command did.
            let _ = tokio::io::copy(from, to).await;
            let _ = to.shutdown().await;
        }
        std::future::pending::<()>().await;
    };
    let (mut stdout, mut stderr) = (caller.stdout.take(), caller.stderr.take());
    let (mut node_stdout, mut node_stderr) = (node.stdout.take(), node.stderr.take());
    let outcome = std::mem::replace(&mut node.outcome, Box::pin(std::future::pending()));
    let output = async {
        tokio::join!(pump(&mut node_stdout, &mut stdout), pump(&mut node_stderr, &mut stderr));
        outcome.await
    };
    let mut sizes = caller.resize.take();
    let resize = async {
        while let Some(sizes) = &mut sizes {
            let Some(size) = sizes.next().await else { break };
            let _ = node.resize(size).await;
        }
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        biased;
        outcome = output => outcome,
        () = caller.ending.disconnected() => return,
        () = input => return,
        () = resize => return,
    };
    drop((stdout, stderr));
    caller.ending.finish(outcome).await;
}

async fn pump(from: &mut Option<orlop_client::streams::Reader>, to: &mut Option<orlop_client::streams::Writer>) {
    if let (Some(from), Some(to)) = (from, to) {
        // Output that nobody takes is dropped; the outcome still counts.
        let _ = tokio::io::copy(from, to).await;
    }
}

/// The WebSocket tunnel ends here; the SPDY inside goes to the node as it is.
pub(super) async fn port_forward(kubelet: Kubelet, mut head: Parts, path: &str) -> Result<Response<Body>, StatusError> {
    let mut request = Request::new(empty());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().map_err(|_| StatusError::bad_request(format!("invalid path {path:?}")))?;
    spdy::handshake::ask(request.headers_mut(), &["portforward.k8s.io"]);
    let response = kubelet.send(request).await.map_err(|error| failed(StreamError::Transport(error)))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let (answer, _) = match websocket::accept(&head.headers, &[TUNNEL]) {
        Ok(accepted) => accepted,
        Err(refusal) => return Ok(*refusal),
    };
    let caller = head.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let caller = caller.ok_or_else(|| StatusError::new(500, "", "request connection cannot be hijacked"))?;
    let trail = head.extensions.remove::<Trail>();
    orlop_base::task::spawn(async move {
        let joined = async {
            let mut node = upgrade::connection(hyper::upgrade::on(response)).await?;
            let (incoming, outgoing) = websocket::start(upgrade::connection(caller).await?, Role::Server);
            let mut caller = websocket::ByteStream::new(incoming, outgoing);
            tokio::io::copy_bidirectional(&mut caller, &mut node).await?;
            Ok::<(), StreamError>(())
        };
        if let Err(error) = joined.await {
            tracing::debug!(error = %orlop_base::error::chain(&error), "translated port-forward ended");
        }
        drop(trail);
    });
    Ok(answer)
}

fn failed(error: StreamError) -> StatusError {
    StatusError::new(
        500,
        "",
        match error {
            StreamError::Transport(error) => format!("error dialing backend: {error}"),
            other => orlop_base::error::chain(&other),
        },
    )
}

/// A kubelet as a transport.
#[derive(Clone)]
pub(super) struct Kubelet {
    pub dialer: Dialer,
    pub target: Target,
}

impl Transport for Kubelet {
    fn send(&self, mut request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        let Self { dialer, target } = self.clone();
        Box::pin(async move {
            let host = HeaderValue::try_from(target.to_string())?;
            request.headers_mut().insert(http::header::HOST, host);
            Ok(dialer.send(&target, request).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_new_protocols_to_old_kubelets_need_it() {
        let (old, new) = (json!({}), json!({"status": {"declaredFeatures": ["A", FEATURE]}}));
        for (node, protocol, translation) in [
            (&old, "v5.channel.k8s.io", Some(Translation::Command)),
            (&old, "v4.channel.k8s.io", None),
            (&old, TUNNEL, Some(Translation::PortForward)),
            (&new, "v5.channel.k8s.io", None),
            (&new, TUNNEL, None),
        ] {
            let (headers, _) = websocket::request_headers(&[protocol]);
            assert_eq!(needed(node, &headers), translation, "{protocol}");
        }
        assert_eq!(needed(&old, &HeaderMap::new()), None);
    }
}
