//! Encryption at rest, from the disk's and from a client's side.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{Api, over};
use orlop_server::encryption::Encryption;
use orlop_store::{Config, Store};
use serde_json::{Value, json};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const SECRET: &str = "/api/v1/namespaces/default/secrets/s";

/// A configuration whose secrets are sealed by these keys, the first of which writes.
fn configure(dir: &Path, keys: &[(&str, u8)]) {
    let keys: Vec<Value> =
        keys.iter().map(|(name, byte)| json!({"name": name, "secret": STANDARD.encode([*byte; 32])})).collect();
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": keys}}, {"identity": {}}]}],
    });
    std::fs::write(dir.join("encryption.yaml"), file.to_string()).unwrap();
}

async fn start(dir: &Path) -> Api {
    let encryption = Encryption::load(&dir.join("encryption.yaml")).unwrap();
    let config = Config::at(dir.join("store")).with_transformer(encryption);
    over(Store::open(config).await.unwrap())
}

async fn stop(api: Api) {
    let store = api.server.store().clone();
    drop(api);
    store.close().await.unwrap();
}

/// Whether the log holds these bytes.
fn on_disk(dir: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(dir.join("store")).unwrap();
    files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

async fn make(api: &Api) {
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await.is(201);
    api.post(SECRETS, json!({"metadata": {"name": "s"}, "stringData": {"x": "hush-hush"}})).await.is(201);
    api.post("/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "m"}, "data": {"x": "loud"}}))
        .await
        .is(201);
}

#[tokio::test]
async fn secrets_are_sealed_on_disk_and_written_anew_when_the_key_changes() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &[("one", 1)]);
    let api = start(dir.path()).await;
    make(&api).await;
    let secret = api.get(SECRET).await.is(200).json();
    let hidden = secret["data"]["x"].as_str().unwrap().to_owned();
    stop(api).await;
    assert!(!on_disk(dir.path(), &hidden) && on_disk(dir.path(), "k8s:enc:aesgcm:v1:one:"));
    assert!(on_disk(dir.path(), "loud"));

    configure(dir.path(), &[("two", 2), ("one", 1)]);
    let api = start(dir.path()).await;
    let read = api.get(SECRET).await.is(200).json();
    assert_eq!(read, secret);
    let rewritten = api.put(SECRET, read.clone()).await.is(200).json();
    assert_ne!(rewritten["metadata"]["resourceVersion"], read["metadata"]["resourceVersion"]);
    assert!(on_disk(dir.path(), "k8s:enc:aesgcm:v1:two:"));
    let again = api.put(SECRET, rewritten.clone()).await.is(200).json();
    assert_eq!(again["metadata"]["resourceVersion"], rewritten["metadata"]["resourceVersion"]);
    stop(api).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_can_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &[("one", 1)]);
    let api = start(dir.path()).await;
    make(&api).await;
    stop(api).await;

    configure(dir.path(), &[("two", 2)]);
    let api = start(dir.path()).await;
    let why = "StorageError: corrupt object, Code: 7, Key: /registry/secrets/default/s, ResourceVersion: 0, \
               AdditionalErrorMsg: data from the storage is not transformable revision=0: no matching key was found \
               for the provided AES transformer";
    api.get(SECRET).await.fails(500, &format!("Internal error occurred: {why}"));
    let cause = json!({"reason": "UnexpectedServerResponse", "field": "/registry/secrets/default/s", "message": why});
    api.get(SECRETS)
        .await
        .fails(500, &format!("failed to read one or more secrets from the storage: {why}"))
        .has(json!({"reason": "StorageReadError", "details": {"name": "list", "kind": "secrets", "causes": [cause]}}));
    api.get("/api/v1/namespaces/default/configmaps/m").await.is(200);
    api.post(SECRETS, json!({"metadata": {"name": "t"}})).await.is(201);

    api.delete(SECRET).await.is(500);
    let unsafely = |more: Value| {
        let mut options = json!({"ignoreStoreReadErrorWithClusterBreakingPotential": true});
        options.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        options
    };
    api.delete_with(SECRET, unsafely(json!({"gracePeriodSeconds": 0}))).await.is(422);
    api.delete_with(SECRETS, unsafely(json!({}))).await.is(422);
    api.delete_with(&format!("{SECRETS}/t"), unsafely(json!({}))).await.is(409);
    api.delete_with(SECRET, unsafely(json!({"dryRun": ["All"]}))).await.is(200);
    api.get(SECRET).await.is(500);
    api.delete_with(SECRET, unsafely(json!({}))).await.is(200).has(json!({"details": {"name": "s", "kind": "Secret"}}));
    api.get(SECRET).await.is(404);
    let left = api.get(SECRETS).await.is(200).json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    stop(api).await;
}
