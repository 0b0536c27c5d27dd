//! Streaming protocols against themselves, over real sockets and hyper.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use orlop_client::streams::remote_command::{self, Options, Outcome, TerminalSize};
use orlop_client::streams::websocket::{self, Role};
use orlop_client::streams::{logs, port_forward, upgrade};
use orlop_client::transport::{Body, BoxError, Transport, full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Handler = Arc<dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync>;

/// A server on a loopback port, and a transport to it.
async fn serve<F, R>(handler: F) -> Loopback
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).expect("nodelay");
            let handler = handler.clone();
            let service = hyper::service::service_fn(move |request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(socket), service).with_upgrades());
        }
    });
    Loopback { address, refuse_websocket: false }
}

#[derive(Clone)]
struct Loopback {
    address: SocketAddr,
    refuse_websocket: bool,
}

impl Transport for Loopback {
    fn send(&self, mut request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        let Self { address, refuse_websocket } = self.clone();
        Box::pin(async move {
            if refuse_websocket && upgrade::requested(request.headers()) == Some(upgrade::Protocol::WebSocket) {
                return Ok(upgrade::refuse(StatusCode::BAD_REQUEST, "no websockets here"));
            }
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
            tokio::spawn(connection.with_upgrades());
            request.headers_mut().insert("host", "loopback".parse()?);
            let response = sender.send_request(request).await?;
            Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
        })
    }
}

/// A command that greets on stderr, prints its first terminal size, echoes its input and exits
/// with the input's length modulo 256.
async fn exec(mut request: Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let options = match Options::from_kubelet_query(query) {
        Ok(options) => options,
        Err(error) => return upgrade::refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let accepted = match remote_command::accept(&mut request, options) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    tokio::spawn(async move {
        let mut session = accepted.session.await.expect("session");
        if let Some(stderr) = &mut session.stderr {
            stderr.write_all(b"hello from stderr").await.expect("stderr");
        }
        drop(session.stderr.take());
        let mut stdout = session.stdout.take().expect("stdout asked for");
        if let Some(resize) = &mut session.resize {
            let size = resize.next().await.expect("a size");
            stdout.write_all(format!("{}x{} ", size.width, size.height).as_bytes()).await.expect("stdout");
        }
        let copied = match &mut session.stdin {
            Some(stdin) => tokio::io::copy(stdin, &mut stdout).await.expect("echo"),
            None => 0,
        };
        drop(stdout);
        let code = (copied % 256) as i32;
        session.ending.finish(if code == 0 { Outcome::Success } else { Outcome::Exit(code) }).await;
    });
    accepted.response
}

async fn run(transport: &Loopback, tty: bool, input: Vec<u8>) -> (Vec<u8>, Vec<u8>, Outcome) {
    let options = Options { stdin: true, stdout: true, stderr: true, tty };
    let path = format!("/exec/ns/pod/c?input=1&output=1&error=1&tty={}", u8::from(tty));
    let mut session = remote_command::connect(transport, &path, options).await.expect("connected");
    session.resize(TerminalSize { width: 80, height: 24 }).await.expect("resize");
    let mut stdin = session.stdin.take().expect("stdin");
    let feed = tokio::spawn(async move {
        stdin.write_all(&input).await.expect("write");
        stdin.shutdown().await.expect("end of input");
    });
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut stdout = session.stdout.take().expect("stdout");
    let stderr = session.stderr.take();
    let read_stderr = async {
        if let Some(mut stderr) = stderr {
            stderr.read_to_end(&mut err).await.expect("stderr");
        }
    };
    let (read, (), outcome) = tokio::join!(stdout.read_to_end(&mut out), read_stderr, session.outcome);
    read.expect("stdout");
    feed.await.expect("fed");
    (out, err, outcome)
}

#[tokio::test]
async fn a_command_runs_over_either_protocol() {
    for refuse_websocket in [false, true] {
        let transport = Loopback { refuse_websocket, ..serve(exec).await };
        let (out, err, outcome) = run(&transport, false, b"abc".to_vec()).await;
        assert_eq!((&out[..], &err[..], outcome), (&b"abc"[..], &b"hello from stderr"[..], Outcome::Exit(3)));
        let (out, err, outcome) = run(&transport, true, Vec::new()).await;
        assert_eq!((&out[..], &err[..], outcome), (&b"80x24 "[..], &b""[..], Outcome::Success));
    }
}

#[tokio::test]
async fn megabytes_pass_unharmed() {
    let input: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
    for refuse_websocket in [false, true] {
        let transport = Loopback { refuse_websocket, ..serve(exec).await };
        let (out, _, outcome) = run(&transport, false, input.clone()).await;
        assert_eq!(out.len(), input.len());
        assert_eq!(out, input);
        assert_eq!(outcome, Outcome::Exit((input.len() % 256) as i32));
    }
}

#[tokio::test]
async fn a_refusal_carries_the_servers_words() {
    let transport = serve(exec).await;
    let error = remote_command::connect(&transport, "/exec/ns/pod/c", Options::default()).await.err();
    let text = error.expect("refused").to_string();
    assert_eq!(text, "unable to upgrade connection: you must specify at least 1 of stdin, stdout, stderr");
}

/// Old protocols, spoken by hand: the outcome is bare text and payloads may be base64.
#[tokio::test]
async fn old_and_base64_clients_are_understood() {
    let transport = serve(exec).await;
    let status = r#"{"details":{"causes":[{"message":"3","reason":"ExitCode"}]}"#;
    let cases: [(&str, bool, &str); 3] = [
        ("channel.k8s.io", false, "command terminated with non-zero exit code: "),
        ("base64.channel.k8s.io", true, "command terminated with non-zero exit code: "),
        ("v4.base64.channel.k8s.io", true, status),
    ];
    for (protocol, base64, ending) in cases {
        let (mut incoming, outgoing) = dial(&transport, "/exec/ns/pod/c?input=1&output=1&error=1", protocol).await;
        let payload = if base64 { "0YWJj" } else { "\0abc" };
        let message = websocket::Message::Data { text: base64, lead: None, payload: payload.into() };
        outgoing.send(message).await.expect("sent");
        let mut streams = vec![Vec::new(); 4];
        while streams[1].len() < 3 {
            take(&mut incoming, base64, &mut streams).await.expect("more output");
        }
        // Before v5 only the connection's close ends the input; the outcome is then lost on us, so
        // ask a command without input for it.
        assert_eq!(streams[1], b"abc", "{protocol}");
        assert_eq!(streams[2], b"hello from stderr", "{protocol}");
        outgoing.close();
        while take(&mut incoming, base64, &mut streams).await.is_some() {}
        assert!(
            streams[3].is_empty() || String::from_utf8_lossy(&streams[3]).starts_with(ending),
            "{protocol}: {streams:?}"
        );
    }
}

async fn dial(transport: &Loopback, path: &str, protocol: &str) -> (websocket::Incoming, websocket::Outgoing) {
    let (headers, key) = websocket::request_headers(&[protocol]);
    let mut request = Request::get(path).body(full("")).expect("request");
    request.headers_mut().extend(headers);
    let response = transport.send(request).await.expect("sent");
    assert_eq!(websocket::check_response(&response, &key).expect("switched"), protocol);
    let connection = upgrade::connection(hyper::upgrade::on(response)).await.expect("upgraded");
    websocket::start(connection, Role::Client)
}

async fn take(incoming: &mut websocket::Incoming, base64: bool, streams: &mut [Vec<u8>]) -> Option<()> {
    use base64::Engine;
    let mut message = Vec::new();
    loop {
        let chunk = incoming.next().await?.ok()?;
        assert_eq!(chunk.text, base64);
        message.extend_from_slice(&chunk.bytes);
        if chunk.last {
            break;
        }
    }
    let (channel, payload) = message.split_first().expect("a channel");
    let engine = base64::engine::general_purpose::STANDARD;
    let (channel, payload) =
        if base64 { (channel - b'0', engine.decode(payload).expect("base64")) } else { (*channel, payload.to_vec()) };
    streams[usize::from(channel)].extend(payload);
    Some(())
}

/// Echoes every forwarded connection; port 1 refuses.
async fn forward(mut request: Request<Incoming>) -> Response<Body> {
    let ports: &[u16] = if request.uri().query() == Some("port=1") { &[1] } else { &[80] };
    let accepted = match port_forward::accept(&mut request, ports) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    tokio::spawn(async move {
        let mut forwards = accepted.forwards.await.expect("forwards");
        while let Some(mut forward) = forwards.next().await {
            tokio::spawn(async move {
                if forward.port == 1 {
                    return forward.error.write_all(b"connection refused").await.expect("error stream");
                }
                let _ = tokio::io::copy(&mut forward.from_client, &mut forward.to_client).await;
            });
        }
    });
    accepted.response
}

#[tokio::test]
async fn ports_are_forwarded_over_either_protocol() {
    for refuse_websocket in [false, true] {
        let transport = Loopback { refuse_websocket, ..serve(forward).await };
        let session = port_forward::connect(&transport, "/portForward/ns/pod").await.expect("connected");
        // A connection nobody reads must not stop the others.
        let mut stuck = session.open(80).await.expect("open");
        let filler = tokio::spawn(async move {
            let _ = stuck.to_pod.write_all(&vec![1; 4_000_000]).await;
            stuck
        });
        for i in 0..20u8 {
            let mut forwarded = session.open(80).await.expect("open");
            forwarded.to_pod.write_all(&vec![i; 100_000]).await.expect("write");
            forwarded.to_pod.shutdown().await.expect("shutdown");
            let mut back = Vec::new();
            forwarded.from_pod.read_to_end(&mut back).await.expect("read");
            assert_eq!(back, vec![i; 100_000]);
            assert_eq!(forwarded.error.await, "");
        }
        let refused = session.open(1).await.expect("open");
        assert_eq!(refused.error.await, "connection refused");
        filler.abort();
        session.close().await;
    }
}

#[tokio::test]
async fn websocket_channels_start_with_their_port() {
    let transport = serve(forward).await;
    let (mut incoming, outgoing) = dial(&transport, "/portForward/ns/pod?port=80", "v4.channel.k8s.io").await;
    let mut streams = vec![Vec::new(); 2];
    outgoing.send(websocket::Message::Data { text: false, lead: Some(0), payload: "ping".into() }).await.expect("sent");
    while streams[0].len() < 6 || streams[1].len() < 2 {
        take(&mut incoming, false, &mut streams).await.expect("more");
    }
    assert_eq!(streams, [b"\x50\0ping".to_vec(), b"\x50\0".to_vec()]);
}

#[tokio::test]
async fn websocket_channels_end_with_their_last_connection() {
    let transport = serve(forward).await;
    let (mut incoming, _outgoing) = dial(&transport, "/portForward/ns/pod?port=1", "v4.channel.k8s.io").await;
    let mut streams = vec![Vec::new(); 2];
    while take(&mut incoming, false, &mut streams).await.is_some() {}
    assert_eq!(streams, [b"\x01\0".to_vec(), b"\x01\0connection refused".to_vec()]);
}

#[tokio::test]
async fn logs_stream_as_messages() {
    let transport = serve(|mut request| async move {
        logs::serve(&mut request, full("line 1\nline 2\n")).unwrap_or_else(|refusal| *refusal)
    })
    .await;
    let (mut incoming, _outgoing) = dial(&transport, "/containerLogs/ns/pod/c", "binary.k8s.io").await;
    let mut text = Vec::new();
    while let Some(chunk) = incoming.next().await {
        text.extend_from_slice(&chunk.expect("intact").bytes);
    }
    assert_eq!(text, b"line 1\nline 2\n");
}
