//! Against Debian's `docker-registry` (distribution 2.8), with a password and a bad line.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use orlop_base::port::ReservedPort;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Content, motd, puller, user};
use crate::digest::Digest;
use crate::registry::auth;
use crate::registry::hosts::{HostTls, Remote};
use crate::registry::transport::{self, Http};
use crate::spec::OCI_MANIFEST;
use crate::{ImageError, ImageService};

const PROGRAM: &str = "/usr/bin/docker-registry";
/// `user` with the password `secret`.
const HTPASSWD: &str = "user:$2b$04$U3N1EjgnPlBtF6f48hwNsu8f8l1BAVn7nvLeEwWkW3RgF5/iqOVKu\n";

struct Registry {
    process: Child,
    remote: Remote,
    _port: ReservedPort,
    _dir: tempfile::TempDir,
}

impl Registry {
    async fn start() -> Self {
        assert!(Path::new(PROGRAM).exists(), "this test needs {PROGRAM}: install the package docker-registry");
        let dir = tempfile::tempdir().unwrap();
        let port = ReservedPort::new().unwrap();
        let address = port.address;
        let root = dir.path().display();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\n\
             http: {{addr: '{address}', secret: x}}\nauth: {{htpasswd: {{realm: test, path: {root}/htpasswd}}}}\n"
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let process = Command::new(PROGRAM)
            .args(["serve".as_ref(), dir.path().join("config.yml").as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let remote = Remote::parse(&format!("http://{address}")).unwrap();
        let registry = Self { process, remote, _port: port, _dir: dir };
        let mut wait = Duration::from_millis(5);
        while TcpStream::connect(address).await.is_err() {
            assert!(wait < Duration::from_mins(1), "the registry does not start");
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        registry
    }

    fn url(&self) -> String {
        format!("http://{}", self.remote.authority())
    }

    async fn push(&self, repository: &str, tag: &str, content: &Content) {
        for (digest, bytes) in &content.blobs {
            let begun = self.send(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), "", Vec::new()).await;
            assert_eq!(begun.status, StatusCode::ACCEPTED);
            let location = begun.header(&header::LOCATION).unwrap().to_owned();
            let path = auth::split_url(&location).map_or(location, |(_, path)| path);
            let separator = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{separator}digest={digest}");
            let put = self.send(Method::PUT, &path, "application/octet-stream", bytes.clone()).await;
            assert_eq!(put.status, StatusCode::CREATED);
        }
        let path = format!("/v2/{repository}/manifests/{tag}");
        let put = self.send(Method::PUT, &path, OCI_MANIFEST, content.manifest.clone()).await;
        assert_eq!(put.status, StatusCode::CREATED);
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Vec<u8>) -> transport::Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, auth::basic(&user("user", "secret")))
            .header(header::CONTENT_TYPE, kind)
            .body(transport::full(body))
            .unwrap();
        Http::new().send(&self.remote, &HostTls::default(), request).await.unwrap().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A line to `to` of which the first connections break after so many bytes.
async fn bad_line(to: String, cuts: Vec<usize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut cuts = cuts.into_iter();
        while let Ok((client, _)) = listener.accept().await {
            let budget = cuts.next().unwrap_or(usize::MAX);
            tokio::spawn(carry(client, to.clone(), budget));
        }
    });
    format!("http://{address}")
}

async fn carry(client: TcpStream, to: String, mut budget: usize) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(to).await.unwrap().into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut buffer = vec![0; 16 << 10];
    while budget > 0 {
        let Ok(n @ 1..) = from_server.read(&mut buffer).await else { break };
        let n = n.min(budget);
        budget -= n;
        if to_client.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
    up.abort();
}

#[tokio::test]
async fn pulls_with_a_password() {
    let registry = Registry::start().await;
    let content = Content::new(300).await;
    registry.push("team/app", "v1", &content).await;
    let puller = puller("docker.io", &[&registry.url()]).await;
    let image = puller.store.pull("team/app:v1", &[user("user", "secret")]).await.unwrap();
    assert_eq!((&image.id, motd(&image).as_str()), (&content.id, "hello"));
    assert_eq!(image.repo_digests, [format!("docker.io/team/app@{}", Digest::of(&content.manifest))]);

    let own = registry.remote.authority();
    let strict = self::puller(&own, &[&registry.url()]).await;
    let name = |rest: &str| format!("{own}/team/{rest}");
    let error = strict.store.pull(&name("app:v1"), &[user("user", "wrong")]).await.unwrap_err();
    assert!(matches!(&error, ImageError::Unauthorized(text) if text.contains("UNAUTHORIZED")), "{error}");
    let error = strict.store.pull(&name("app:v2"), &[user("user", "secret")]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{}: not found", name("app:v2")));
    let by_digest = format!("{}@{}", name("app"), Digest::of(&content.manifest));
    let image = strict.store.pull(&by_digest, &[user("user", "secret")]).await.unwrap();
    assert_eq!((image.repo_tags.len(), image.repo_digests), (0, vec![by_digest]));
}

#[tokio::test]
async fn resumes_over_a_bad_line() {
    let registry = Registry::start().await;
    let content = Content::new(4000).await;
    registry.push("app", "v1", &content).await;
    let line = bad_line(registry.remote.authority(), vec![200_000, 100, 1_000_000, 0, 500_000]).await;
    let puller = puller("h.io", &[&line]).await;
    let image = puller.store.pull("h.io/app:v1", &[user("user", "secret")]).await.unwrap();
    assert_eq!(motd(&image), "hello");
}
