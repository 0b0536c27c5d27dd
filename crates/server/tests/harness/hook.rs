//! A webhook over TLS.

use std::sync::Arc;

use base64::Engine as _;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers every review as `answer` says; gives its client configuration.
pub async fn serve(answer: impl Fn(&Value) -> Value + Clone + Send + Sync + 'static) -> Value {
    serve_with_heads(move |_, review| answer(review)).await
}

/// The same, for who wants to see the headers.
pub async fn serve_with_heads(answer: impl Fn(&HeaderMap, &Value) -> Value + Clone + Send + Sync + 'static) -> Value {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let bundle = base64::engine::general_purpose::STANDARD.encode(issued.cert.pem());
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                    let answer = answer.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let answer = answer(&head.headers, &serde_json::from_slice(&body).unwrap()).to_string();
                        Ok::<_, hyper::Error>(http::Response::new(Full::new(bytes::Bytes::from(answer))))
                    }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    json!({"url": format!("https://localhost:{port}/review"), "caBundle": bundle})
}
