//! Pulls from a stub that misbehaves on demand, and from Debian's `docker-registry` where it is installed.

mod real;
mod stub;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use crate::digest::Digest;
use crate::spec::{DOCKER_LIST, Descriptor, Index, OCI_INDEX, OCI_MANIFEST, Platform, architecture};
use crate::{Credentials, Hosts, Image, ImageConfig, ImageError, ImageService, ImageStore, Mirror, Tree};
use stub::{Auth, Stub};

/// Blobs and manifest of an image, as a registry has them.
pub struct Content {
    pub id: String,
    pub manifest: Vec<u8>,
    pub blobs: BTreeMap<Digest, Vec<u8>>,
}

impl Content {
    /// An image whose layer does not compress, of about `kilobytes`.
    pub async fn new(kilobytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Hosts::default()).await;
        let mut noise = fastrand_bytes(kilobytes << 10);
        noise.extend_from_slice(b"end");
        let mut tree = Tree::new();
        tree.bytes("data", noise, 0o644).bytes("etc/motd", "hello", 0o644);
        let image = store.build_tree(tree, ImageConfig::default(), "x.io/built").await.unwrap();
        let manifest_digest = Digest::parse(image.repo_digests[0].split('@').nth(1).unwrap()).unwrap();
        let blobs = std::fs::read_dir(dir.path().join("blobs/sha256")).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let digest = Digest::parse(&format!("sha256:{}", entry.file_name().to_str().unwrap())).unwrap();
            (digest, std::fs::read(entry.path()).unwrap())
        });
        let mut blobs: BTreeMap<Digest, Vec<u8>> = blobs.collect();
        let manifest = blobs.remove(&manifest_digest).unwrap();
        Self { id: image.id, manifest, blobs }
    }

    pub fn largest(&self) -> &Digest {
        self.blobs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap().0
    }
}

fn fastrand_bytes(len: usize) -> Vec<u8> {
    orlop_base::id::with_rng(|rng| (0..len).map(|_| rng.u8(..)).collect())
}

pub struct Puller {
    _dir: tempfile::TempDir,
    pub store: Arc<ImageStore>,
}

async fn open(dir: &Path, hosts: Hosts) -> Arc<ImageStore> {
    ImageStore::open(dir, hosts, Arc::new(|| Ok(Vec::new()))).await.unwrap()
}

/// A store that reaches `domain` at these endpoints.
pub async fn puller(domain: &str, endpoints: &[&str]) -> Puller {
    let dir = tempfile::tempdir().unwrap();
    let endpoints = endpoints.iter().map(|e| (*e).to_owned()).collect();
    let mirrors = BTreeMap::from([(domain.to_owned(), Mirror { endpoints })]);
    let store = open(dir.path(), Hosts { mirrors, ..Hosts::default() }).await;
    Puller { _dir: dir, store }
}

/// A store that asks only this stub, and the stub's name for the image.
async fn home(stub: &Stub) -> (Puller, String) {
    (puller(stub.address(), &[&stub.url()]).await, format!("{}/library/app", stub.address()))
}

fn user(name: &str, password: &str) -> Credentials {
    Credentials { username: name.into(), password: password.into(), ..Credentials::default() }
}

fn motd(image: &Image) -> String {
    std::fs::read_to_string(image.layers[0].join("etc/motd")).unwrap()
}

#[tokio::test]
async fn a_plain_pull_and_one_that_finds_all_here() {
    let stub = Stub::new(Content::new(64).await).await;
    let puller = puller("docker.io", &[&stub.url()]).await;
    let seen = Arc::new(AtomicU64::new(0));
    let last = seen.clone();
    let progress: crate::Progress = Arc::new(move |done, total| {
        assert!(done <= total);
        last.store(done, Ordering::Relaxed);
    });
    let image = puller.store.pull_with_progress("app", &[], Some(progress)).await.unwrap();
    assert_eq!((image.id.as_str(), motd(&image).as_str()), (stub.content.id.as_str(), "hello"));
    assert_eq!(image.repo_tags, ["docker.io/library/app:latest"]);
    assert_eq!(image.repo_digests, [format!("docker.io/library/app@{}", Digest::of(&stub.content.manifest))]);
    assert_eq!(seen.load(Ordering::Relaxed), image.size_bytes);
    let before = stub.requests().len();
    puller.store.pull("app", &[]).await.unwrap();
    let again: Vec<String> = stub.requests().split_off(before);
    assert_eq!(again, ["/v2/library/app/manifests/latest"], "only the tag is looked up");
    let by_digest = image.repo_digests[0].clone();
    puller.store.pull(&by_digest, &[]).await.unwrap();
    assert_eq!(stub.requests().len(), before + 1, "a digest that is here needs nobody");
    let (home, name) = home(&stub).await;
    let error = home.store.pull(&format!("{name}:nope"), &[]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{name}:nope: not found"));
}

#[tokio::test]
async fn many_waiters_share_one_pull() {
    let stub = Stub::new(Content::new(64).await).await;
    let puller = puller("docker.io", &[&stub.url()]).await;
    let pulls = (0..8).map(|_| puller.store.pull("app", &[]));
    for image in futures_util::future::join_all(pulls).await {
        assert_eq!(image.unwrap().id, stub.content.id);
    }
    let blob = format!("/v2/library/app/blobs/{}", stub.content.largest());
    assert_eq!(stub.requests().iter().filter(|path| **path == blob).count(), 1);
}

#[tokio::test]
async fn broken_connections_are_resumed() {
    for ranges in [true, false] {
        let stub = Stub::with(Content::new(3000).await, |s| (s.cuts, s.ranges) = (3.into(), ranges)).await;
        let (puller, name) = home(&stub).await;
        let image = puller.store.pull(&name, &[]).await.unwrap();
        assert_eq!(motd(&image), "hello");
        let resumed = stub.headers("range");
        assert_eq!(resumed.len(), 3, "{resumed:?}");
        assert!(resumed.iter().all(|range| range.starts_with("bytes=") && range.ends_with('-')));
    }
}

#[tokio::test]
async fn an_overloaded_server_is_given_time() {
    let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_GATEWAY];
    let stub = Stub::with(Content::new(8).await, |s| *s.failures.lock().unwrap() = busy.to_vec()).await;
    let (puller, name) = home(&stub).await;
    puller.store.pull(&name, &[]).await.unwrap();
    let always = vec![StatusCode::INTERNAL_SERVER_ERROR; 100];
    let down = Stub::with(Content::new(8).await, |s| *s.failures.lock().unwrap() = always).await;
    let (puller, name) = home(&down).await;
    let error = puller.store.pull(&name, &[]).await.unwrap_err().to_string();
    assert!(error.ends_with("manifests/latest: 500 Internal Server Error"), "{error}");
    assert_eq!(down.requests().len(), 6);
}

#[tokio::test]
async fn basic_and_bearer_and_nobody() {
    for auth in [Auth::Basic, Auth::Bearer] {
        let stub = Stub::with(Content::new(8).await, |s| s.auth = auth).await;
        let puller = puller("docker.io", &[&stub.url()]).await;
        let good = user("user", "secret");
        let image = puller.store.pull("app", &[user("user", "wrong"), good]).await.unwrap();
        assert_eq!(image.id, stub.content.id);
        let (strict, name) = home(&stub).await;
        for wrong in [&[user("user", "wrong")][..], &[]] {
            let error = strict.store.pull(&name, wrong).await.unwrap_err();
            assert!(matches!(error, ImageError::Unauthorized(_)), "{error}");
        }
    }
    let stub = Stub::with(Content::new(8).await, |s| s.auth = Auth::Bearer).await;
    let puller = puller("docker.io", &[&stub.url()]).await;
    let token = Credentials { identity_token: "refresh-me".into(), ..Credentials::default() };
    puller.store.pull("app", &[token]).await.unwrap();
}

#[tokio::test]
async fn redirects_keep_secrets_at_home() {
    let content = Content::new(8).await;
    let storage = Stub::new(Content { id: content.id.clone(), manifest: vec![], blobs: content.blobs.clone() }).await;
    let to = storage.url();
    let stub = Stub::with(content, move |s| (s.auth, s.redirect) = (Auth::Basic, Some(to))).await;
    let puller = puller("docker.io", &[&stub.url()]).await;
    puller.store.pull("app", &[user("user", "secret")]).await.unwrap();
    assert_eq!(storage.headers("authorization"), Vec::<String>::new());
    assert_eq!(storage.requests().len(), 2);
}

#[tokio::test]
async fn indexes_choose_this_machine() {
    let platform = |architecture: &str| {
        Some(Platform { architecture: architecture.into(), os: "linux".into(), ..Platform::default() })
    };
    for media_type in [OCI_INDEX, DOCKER_LIST] {
        let content = Content::new(8).await;
        let mut fitting = Descriptor::new(OCI_MANIFEST, Digest::of(&content.manifest), content.manifest.len() as u64);
        fitting.platform = platform(architecture());
        let mut other = Descriptor::new(OCI_MANIFEST, Digest::of(b"other"), 1);
        other.platform = platform("s390x");
        let index = Index { schema_version: 2, media_type: media_type.into(), manifests: vec![other, fitting] };
        let index = serde_json::to_vec(&index).unwrap();
        let top = Digest::of(&index);
        let stub = Stub::with(content, |s| s.index = Some(index)).await;
        let (puller, name) = home(&stub).await;
        let image = puller.store.pull(&name, &[]).await.unwrap();
        assert_eq!(image.repo_digests, [format!("{name}@{top}")]);
    }
}

#[tokio::test]
async fn lies_are_found_out() {
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    let stub = Stub::with(Content::new(8).await, |s| s.content.blobs.values_mut().for_each(flip)).await;
    let (puller, name) = home(&stub).await;
    let error = puller.store.pull(&name, &[]).await.unwrap_err();
    assert!(matches!(error, ImageError::Digest { .. }), "{error}");
    let grow = |bytes: &mut Vec<u8>| bytes.extend_from_slice(b"more");
    let stub = Stub::with(Content::new(8).await, |s| s.content.blobs.values_mut().for_each(grow)).await;
    let (puller, name) = home(&stub).await;
    let error = puller.store.pull(&name, &[]).await.unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
    assert_eq!(puller.store.list().await.unwrap(), []);
}

#[tokio::test]
async fn mirrors_come_first_and_what_is_here_counts() {
    let stub = Stub::new(Content::new(8).await).await;
    let puller = puller("*", &["local", "http://127.0.0.1:1", &stub.url()]).await;
    let image = puller.store.pull("any.example/app:latest", &[]).await.unwrap();
    assert_eq!(image.repo_tags, ["any.example/app:latest"]);
    let before = stub.requests().len();
    puller.store.pull("any.example/app:latest", &[]).await.unwrap();
    assert_eq!(stub.requests().len(), before);
}
