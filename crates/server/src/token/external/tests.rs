use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use orlop_base::grpc::framed;
use orlop_base::protobuf::Message;
use serde_json::json;

use super::*;
use crate::pki::SigningKey;
use crate::token::discovery;
use crate::token::tests::cluster_of;
use crate::token::{Claims, Issuer, IssuerConfig, Reference};

/// What the fake signer has and says.
struct Says {
    /// Identifiers, and whether others are not to know of them. The last one signs.
    keys: Vec<(&'static str, bool)>,
    typ: &'static str,
    refusal: Option<&'static str>,
    max_expiration_seconds: u64,
    fetches: usize,
}

#[derive(Clone)]
struct Fake {
    says: Arc<Mutex<Says>>,
    key: Arc<SigningKey>,
    /// Of the key.
    info: Bytes,
    socket: PathBuf,
}

impl Fake {
    fn serve(dir: &Path) -> Self {
        let key = Arc::new(SigningKey::open(&dir.join("sa")).expect("a key"));
        let pem = std::fs::read_to_string(dir.join("sa.pub")).expect("its public half");
        let info = pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        let says = Says {
            keys: vec![("old", true), ("1", false)],
            typ: "JWT",
            refusal: None,
            max_expiration_seconds: 7200,
            fetches: 0,
        };
        let socket = dir.join("signer.sock");
        let fake = Self {
            says: Arc::new(Mutex::new(says)),
            key,
            info: STANDARD.decode(info).expect("base64").into(),
            socket: socket.clone(),
        };
        let (listener, answers) = (tokio::net::UnixListener::bind(socket).expect("a socket"), fake.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = answers.clone();
                let service = service_fn(move |request| fake.clone().answer(request));
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        fake
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>>>, Infallible>
    {
        let method = request.uri().path().to_owned();
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let mut says = self.says.lock().expect("no panic");
        let message = match &*method {
            "/v1.ExternalJWTSigner/FetchKeys" => {
                says.fetches += 1;
                let key = |(id, hidden): &(&str, bool)| {
                    Message::default().bytes(1, id.as_bytes()).bytes(2, &self.info).int(3, u64::from(*hidden))
                };
                let keys = says.keys.iter().fold(Message::default(), |message, one| message.message(1, key(one)));
                keys.message(2, Message::default().int(1, 1_700_000_000)).int(3, 300)
            }
            "/v1.ExternalJWTSigner/Metadata" => Message::default().int(1, says.max_expiration_seconds),
            "/v1.ExternalJWTSigner/Sign" => self.sign(&says, &body),
            other => panic!("{other}"),
        };
        let refusal = says.refusal.filter(|_| method.ends_with("Sign"));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(if refusal.is_some() { "7" } else { "0" }));
        if let Some(why) = refusal {
            trailers.insert("grpc-message", HeaderValue::from_static(why));
        }
        let data = refusal.is_none().then(|| Ok(Frame::data(framed(&message))));
        let frames = futures_util::stream::iter(data.into_iter().chain([Ok(Frame::trailers(trailers))]));
        Ok(Response::builder().header("content-type", "application/grpc").body(StreamBody::new(frames)).expect("valid"))
    }

    fn sign(&self, says: &Says, body: &Bytes) -> Message {
        let mut claims = Bytes::new();
        let fields = orlop_base::protobuf::read(&body.slice(5..), |_, value| {
            claims = value.bytes()?;
            Ok(())
        });
        fields.expect("a message");
        let kid = says.keys.last().expect("a key").0;
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": kid, "typ": says.typ}).to_string());
        let signed = [header.as_bytes(), b".", &claims].concat();
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(&signed));
        Message::default().bytes(1, header.as_bytes()).bytes(2, signature.as_bytes())
    }

    fn set(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().expect("no panic"));
    }

    fn fetches(&self) -> usize {
        self.says.lock().expect("no panic").fetches
    }

    async fn open(&self) -> Result<External, String> {
        External::open(&self.socket.display().to_string()).await.map_err(|error| error.to_string())
    }

    async fn issuer(&self) -> Issuer {
        let (_store, issuer) = cluster_of(IssuerConfig::default()).await;
        issuer.with_external(Arc::new(self.open().await.expect("the signer is there")))
    }
}

fn claims() -> Claims {
    let now = orlop_base::clock::unix_seconds();
    Claims {
        issuer: IssuerConfig::default().issuer,
        audiences: vec![IssuerConfig::default().issuer],
        issued_at: now,
        not_before: now,
        expires_at: now + 600,
        namespace: "a".into(),
        service_account: Reference { name: "sa".into(), uid: "uid-sa".into() },
        ..Claims::default()
    }
}

#[tokio::test]
async fn tokens_are_signed_elsewhere_and_verified_here() {
    let dir = tempfile::tempdir().expect("tempdir");
    let fake = Fake::serve(dir.path());
    let (issuer, other) = (fake.issuer().await, fake.issuer().await);
    let token = issuer.sign(&claims()).await.expect("signed");
    let bearer = |issuer: &Issuer, token: &str| match issuer.authenticate(token, None) {
        Ok(found) => found.map(|found| found.user.name).unwrap_or_default(),
        Err(why) => why.to_string(),
    };
    assert_eq!(bearer(&issuer, &token), "system:serviceaccount:a:sa");
    assert!(issuer.own_key().is_none());

    // Another key signs now: who signs learns of it, and so does who is shown the token.
    fake.set(|says| says.keys.push(("2", false)));
    let token = issuer.sign(&claims()).await.expect("signed");
    assert_eq!(bearer(&issuer, &token), "system:serviceaccount:a:sa");
    assert_eq!(bearer(&other, &token), "invalid signature, no keys found");
    other.learn(&token).await;
    assert_eq!(bearer(&other, &token), "system:serviceaccount:a:sa");
    assert_eq!(fake.fetches(), 4);
    other.learn(&token).await;
    other.learn("no token").await;
    assert_eq!(fake.fetches(), 4, "what is known is not fetched");

    let answer = discovery::answer(discovery::JWKS_PATH, &issuer, "").expect("an answer");
    let age = answer.headers()["cache-control"].to_str().expect("text").rsplit('=').next().map(str::parse::<u64>);
    assert!(matches!(age, Some(Ok(240..=300))), "{age:?}");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    let keys: Value = serde_json::from_slice(&body).expect("JSON");
    let ids: Vec<&Value> = keys["keys"].as_array().expect("a list").iter().map(|key| &key["kid"]).collect();
    assert_eq!(ids, ["1", "2"], "not those that only verify");
}

#[tokio::test]
async fn bad_answers_are_refused_in_upstreams_words() {
    let dir = tempfile::tempdir().expect("tempdir");
    let fake = Fake::serve(dir.path());
    let issuer = fake.issuer().await;
    let refused = async || issuer.sign(&claims()).await.expect_err("refused").to_string();
    fake.set(|says| says.typ = "JOSE");
    assert_eq!(refused().await, "while validating header: bad type");
    fake.set(|says| (says.typ, says.keys) = ("JWT", vec![("1", false), ("old", true)]));
    assert_eq!(
        refused().await,
        "while validating header: key used for signing JWT (kid: old) is excluded from OIDC discovery docs"
    );
    fake.set(|says| says.refusal = Some("sealed"));
    assert_eq!(refused().await, "while signing jwt: rpc error: code = PermissionDenied desc = sealed");
    fake.set(|says| says.max_expiration_seconds = 60);
    let short = "max token life supported by external-jwt-signer (60s) is less than acceptable (min 600s)";
    assert_eq!(fake.open().await.err().as_deref(), Some(short));
    fake.set(|says| says.keys.clear());
    let none = "while initially filling key cache: while fetching token verification keys: found no keys";
    assert_eq!(fake.open().await.err().as_deref(), Some(none));
}

#[test]
fn headers_say_no_more_than_they_should() {
    let check = |header: Value| check_header(&URL_SAFE_NO_PAD.encode(header.to_string()));
    assert_eq!(check(json!({"typ": "JWT", "alg": "ES384", "kid": "k"})).as_deref(), Ok("k"));
    assert_eq!(check(json!({"typ": "JWT", "alg": "none", "kid": "k"})), Err("bad signing algorithm \"none\"".into()));
    assert_eq!(check(json!({"typ": "JWT", "alg": "RS256"})), Err("key id missing".into()));
    assert!(check(json!({"typ": "JWT", "alg": "RS256", "kid": "k", "jku": "x"})).is_err_and(|why| why.contains("jku")));
    assert!(check_header("?").is_err_and(|why| why.starts_with("while unwrapping header: ")));
}
