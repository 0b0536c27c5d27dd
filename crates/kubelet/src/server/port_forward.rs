//! `/portForward`: connections to ports of a pod.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use orlop_client::streams::port_forward::{Forward, accept, ports_from_query};
use orlop_client::transport::Body;
use tokio::io::AsyncWriteExt;
use tokio_util::task::TaskTracker;

use super::reply::plain;
use super::routes::Target;
use super::{find_pod, netns};
use crate::context::Context;
use crate::probes::tcp::in_gos_words;

pub fn serve(
    context: &Arc<Context>,
    target: &Target,
    query: &[(String, String)],
    mut request: Request<Incoming>,
) -> Response<Body> {
    let pairs = query.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let ports = match ports_from_query(pairs) {
        Ok(ports) => ports,
        Err(error) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let Some(handle) = find_pod(context, target) else { return plain(StatusCode::NOT_FOUND, "pod does not exist") };
    let uid = handle.pod().uid().to_owned();
    let view = context.observed.view(&uid);
    let Some(sandbox) = view.ready_sandbox() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to find sandboxID for pod {:?}", target.pod));
    };
    let namespace = sandbox.netns.clone();
    let accepted = match accept(&mut request, &ports) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    orlop_base::task::spawn(async move {
        let Ok(mut forwards) = accepted.forwards.await else { return };
        let connections = TaskTracker::new();
        while let Some(forward) = forwards.next().await {
            connections.spawn(orlop_base::task::boxed(carry(forward, namespace.clone(), uid.clone())));
        }
        connections.close();
        connections.wait().await;
    });
    accepted.response
}

/// How long a client may go on sending once the pod has said all it will; older clients never learn to stop.
const LINGER: Duration = Duration::from_secs(1);

async fn carry(forward: Forward, namespace: Option<PathBuf>, uid: String) {
    let Forward { port, mut from_client, mut to_client, mut error } = forward;
    let stream = match netns::connect(namespace, port).await {
        Ok(stream) => stream,
        Err(failure) => {
            let why = in_gos_words(&failure, "connect");
            let text =
                format!("failed to execute portforward in pod {uid}: failed to connect to localhost:{port}: {why}");
            let _ = error.write_all(text.as_bytes()).await;
            return;
        }
    };
    let (mut from_pod, mut to_pod) = stream.into_split();
    let mut up = pin!(async {
        let _ = tokio::io::copy(&mut from_client, &mut to_pod).await;
        let _ = to_pod.shutdown().await;
    });
    let mut down = pin!(async {
        let _ = tokio::io::copy(&mut from_pod, &mut to_client).await;
        let _ = to_client.shutdown().await;
    });
    tokio::select! {
        () = &mut up => down.await,
        () = &mut down => {
            let _ = tokio::time::timeout(LINGER, up).await;
        }
    }
}
