use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use orlop_base::protobuf::{Message, read};
use orlop_store::{Config, Draft, Durability, Key, Store, StoreError, Transformer as _};
use serde_json::json;

use crate::encryption::{Encryption, EncryptionError};

/// What the fake plugin says. It encrypts by turning every bit.
#[derive(Clone)]
struct Plugin(Arc<Mutex<Answers>>);

struct Answers {
    key_id: &'static str,
    healthz: &'static str,
    /// What decrypting is refused with.
    refusal: Option<&'static str>,
    calls: BTreeMap<String, usize>,
}

impl Plugin {
    /// Serves on a socket until the thread that it has for itself ends with the process.
    fn serve(socket: &Path) -> Self {
        let plugin =
            Self(Arc::new(Mutex::new(Answers { key_id: "1", healthz: "ok", refusal: None, calls: BTreeMap::new() })));
        let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
        listener.set_nonblocking(true).expect("no blocking");
        let answers = plugin.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(answers.accept(listener));
        });
        plugin
    }

    async fn accept(self, listener: std::os::unix::net::UnixListener) {
        let listener = tokio::net::UnixListener::from_std(listener).expect("a socket");
        while let Ok((stream, _)) = listener.accept().await {
            let plugin = self.clone();
            let service = service_fn(move |request| plugin.clone().answer(request));
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>>>, Infallible>
    {
        let method = request.uri().path().rsplit('/').next().expect("a path").to_owned();
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let mut fields = BTreeMap::new();
        read(&body.slice(5..), |number, value| {
            fields.insert(number, value.bytes()?);
            Ok(())
        })
        .expect("a message");
        let mut state = self.0.lock().expect("no panic");
        *state.calls.entry(method.clone()).or_default() += 1;
        let turned = || fields[&1].iter().map(|byte| !byte).collect::<Vec<u8>>();
        let message = match &*method {
            "Status" => {
                Message::default().bytes(1, b"v2").bytes(2, state.healthz.as_bytes()).bytes(3, state.key_id.as_bytes())
            }
            "Encrypt" => Message::default()
                .bytes(1, &turned())
                .bytes(2, state.key_id.as_bytes())
                .message(3, super::object::entry("kms.example.com", b"x")),
            _ => Message::default().bytes(1, &turned()),
        };
        let refusal = state.refusal.filter(|_| method == "Decrypt");
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(if refusal.is_some() { "9" } else { "0" }));
        if let Some(why) = refusal {
            trailers.insert("grpc-message", HeaderValue::from_static(why));
        }
        let data = refusal.is_none().then(|| Ok(Frame::data(orlop_base::grpc::framed(&message))));
        let frames = futures_util::stream::iter(data.into_iter().chain([Ok(Frame::trailers(trailers))]));
        Ok(Response::builder().header("content-type", "application/grpc").body(StreamBody::new(frames)).expect("valid"))
    }

    fn set(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.0.lock().expect("no panic"));
    }

    fn calls(&self, method: &str) -> usize {
        self.0.lock().expect("no panic").calls.get(method).copied().unwrap_or_default()
    }
}

fn configure(dir: &Path) -> Result<Arc<Encryption>, EncryptionError> {
    let endpoint = format!("unix://{}", dir.join("kms.sock").display());
    let kms = json!({"apiVersion": "v2", "name": "vault", "endpoint": endpoint});
    let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
                      "resources": [{"resources": ["secrets"], "providers": [{"kms": kms}, {"identity": {}}]}]});
    std::fs::write(dir.join("encryption.yaml"), file.to_string()).expect("written");
    Encryption::load(&dir.join("encryption.yaml"))
}

/// Has the plugin asked now, as time would.
fn probe(encryption: &Encryption) {
    let kms = encryption.rules.load().kms[0].clone();
    let asked = kms.clone();
    kms.worker.wait(async move { asked.check().await });
}

const AT: &str = "/registry/secrets/a/x";

#[test]
fn objects_are_sealed_by_a_seed_that_the_plugin_encrypted() {
    let dir = tempfile::tempdir().expect("tempdir");
    let plugin = Plugin::serve(&dir.path().join("kms.sock"));
    let encryption = configure(dir.path()).expect("loaded");
    assert_eq!(encryption.can_seal("secrets", false), Ok(()));
    let sealed = encryption.seal("secrets", AT, b"{}").expect("sealed");
    assert!(sealed.starts_with(b"k8s:enc:kms:v2:vault:"));
    let opened = encryption.open("secrets", AT, &sealed).expect("opened");
    assert_eq!((opened.json.as_deref(), opened.current), (Some(&b"{}"[..]), true));
    assert!(encryption.open("secrets", "/registry/secrets/b/x", &sealed).is_err());
    assert_eq!((plugin.calls("Encrypt"), plugin.calls("Decrypt")), (1, 0), "its own seed needs no decrypting");

    // Another start knows the seed once the plugin has decrypted it.
    let other = configure(dir.path()).expect("loaded");
    for _ in 0..3 {
        assert_eq!(other.open("secrets", AT, &sealed).expect("opened").json.as_deref(), Some(&b"{}"[..]));
    }
    assert_eq!(plugin.calls("Decrypt"), 1);

    let before = other.generation("secrets");
    plugin.set(|answers| answers.key_id = "2");
    probe(&other);
    assert!(other.generation("secrets") > before);
    assert!(!other.open("secrets", AT, &sealed).expect("opened").current);
    assert_eq!(plugin.calls("Encrypt"), 3);
    probe(&other);
    assert_eq!(plugin.calls("Encrypt"), 3, "the same key goes on with the same seed");
}

#[test]
fn a_plugin_that_is_ill_is_reported_in_upstreams_words() {
    let dir = tempfile::tempdir().expect("tempdir");
    let plugin = Plugin::serve(&dir.path().join("kms.sock"));
    let encryption = configure(dir.path()).expect("loaded");
    let health = || encryption.rules.load().health();
    assert_eq!(health(), Ok(()));
    plugin.set(|answers| answers.healthz = "sick");
    probe(&encryption);
    let why = "kms-provider-0: kmsv2 Provider vault is not healthy, error: got unexpected healthz status: sick";
    assert_eq!(health(), Err(why.into()));
    assert_eq!(encryption.can_seal("secrets", false), Ok(()), "the key is the same");

    plugin.set(|answers| (answers.healthz, answers.key_id) = ("ok", ""));
    probe(&encryption);
    let why =
        "kms-provider-0: kmsv2 Provider vault is not healthy, error: got invalid KMSv2 KeyID hash \"\": keyID is empty";
    assert_eq!(health(), Err(why.into()));
}

#[test]
fn a_seed_expires_when_the_plugin_is_not_heard_of() {
    let dir = tempfile::tempdir().expect("tempdir");
    let _plugin = Plugin::serve(&dir.path().join("kms.sock"));
    let encryption = configure(dir.path()).expect("loaded");
    let state = encryption.rules.load().kms[0].state.load_full().expect("a seed");
    state.renew(0);
    assert_eq!(
        encryption.can_seal("secrets", false).expect_err("expired").split(" (current").next(),
        Some(
            "encryptedDEKSource with keyID hash \
             \"sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b\" expired at \
             1970-01-01T00:03:00Z"
        )
    );
    assert_eq!(encryption.can_seal("secrets", true), Ok(()), "deletions go on");
    assert_eq!(encryption.can_seal("pods", false), Ok(()));
}

#[tokio::test]
async fn what_could_not_be_read_is_read_once_the_plugin_is_back() {
    let dir = tempfile::tempdir().expect("tempdir");
    let socket = dir.path().join("kms.sock");
    let plugin = Plugin::serve(&socket);
    let open = async || {
        let encryption = configure(dir.path()).expect("loaded");
        let config = Config::at(dir.path().join("store")).with_transformer(encryption.clone());
        (Store::open(config).await.expect("opened"), encryption)
    };
    let key = Key { resource: "secrets".into(), namespace: "a".into(), name: "x".into() };
    let draft = Draft::encode(&json!({"metadata": {"name": "x"}}));
    let (store, _) = open().await;
    store.create(key.clone(), draft.clone(), Durability::Flushed).await.expect("created");
    store.close().await.expect("closed");
    drop(store);

    // Nobody listens.
    std::fs::rename(&socket, dir.path().join("away.sock")).expect("renamed");
    let (store, encryption) = open().await;
    let read = || store.get(&key).expect("it is there");
    assert_eq!(read().unreadable(), Some("got unexpected nil transformer"));
    let refused = store.create(Key { name: "y".into(), ..key.clone() }, draft, Durability::Flushed).await;
    assert!(matches!(refused, Err(StoreError::Unsealable(_))), "{refused:?}");
    assert_eq!(store.reread().await, 0);

    let mut recoveries = encryption.recoveries();
    plugin.set(|answers| answers.refusal = Some("sealed"));
    std::fs::rename(dir.path().join("away.sock"), &socket).expect("renamed");
    probe(&encryption);
    assert!(recoveries.has_changed().expect("held"));
    recoveries.mark_unchanged();
    assert_eq!(store.reread().await, 0, "the plugin refuses to decrypt");

    plugin.set(|answers| answers.refusal = None);
    probe(&encryption);
    assert!(recoveries.has_changed().expect("held"));
    assert_eq!(store.reread().await, 1);
    let object: serde_json::Value = serde_json::from_slice(&read().json).expect("JSON");
    assert_eq!(object["metadata"]["name"], "x");
    store.close().await.expect("closed");
}

#[test]
fn version_1_is_refused() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("encryption.yaml");
    let kms = json!({"name": "vault", "endpoint": "unix:///kms.sock"});
    let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
                      "resources": [{"resources": ["secrets"], "providers": [{"kms": kms}]}]});
    std::fs::write(&path, file.to_string()).expect("written");
    let error = Encryption::load(&path).expect_err("refused").to_string();
    assert!(error.starts_with("error while building transformers: KMSv1 is deprecated"), "{error}");
}
