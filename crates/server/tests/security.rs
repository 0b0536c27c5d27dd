//! The whole way: HTTPS with certificates and tokens, the default policy, and streams through to a
//! kubelet, each end speaking its own role of the real protocols.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use orlop_client::config::{Auth, Config as ClientConfig};
use orlop_client::https::Https;
use orlop_client::streams::remote_command::{self, Options, Outcome};
use orlop_client::streams::websocket::{self, Role};
use orlop_client::streams::{port_forward, upgrade};
use orlop_client::transport::{Body, BoxError, Transport, UserInfo, full};
use orlop_server::pki::{Config, Pki};
use orlop_server::{Security, SecurityConfig, Server};
use orlop_store::Store;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

struct Cluster {
    server: Arc<Server>,
    security: Security,
    address: String,
    kubelet_port: u16,
    _dir: tempfile::TempDir,
}

async fn cluster() -> Cluster {
    cluster_with(true).await
}

/// An old kubelet speaks SPDY alone.
async fn cluster_with(new_kubelet: bool) -> Cluster {
    let dir = tempfile::tempdir().expect("tempdir");
    let pki = Arc::new(
        Pki::open(Config {
            dir: dir.path().join("pki"),
            node_name: "node".into(),
            addresses: vec![IpAddr::from([127, 0, 0, 1])],
            service_address: IpAddr::from([10, 96, 0, 1]),
            cluster_domain: "cluster.local".into(),
            extra_names: Vec::new(),
        })
        .expect("pki"),
    );
    let store = Store::open(orlop_store::Config::in_memory()).await.expect("store");
    let security = Security::new(&store, pki.clone(), SecurityConfig::default()).expect("security");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let mut config = security.server_config();
    security.serve_discovery(&mut config, address.clone());
    let server = Server::new(config);
    let tls = pki.server_config().expect("tls");
    tokio::spawn(server.clone().serve(listener, tls, CancellationToken::new()));
    server.bootstrap().await.expect("bootstrap");
    security.make_policy(&server).await.expect("policy");
    let kubelet_port = kubelet(&pki, new_kubelet).await;
    let cluster = Cluster { server, security, address, kubelet_port, _dir: dir };
    cluster.fill(new_kubelet).await;
    cluster
}

impl Cluster {
    /// A transport with a certificate (`admin`, `node`), a bearer token, or nothing.
    fn caller(&self, auth: Auth, leaf: Option<&orlop_server::pki::Leaf>) -> Https {
        let identity = leaf.map(orlop_server::pki::Leaf::identity);
        Https::new(&ClientConfig {
            server: format!("https://{}", self.address),
            certificate_authority: Some(self.security.pki().cluster_ca().pem().into()),
            client_certificate: identity.map(|i| (i.certificate_pem.clone().into(), i.key_pem.clone().into())),
            auth,
            ..ClientConfig::default()
        })
        .expect("transport")
    }

    fn admin(&self) -> Https {
        self.caller(Auth::default(), Some(&self.security.pki().admin))
    }

    fn bearer(&self, token: &str) -> Https {
        self.caller(Auth::Token(token.to_owned()), None)
    }

    async fn fill(&self, new_kubelet: bool) {
        let admin = self.admin();
        create(&admin, "/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await;
        create(&admin, "/api/v1/namespaces/a/serviceaccounts", json!({"metadata": {"name": "sa"}})).await;
        create(&admin, "/api/v1/namespaces/a/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
        create(&admin, "/api/v1/nodes", json!({"metadata": {"name": "node"}})).await;
        let status = json!({
            "metadata": {"name": "node"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self.kubelet_port}},
                "declaredFeatures": if new_kubelet { json!(["ExtendWebSocketsToKubelet"]) } else { json!([]) },
            },
        });
        let (code, answer) = call(&admin, "PUT", "/api/v1/nodes/node/status", Some(status)).await;
        assert_eq!(code, 200, "{answer}");
        let pod = json!({
            "metadata": {"name": "pod"},
            "spec": {"nodeName": "node", "containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]},
        });
        create(&admin, "/api/v1/namespaces/a/pods", pod).await;
    }
}

async fn call(transport: &dyn Transport, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let text = body.map(|body| body.to_string()).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let response = transport.send(request.body(full(text)).expect("request")).await.expect("sent");
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("body").to_bytes();
    let text = || Value::from(String::from_utf8_lossy(&body).into_owned());
    (code, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
}

async fn create(transport: &dyn Transport, path: &str, body: Value) -> Value {
    let (code, answer) = call(transport, "POST", path, Some(body)).await;
    assert_eq!(code, 201, "{path}: {answer}");
    answer
}

/// A kubelet's streaming server: exec echoes its path and input, port-forward echoes.
async fn kubelet(pki: &Arc<Pki>, new: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let acceptor = TlsAcceptor::from(pki.kubelet_server_config().expect("tls"));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).expect("nodelay");
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(socket).await.expect("handshake");
                let certificates = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
                assert_eq!(certificates, 1, "the API server shows its certificate");
                let service =
                    hyper::service::service_fn(move |request| async move { Ok::<_, Infallible>(node(request, new)) });
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            });
        }
    });
    port
}

fn node(mut request: Request<Incoming>, new: bool) -> Response<Body> {
    let uri = request.uri().to_string();
    let spdy = upgrade::requested(request.headers()) == Some(upgrade::Protocol::Spdy);
    assert!(new || spdy || uri.starts_with("/containerLogs/"), "{uri}");
    if uri.starts_with("/containerLogs/a/pod/d") {
        let text = r#"container "d" in pod "pod" is waiting to start: ContainerCreating"#;
        return response(400, text);
    }
    if uri.starts_with("/containerLogs/") {
        return response(200, "line 1\nline 2\n");
    }
    if uri.starts_with("/portForward/") {
        let accepted = port_forward::accept(&mut request, &[]).expect("accepted");
        tokio::spawn(async move {
            let mut forwards = accepted.forwards.await.expect("forwards");
            while let Some(mut forward) = forwards.next().await {
                tokio::io::copy(&mut forward.from_client, &mut forward.to_client).await.expect("echo");
            }
        });
        return accepted.response;
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let options = Options::from_kubelet_query(query.split('&').filter_map(|pair| pair.split_once('=')));
    let accepted = remote_command::accept(&mut request, options.expect("streams")).expect("accepted");
    tokio::spawn(async move {
        let mut session = accepted.session.await.expect("session");
        let mut stdout = session.stdout.take().expect("stdout");
        stdout.write_all(uri.as_bytes()).await.expect("write");
        tokio::io::copy(&mut session.stdin.take().expect("stdin"), &mut stdout).await.expect("echo");
        drop(stdout);
        session.ending.finish(Outcome::Exit(7)).await;
    });
    accepted.response
}

fn response(code: u16, text: &str) -> Response<Body> {
    let mut response = Response::new(full(text.to_owned()));
    *response.status_mut() = StatusCode::from_u16(code).expect("a code");
    response
}

#[tokio::test]
async fn callers_get_what_the_policy_gives_them() {
    let cluster = cluster().await;
    let admin = cluster.admin();
    let (code, answer) = call(&cluster.caller(Auth::default(), None), "GET", "/api/v1/nodes", None).await;
    let text = r#"nodes is forbidden: User "system:anonymous" cannot list resource "nodes" in API group "" at the cluster scope"#;
    assert_eq!((code, &answer["message"]), (403, &json!(text)));
    assert_eq!(call(&cluster.caller(Auth::default(), None), "GET", "/version", None).await.0, 200);
    assert_eq!(call(&cluster.bearer("wrong"), "GET", "/version", None).await.0, 401);

    let token_path = "/api/v1/namespaces/a/serviceaccounts/sa/token";
    let token = create(&admin, token_path, json!({"spec": {}})).await;
    let account = cluster.bearer(token["status"]["token"].as_str().expect("a token"));
    let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let me = create(&account, whoami, json!({})).await;
    assert_eq!(me["status"]["userInfo"]["username"], "system:serviceaccount:a:sa");

    let pods = "/api/v1/namespaces/a/pods";
    assert_eq!(call(&account, "GET", pods, None).await.0, 403);
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/a/rolebindings";
    let binding = json!({
        "metadata": {"name": "view"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:aggregate-to-view"},
        "subjects": [{"kind": "ServiceAccount", "name": "sa", "namespace": "a"}],
    });
    create(&admin, bindings, binding).await;
    assert_eq!(call(&account, "GET", pods, None).await.0, 200, "a grant counts at once");

    let (code, keys) = call(&admin, "GET", "/openid/v1/jwks", None).await;
    assert_eq!((code, &keys["keys"][0]["alg"]), (200, &json!("ES256")));
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let cluster = cluster().await;
    let groups = vec!["system:authenticated".to_owned()];
    let bob = cluster.server.component(UserInfo { name: "bob".into(), groups, ..UserInfo::default() });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let rules = |role: &str, rules: Value| json!({"metadata": {"name": role}, "rules": rules});
    let manage =
        json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "update"]}]);
    let admin = cluster.admin();
    create(&admin, path, rules("manager", manage.clone())).await;
    let bind = |name: &str, role: &str, user: &str| {
        json!({
            "metadata": {"name": name}, "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        })
    };
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    create(&admin, bindings, bind("bob", "manager", "bob")).await;

    create(&bob, path, rules("same", manage)).await;
    let secrets = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]);
    let (code, answer) = call(&bob, "POST", path, Some(rules("more", secrets.clone()))).await;
    let text = concat!(
        r#"clusterroles.rbac.authorization.k8s.io "more" is forbidden: user "bob" (groups=["system:authenticated"]) "#,
        "is attempting to grant RBAC permissions not currently held:\n",
        r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#,
    );
    assert_eq!((code, &answer["message"]), (403, &json!(text)));
    let (code, answer) = call(&bob, "POST", bindings, Some(bind("up", "cluster-admin", "bob"))).await;
    assert_eq!(code, 403, "{answer}");
    let (code, answer) = call(&bob, "POST", bindings, Some(bind("gone", "no-such-role", "bob"))).await;
    assert_eq!(
        (code, &answer["message"]),
        (404, &json!(r#"clusterrolebindings.rbac.authorization.k8s.io "no-such-role" not found"#))
    );
    create(&admin, path, rules("reader", secrets)).await;
    create(&bob, bindings, bind("same", "same", "carol")).await;
}

#[tokio::test]
async fn a_node_is_held_to_its_own() {
    let cluster = cluster().await;
    let node = cluster.caller(Auth::default(), Some(&cluster.security.pki().node_client));
    let admin = cluster.admin();
    create(&admin, "/api/v1/nodes", json!({"metadata": {"name": "other"}})).await;
    create(&admin, "/api/v1/namespaces/a/secrets", json!({"metadata": {"name": "s"}})).await;
    for (method, path, body, code, text) in [
        ("GET", "/api/v1/nodes/node", None, 200, ""),
        ("GET", "/api/v1/nodes/other", None, 403, "node 'node' cannot read 'other', only its own Node object"),
        ("GET", "/api/v1/namespaces/a/pods/pod", None, 200, ""),
        (
            "GET",
            "/api/v1/namespaces/a/secrets/s",
            None,
            403,
            "no relationship found between node 'node' and this object",
        ),
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode", None, 200, ""),
        ("GET", "/api/v1/pods", None, 403, "can only list/watch pods with spec.nodeName field selector"),
        (
            "PATCH",
            "/api/v1/nodes/node",
            Some(json!({"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}})),
            403,
            "is not allowed to modify labels: node-restriction.kubernetes.io/x",
        ),
        ("PATCH", "/api/v1/nodes/other", Some(json!({})), 403, "node \"node\" is not allowed to modify node \"other\""),
        (
            "POST",
            "/api/v1/namespaces/a/serviceaccounts/default/token",
            Some(json!({"spec": {}})),
            403,
            "node requested token not bound to a pod",
        ),
        (
            "POST",
            "/api/v1/namespaces/a/pods",
            Some(json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})),
            403,
            "can only create mirror pods",
        ),
    ] {
        let text_of = body.map(|body: Value| body.to_string()).unwrap_or_default();
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let response = node.send(request.body(full(text_of)).expect("request")).await.expect("sent");
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("body").to_bytes();
        let answer = String::from_utf8_lossy(&bytes).replace("\\\"", "\"");
        assert_eq!(status, code, "{method} {path}: {answer}");
        assert!(answer.contains(text), "{method} {path}: {answer}");
    }
}

/// Refuses WebSockets, so that clients fall back to SPDY.
struct NoWebSocket(Https);

impl Transport for NoWebSocket {
    fn send(
        &self,
        request: Request<Body>,
    ) -> futures_util::future::BoxFuture<'static, Result<Response<Body>, BoxError>> {
        if upgrade::requested(request.headers()) == Some(upgrade::Protocol::WebSocket) {
            return Box::pin(async { Ok(upgrade::refuse(StatusCode::BAD_REQUEST, "no")) });
        }
        self.0.send(request)
    }
}

#[tokio::test]
async fn commands_run_through_to_the_kubelet() {
    let path = "/api/v1/namespaces/a/pods/pod/exec?command=ls&command=-l&container=c&stdin=true&stdout=true";
    let options = Options { stdin: true, stdout: true, ..Options::default() };
    for new_kubelet in [true, false] {
        let cluster = cluster_with(new_kubelet).await;
        let transports: [Box<dyn Transport>; 2] = [Box::new(cluster.admin()), Box::new(NoWebSocket(cluster.admin()))];
        for transport in transports {
            let mut session = remote_command::connect(&*transport, path, options).await.expect("connected");
            let mut stdin = session.stdin.take().expect("stdin");
            stdin.write_all(b" input").await.expect("write");
            stdin.shutdown().await.expect("end");
            let mut out = String::new();
            session.stdout.take().expect("stdout").read_to_string(&mut out).await.expect("output");
            assert_eq!(out, "/exec/a/pod/c?command=ls&command=-l&input=1&output=1 input");
            assert_eq!(session.outcome.await, Outcome::Exit(7));
        }
    }
    let cluster = cluster().await;
    for (query, text) in [
        ("stdout=true", "a container name must be specified for pod pod, choose one of: [c d]"),
        ("stdout=true&container=x", "container x is not valid for pod pod"),
    ] {
        let path = format!("/api/v1/namespaces/a/pods/pod/exec?{query}");
        let error = remote_command::connect(&cluster.admin(), &path, options).await.err().expect("refused");
        assert_eq!(error.to_string(), format!("unable to upgrade connection: {text}"));
    }
    let (code, answer) = call(&cluster.admin(), "POST", path, None).await;
    assert_eq!((code, &answer["message"]), (400, &json!("Upgrade request required")));
}

#[tokio::test]
async fn ports_are_forwarded_through_to_the_kubelet() {
    let path = "/api/v1/namespaces/a/pods/pod/portforward";
    for new_kubelet in [true, false] {
        let cluster = cluster_with(new_kubelet).await;
        let transports: [Box<dyn Transport>; 2] = [Box::new(cluster.admin()), Box::new(NoWebSocket(cluster.admin()))];
        for transport in transports {
            let session = port_forward::connect(&*transport, path).await.expect("connected");
            let mut forwarded = session.open(80).await.expect("open");
            forwarded.to_pod.write_all(&vec![9; 300_000]).await.expect("write");
            forwarded.to_pod.shutdown().await.expect("end");
            let mut back = Vec::new();
            forwarded.from_pod.read_to_end(&mut back).await.expect("read");
            assert_eq!(back, vec![9; 300_000]);
            session.close().await;
        }
    }
}

#[tokio::test]
async fn logs_come_as_text_and_as_messages() {
    let cluster = cluster().await;
    let admin = cluster.admin();
    let path = "/api/v1/namespaces/a/pods/pod/log?container=c&tailLines=2";
    let (code, text) = call(&admin, "GET", path, None).await;
    assert_eq!((code, text), (200, json!("line 1\nline 2\n")));
    let (code, answer) = call(&admin, "GET", "/api/v1/namespaces/a/pods/pod/log?container=d", None).await;
    let waiting = r#"container "d" in pod "pod" is waiting to start: ContainerCreating"#;
    assert_eq!((code, &answer["message"], &answer["reason"]), (400, &json!(waiting), &json!("BadRequest")));

    let (headers, key) = websocket::request_headers(&["binary.k8s.io"]);
    let mut request = Request::get(path).body(full("")).expect("request");
    request.headers_mut().extend(headers);
    let response = admin.send(request).await.expect("sent");
    assert_eq!(websocket::check_response(&response, &key).expect("switched"), "binary.k8s.io");
    let connection = upgrade::connection(hyper::upgrade::on(response)).await.expect("upgraded");
    let (mut incoming, _outgoing) = websocket::start(connection, Role::Client);
    let mut text = Vec::new();
    while let Some(chunk) = incoming.next().await {
        text.extend_from_slice(&chunk.expect("intact").bytes);
    }
    assert_eq!(text, b"line 1\nline 2\n");
}

#[tokio::test]
async fn gathered_rules_show_in_the_roles() {
    let cluster = cluster().await;
    let (security, server) = (cluster.security.clone(), cluster.server.clone());
    let running = tokio::spawn(async move { security.run(&server).await });
    let store = cluster.server.store().clone();
    let key = "rbac.authorization.k8s.io/clusterroles";
    let mut watch = store.watch(key, None, 1).expect("watch");
    // Admin gathers last; its rules are then more than a handful.
    loop {
        let snapshot = store.snapshot();
        let admin = snapshot.get(key, "", "admin").expect("there");
        let admin: Value = serde_json::from_slice(&admin.json).expect("json");
        let managers = admin["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        if admin["rules"].as_array().is_some_and(|rules| rules.len() > 20) {
            assert!(
                managers.iter().any(|entry| entry["manager"] == "clusterrole-aggregation-controller"),
                "{managers:?}"
            );
            break;
        }
        watch.next().await.expect("a change");
    }
    running.abort();
}

#[tokio::test]
async fn extension_servers_learn_how_to_recognize_callers() {
    let cluster = cluster().await;
    let (security, server) = (cluster.security.clone(), cluster.server.clone());
    let running = tokio::spawn(async move { security.run(&server).await });
    let store = cluster.server.store().clone();
    let mut watch = store.watch("configmaps", Some("kube-system"), 1).expect("watch");
    let name = "extension-apiserver-authentication";
    let find = || store.snapshot().get("configmaps", "kube-system", name).cloned();
    while find().is_none() {
        watch.next().await.expect("a change");
    }
    let first = find().expect("there");
    let entry: Value = serde_json::from_slice(&first.json).expect("json");
    assert_eq!(entry["data"]["requestheader-allowed-names"], r#"["front-proxy-client"]"#);
    assert_eq!(entry["data"]["client-ca-file"], cluster.security.pki().cluster_ca().pem());
    let path = format!("/api/v1/namespaces/kube-system/configmaps/{name}");
    assert_eq!(call(&cluster.admin(), "DELETE", &path, None).await.0, 200);
    while find().is_none_or(|again| again.created == first.created) {
        watch.next().await.expect("a change");
    }
    running.abort();
}
