//! grpc: the standard health service, `grpc.health.v1.Health/Check`, over HTTP/2 in the clear. The
//! two messages have one field each, so their encoding stands here.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Version, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Answer, tcp};

/// Upstream's answer holds one enum; anything long is not it.
const MAX_BODY_BYTES: usize = 4 << 10;
const UNIMPLEMENTED: &str = "12";

pub async fn probe(host: &str, port: u16, service: &str, timeout: Duration) -> Answer {
    let address = tcp::join(host, port);
    let Ok(stream) = tcp::connect(host, port, timeout).await else {
        let text = "context deadline exceeded";
        let within = format!("{}s", timeout.as_secs());
        return Answer::Failure(format!("timeout: failed to connect service {address:?} within {within}: {text}"));
    };
    match tokio::time::timeout(timeout, check(stream, &address, service)).await {
        Ok(answer) => answer,
        Err(_) => Answer::Failure(format!("timeout: health rpc did not complete within {}s", timeout.as_secs())),
    }
}

async fn check(stream: tokio::net::TcpStream, address: &str, service: &str) -> Answer {
    match exchange(stream, address, service).await {
        Err(why) => Answer::Failure(format!("error: health rpc probe failed: {why}")),
        Ok(Reply { status, message, .. }) if status == UNIMPLEMENTED => Answer::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Ok(Reply { status, message, .. }) if status != "0" => Answer::Failure(format!(
            "error: health rpc probe failed: rpc error: code = {} desc = {message}",
            code_name(&status)
        )),
        Ok(Reply { serving: 1, .. }) => Answer::Success,
        Ok(Reply { serving, .. }) => {
            Answer::Failure(format!("service unhealthy (responded with {:?})", serving_name(serving)))
        }
    }
}

struct Reply {
    /// `grpc-status`, a number as text.
    status: String,
    message: String,
    serving: u64,
}

async fn exchange(stream: tokio::net::TcpStream, address: &str, service: &str) -> Result<Reply, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(text)?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "kube-probe/1.37")
        .body(Full::new(request(service)))
        .map_err(|e| e.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(text)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|e| e.to_string())?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let field = |name: &str| header_text(&trailers, name).or_else(|| header_text(&head.headers, name));
        Ok(Reply {
            status: field("grpc-status").unwrap_or_else(|| "2".to_owned()),
            message: field("grpc-message").unwrap_or_default(),
            serving: serving(&body.to_bytes()),
        })
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        Err(error) = connection => Err(error.to_string()),
    }
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Message header (uncompressed, length), then `service = 1: string`.
fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.unsplit(message);
    framed.freeze()
}

/// `status = 1: enum` after the message header; absent is 0, UNKNOWN.
fn serving(body: &[u8]) -> u64 {
    match body.get(5..) {
        Some([0x08, value, ..]) => u64::from(*value),
        _ => 0,
    }
}

fn serving_name(status: u64) -> &'static str {
    match status {
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

fn code_name(code: &str) -> &'static str {
    match code {
        "1" => "Canceled",
        "3" => "InvalidArgument",
        "4" => "DeadlineExceeded",
        "5" => "NotFound",
        "7" => "PermissionDenied",
        "8" => "ResourceExhausted",
        "13" => "Internal",
        "14" => "Unavailable",
        "16" => "Unauthenticated",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(&request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!((serving(&[0, 0, 0, 0, 2, 8, 1]), serving(&[0, 0, 0, 0, 0])), (1, 0));
    }

    #[tokio::test]
    async fn a_health_server() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    let (reply, code) = match &body[5..] {
                        [] => (vec![0, 0, 0, 0, 2, 8, 1], "0"),
                        [0x0a, 1, b'n'] => (vec![0, 0, 0, 0, 2, 8, 2], "0"),
                        _ => (vec![], "5"),
                    };
                    let response = http::Response::builder().header("grpc-status", code).header("grpc-message", "m");
                    Ok::<_, hyper::Error>(response.body(Full::new(Bytes::from(reply))).unwrap())
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        let minute = Duration::from_mins(1);
        assert_eq!(probe("127.0.0.1", port, "", minute).await, Answer::Success);
        let unhealthy = "service unhealthy (responded with \"NOT_SERVING\")".to_owned();
        assert_eq!(probe("127.0.0.1", port, "n", minute).await, Answer::Failure(unhealthy));
        let failed = "error: health rpc probe failed: rpc error: code = NotFound desc = m".to_owned();
        assert_eq!(probe("127.0.0.1", port, "zz", minute).await, Answer::Failure(failed));
    }
}
