use std::convert::Infallible;

use http::header::{HeaderMap, HeaderName};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use orlop_base::port::ReservedPort;
use orlop_client::transport::{Body, empty, full};
use tokio::net::TcpListener;

use super::dial::{Dialer, Target};
use super::{forward, proxy};
use crate::pki::tls;

/// A backend that tells what it was asked, or answers with a page or a redirect.
async fn backend() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service =
                hyper::service::service_fn(
                    move |request| async move { Ok::<_, Infallible>(answer(request, port).await) },
                );
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    Target { encrypted: false, host: "127.0.0.1".into(), port }
}

async fn answer(request: Request<Incoming>, port: u16) -> Response<Full<bytes::Bytes>> {
    let page = r#"<html><a href="/rewriteme">x</a></html>"#;
    let response = Response::builder().header("access-control-allow-origin", "*");
    match request.uri().path() {
        "/page" => response.header("content-type", "text/html; charset=utf-8").body(page.into()),
        "/moved" => response.status(302).header("location", format!("http://127.0.0.1:{port}/page?q")).body("".into()),
        _ => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("body").to_bytes();
            let forwarded = head.headers.get("x-forwarded-uri").map(|v| v.to_str().expect("text").to_owned());
            let text = format!("{} {} {forwarded:?} {}", head.method, head.uri, String::from_utf8_lossy(&body));
            response.body(text.into())
        }
    }
    .expect("response")
}

async fn ask(target: &Target, method: Method, path: &str, body: Body) -> (u16, HeaderMap, String) {
    let dialer = Dialer::new(tls::unchecked_client_config(None).expect("tls"));
    let request = Request::builder().method(method).uri(path).header("host", "api").header("authorization", "x");
    let head = request.body(()).expect("request").into_parts().0;
    let (prefix, tail) = path.split_once('?').map_or(path, |(path, _)| path).split_at("/p/proxy".len());
    let response = proxy::plain(&dialer, target, &head, prefix, tail, body).await.expect("answered");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("body").to_bytes();
    (head.status.as_u16(), head.headers, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn requests_pass_and_answers_come_back_rewritten() {
    let target = backend().await;
    let (code, headers, text) = ask(&target, Method::PUT, "/p/proxy/a%2Fb/?c=d", full("body")).await;
    assert_eq!((code, &*text), (200, "PUT /a%2Fb/?c=d Some(\"/p/proxy/a%2Fb/\") body"));
    assert!(!headers.contains_key(HeaderName::from_static("access-control-allow-origin")));
    let (_, headers, text) = ask(&target, Method::GET, "/p/proxy/page", empty()).await;
    assert_eq!(text, r#"<html><a href="/p/proxy/rewriteme">x</a></html>"#);
    assert!(!headers.contains_key("content-length"));
    let (code, headers, _) = ask(&target, Method::GET, "/p/proxy/moved", empty()).await;
    assert_eq!((code, &headers["location"]), (302, &"/p/proxy/page?q".parse().expect("header")));
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_told_in_gos_words() {
    let reserved = ReservedPort::new().expect("a port");
    let port = reserved.address.port();
    let target = Target { encrypted: false, host: "127.0.0.1".into(), port };
    let dialer = Dialer::new(tls::unchecked_client_config(None).expect("tls"));
    let mut head = Request::get("/x").body(()).expect("request").into_parts().0;
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    let error = proxy::plain(&dialer, &target, &head, "", "/x", empty()).await.expect_err("refused");
    assert_eq!((error.code, error.message), (503, format!("error trying to reach service: {refused}")));
    let error = forward::upgraded(&dialer, &target, &mut head, "/x").await.expect_err("refused");
    assert_eq!((error.code, error.message), (500, format!("error dialing backend: {refused}")));
}
