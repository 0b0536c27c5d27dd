//! exec, attach and port-forward: through to the kubelet
//! (`pkg/registry/core/pod/rest/subresources.go`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Response;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_client::streams::remote_command::Options;
use orlop_client::streams::upgrade;
use orlop_client::transport::Body;

use super::kubelet::{self, container, encode_query, node_of};
use super::translate::{self, Kubelet, Translation};
use super::{Connections, forward};
use crate::Server;
use crate::call::Call;
use crate::extend::Connector;
use crate::request::RequestInfo;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Exec,
    Attach,
    PortForward,
}

pub(super) struct Stream {
    pub connections: Arc<Connections>,
    pub kind: Kind,
}

impl Connector for Stream {
    fn serve(
        &self,
        server: &Arc<Server>,
        mut call: Call,
        _body: Body,
    ) -> BoxFuture<'static, Result<Response<Body>, StatusError>> {
        let (server, connections, kind) = (server.clone(), self.connections.clone(), self.kind);
        Box::pin(async move {
            // Browsers open WebSockets with GET; that must not make a right to read one to run
            // (`AuthorizePodWebsocketUpgradeCreatePermission`, issue 133515).
            if call.info.verb != "create" {
                let create = RequestInfo { verb: "create".into(), ..RequestInfo::clone(&call.info) };
                server.permit(&call.user, &create).await?;
            }
            let pod = connections.get("pods", &call.info.namespace, &call.info.name)?;
            let path = kubelet_path(kind, &pod, &call.info)?;
            let Some(node) = node_of(&pod) else {
                let text = format!("pod {} does not have a host assigned", call.info.name);
                return Err(StatusError::bad_request(text));
            };
            let node = connections.get("nodes", "", node)?;
            let target = kubelet::target(&node)?;
            if !upgrade::is_upgrade(&call.head.headers) {
                return Err(StatusError::bad_request("Upgrade request required"));
            }
            let translation = translate::needed(&node, &call.head.headers);
            let kubelet = || Kubelet { dialer: connections.kubelet.clone(), target: target.clone() };
            match translation {
                Some(Translation::Command) => {
                    translate::command(kubelet(), call.head, &path, options(&call.info)).await
                }
                Some(Translation::PortForward) => translate::port_forward(kubelet(), call.head, &path).await,
                None => forward::upgraded(&connections.kubelet, &target, &mut call.head, &path).await,
            }
        })
    }
}

/// The kubelet's path and query for what was asked of the API.
fn kubelet_path(kind: Kind, pod: &Value, info: &RequestInfo) -> Result<String, StatusError> {
    let (namespace, name) = (meta::namespace(pod), meta::name(pod));
    if kind == Kind::PortForward {
        let ports: Vec<String> = info.query.iter().filter(|(key, _)| key == "ports").map(|(_, v)| v.clone()).collect();
        let query = if ports.is_empty() { String::new() } else { encode_query(&[("port", ports.join(","))]) };
        return Ok(join(&format!("/portForward/{namespace}/{name}"), &query));
    }
    let container = container(pod, info.query("container").unwrap_or_default())?;
    let mut query: Vec<(&str, String)> = Vec::new();
    for (asked, kubelets) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if info.query_flag(asked) {
            query.push((kubelets, "1".into()));
        }
    }
    let verb = if kind == Kind::Exec { "exec" } else { "attach" };
    if kind == Kind::Exec {
        query.extend(info.query.iter().filter(|(key, _)| key == "command").map(|(_, word)| ("command", word.clone())));
    }
    Ok(join(&format!("/{verb}/{namespace}/{name}/{container}"), &encode_query(&query)))
}

/// The streams that were asked for; a terminal has no separate error output.
fn options(info: &RequestInfo) -> Options {
    let tty = info.query_flag("tty");
    Options {
        stdin: info.query_flag("stdin"),
        stdout: info.query_flag("stdout"),
        stderr: info.query_flag("stderr") && !tty,
        tty,
    }
}

fn join(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;
    use serde_json::json;

    #[test]
    fn paths_are_the_kubelets() {
        let pod = json!({"metadata": {"namespace": "a", "name": "p"}, "spec": {"containers": [{"name": "c"}]}});
        for (kind, path, kubelets) in [
            (
                Kind::Exec,
                "/api/v1/namespaces/a/pods/p/exec?command=ls&command=-l%20x&container=c&stdin=true&stdout=1&tty=true",
                "/exec/a/p/c?command=ls&command=-l%20x&input=1&output=1&tty=1",
            ),
            (Kind::Exec, "/api/v1/namespaces/a/pods/p/exec?stderr=true&stdin=false", "/exec/a/p/c?error=1"),
            (Kind::Attach, "/api/v1/namespaces/a/pods/p/attach?stdout=true&command=x", "/attach/a/p/c?output=1"),
            (Kind::PortForward, "/api/v1/namespaces/a/pods/p/portforward", "/portForward/a/p"),
            (
                Kind::PortForward,
                "/api/v1/namespaces/a/pods/p/portforward?ports=80&ports=443",
                "/portForward/a/p?port=80%2C443",
            ),
        ] {
            let info = RequestInfo::parse(&Method::GET, path);
            assert_eq!(kubelet_path(kind, &pod, &info).expect("a path"), kubelets, "{path}");
        }
    }
}
