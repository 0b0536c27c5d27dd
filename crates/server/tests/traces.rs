//! What a collector and a webhook learn of a traced request.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use harness::AllowAll;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orlop_client::transport::{Transport as _, UserInfo, empty};
use orlop_server::trace::{Configuration, Tracer};
use serde_json::json;
use tokio::net::TcpListener;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Keeps what it is sent; gives its address.
async fn collector(kept: Arc<Mutex<Vec<u8>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let kept = kept.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                kept.lock().unwrap().extend_from_slice(&body);
                let done = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
                let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(done)].map(Ok::<_, Infallible>);
                Ok::<_, Infallible>(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
            }
        });
        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    });
    address
}

#[tokio::test]
async fn steps_are_told_and_the_last_of_them_at_the_end() {
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let file = tempfile::NamedTempFile::new().unwrap();
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "TracingConfiguration",
        "endpoint": collector(kept.clone()).await,
    });
    std::fs::write(file.path(), configuration.to_string()).unwrap();
    let tracer = Tracer::start(&Configuration::load(file.path()).unwrap());
    let api = harness::with(Arc::new(AllowAll::default()), |config| config.tracer = Some(tracer.clone())).await;

    let heard: Arc<Mutex<HeaderMap>> = Arc::default();
    let hears = heard.clone();
    let client = harness::hook::serve_with_heads(move |headers, review| {
        hears.lock().unwrap().clone_from(headers);
        let response = json!({"uid": review["request"]["uid"], "allowed": true});
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
    })
    .await;
    let rules = json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["namespaces"]}]);
    let hook = json!({"name": "v.example.com", "clientConfig": client, "sideEffects": "None",
                      "admissionReviewVersions": ["v1"], "rules": rules});
    let configuration = json!({"metadata": {"name": "v"}, "webhooks": [hook]});
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    api.post(path, configuration).await.is(201);

    let headers = [("content-type", "application/json"), ("traceparent", PARENT), ("tracestate", "a=b")];
    api.send("POST", "/api/v1/namespaces", &headers, r#"{"metadata": {"name": "traced"}}"#).await.is(201);
    let told = |name: &str| heard.lock().unwrap().get(name).map(|value| value.to_str().unwrap().to_owned());
    let onward = told("traceparent").unwrap();
    assert!(onward.starts_with(&PARENT[..36]) && onward.ends_with("-01") && onward != PARENT, "{onward}");
    assert_eq!(told("tracestate").as_deref(), Some("a=b"));

    for path in ["/api/v1/namespaces/traced?resourceVersion=0", "/api/v1/namespaces"] {
        api.send("GET", path, &headers[1..], "").await.is(200);
    }
    let administrator = UserInfo { groups: vec!["system:masters".into()], ..UserInfo::default() };
    let watch = Request::get("/api/v1/namespaces?watch=true").header("traceparent", PARENT).body(empty()).unwrap();
    assert_eq!(api.server.component(administrator).send(watch).await.unwrap().status(), 200);

    tracer.close().await;
    let kept = String::from_utf8_lossy(&kept.lock().unwrap()).into_owned();
    for part in [
        "POST /api/v1/namespaces",
        "Create etcd3",
        "/registry/namespaces/traced",
        "*core.Namespace",
        "SerializeObject",
        "mediaType",
        "Call validating webhook",
        "v.example.com",
        "/v1, Resource=namespaces",
        "HTTP POST",
        "url.full",
        "user-agent",
        "resource-version",
        "cacher.GetList",
        "cacher.Watch",
    ] {
        assert!(kept.contains(part), "{part} is not in {kept}");
    }
}
