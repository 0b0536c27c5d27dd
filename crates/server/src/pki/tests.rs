use std::os::unix::fs::PermissionsExt;

use rustls::pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

fn config(dir: &Path) -> Config {
    Config {
        dir: dir.join("pki"),
        node_name: "Node-1".into(),
        addresses: vec!["192.0.2.7".parse().expect("address")],
        service_address: "10.96.0.1".parse().expect("address"),
        cluster_domain: "cluster.local".into(),
        extra_names: vec!["api.example".into(), "2001:db8::1".into()],
    }
}

#[test]
fn the_files_are_kubeadms_and_private() {
    let dir = tempfile::tempdir().expect("tempdir");
    Pki::open(config(dir.path())).expect("opened");
    let mut names: Vec<(String, u32)> = std::fs::read_dir(dir.path().join("pki"))
        .expect("dir")
        .map(|entry| {
            let entry = entry.expect("entry");
            let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
            (entry.file_name().to_string_lossy().into_owned(), mode)
        })
        .collect();
    names.sort();
    for (name, mode) in &names {
        assert_eq!(*mode, if name.contains(".key") { 0o600 } else { 0o644 }, "{name}");
    }
    let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    for base in ["admin", "apiserver", "apiserver-kubelet-client", "ca", "front-proxy-ca", "front-proxy-client"] {
        assert!(names.contains(&&*format!("{base}.crt")) && names.contains(&&*format!("{base}.key")), "{base}");
    }
    assert!(names.contains(&"sa.pub") && names.contains(&"sa.key"));
}

#[test]
fn a_second_start_changes_nothing_but_names_that_changed() {
    let dir = tempfile::tempdir().expect("tempdir");
    let first = Pki::open(config(dir.path())).expect("first");
    let second = Pki::open(config(dir.path())).expect("second");
    let pem = |leaf: &Leaf| leaf.identity().certificate_pem.clone();
    assert_eq!(first.cluster_ca().pem(), second.cluster_ca().pem());
    assert_eq!(pem(&first.serving), pem(&second.serving));
    assert_eq!(first.service_account_key().public(), second.service_account_key().public());
    let mut moved = config(dir.path());
    moved.addresses = vec!["192.0.2.8".parse().expect("address")];
    let third = Pki::open(moved).expect("third");
    assert_ne!(pem(&first.serving), pem(&third.serving));
    assert_eq!(pem(&first.admin), pem(&third.admin));
}

#[test]
fn a_torn_or_foreign_pair_is_made_anew() {
    let dir = tempfile::tempdir().expect("tempdir");
    let first = Pki::open(config(dir.path())).expect("first");
    let pki = dir.path().join("pki");
    std::fs::copy(pki.join("admin.key"), pki.join("apiserver.key")).expect("copy");
    std::fs::write(pki.join("kubelet.crt"), "not a certificate").expect("write");
    let second = Pki::open(config(dir.path())).expect("second");
    assert_ne!(first.serving.identity().certificate_pem, second.serving.identity().certificate_pem);
    assert_ne!(first.kubelet_serving.identity().certificate_pem, second.kubelet_serving.identity().certificate_pem);
}

#[test]
fn a_lost_ca_key_is_told_by_name() {
    let dir = tempfile::tempdir().expect("tempdir");
    Pki::open(config(dir.path())).expect("first");
    std::fs::remove_file(dir.path().join("pki/ca.key")).expect("removed");
    Pki::open(config(dir.path())).expect("nothing to sign");
    std::fs::remove_file(dir.path().join("pki/apiserver.crt")).expect("removed");
    let error = Pki::open(config(dir.path())).expect_err("something to sign");
    assert!(error.to_string().contains("ca.key is missing"), "{error}");
}

#[test]
fn signatures_verify_and_jwks_have_upstreams_shape() {
    let dir = tempfile::tempdir().expect("tempdir");
    let pki = Pki::open(config(dir.path())).expect("opened");
    let key = pki.service_account_key();
    let signature = key.sign(b"message");
    assert!(key.public().verifies(b"message", &signature));
    assert!(!key.public().verifies(b"massage", &signature));
    let jwk = key.public().to_jwk();
    assert_eq!(
        (&jwk["kty"], &jwk["crv"], &jwk["alg"], &jwk["use"]),
        (&"EC".into(), &"P-256".into(), &"ES256".into(), &"sig".into())
    );
    for file in ["pki/sa.pub", "pki/sa.key"] {
        assert_eq!(PublicKey::read_all(&dir.path().join(file)).expect("read"), [key.public().clone()]);
    }
}

/// The serving certificate passes for every name, the client certificate arrives, and a renewal
/// reaches the next handshake of the same configuration.
#[tokio::test]
async fn tls_works_both_ways_and_swaps_certificates() {
    let dir = tempfile::tempdir().expect("tempdir");
    let pki = Pki::open(config(dir.path())).expect("opened");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let acceptor = TlsAcceptor::from(pki.server_config().expect("config"));
    let server = async {
        loop {
            let (socket, _) = listener.accept().await.expect("accept");
            let mut stream = acceptor.accept(socket).await.expect("handshake");
            let seen = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
            stream.write_all(&[seen as u8]).await.expect("write");
            stream.shutdown().await.expect("shutdown");
        }
    };
    let client = async {
        let connector = TlsConnector::from(pki.kubelet_client_config().expect("config"));
        let dial = async |name: &'static str| {
            let socket = TcpStream::connect(address).await.expect("connect");
            let name = ServerName::try_from(name).expect("name");
            let mut stream = connector.connect(name, socket).await.expect("handshake");
            assert_eq!(stream.read_u8().await.expect("read"), 1, "the client certificate arrives");
            stream.get_ref().1.peer_certificates().expect("certificates")[0].clone()
        };
        let mut seen = Vec::new();
        for name in ["kubernetes.default.svc", "localhost", "node-1", "10.96.0.1", "::1", "192.0.2.7", "2001:db8::1"] {
            seen.push(dial(name).await);
        }
        assert!(seen.iter().all(|certificate| *certificate == seen[0]));
        pki.serving.set_names(["other".to_owned()].into(), BTreeSet::new()).expect("renewed");
        assert_ne!(dial("other").await, seen[0]);
    };
    tokio::select! {
        () = server => {}
        () = client => {}
    }
}

#[test]
fn verifiers_tell_users_from_front_proxies() {
    let dir = tempfile::tempdir().expect("tempdir");
    let pki = Pki::open(config(dir.path())).expect("opened");
    let users = pki.user_verifier().expect("a verifier");
    let proxies = tls::client_verifier(pki.front_proxy_ca(), "").expect("a verifier");
    let now = UnixTime::since_unix_epoch(Duration::from_secs(clock::unix_seconds() as u64));
    let accepts = |verifier: &Arc<dyn rustls::server::danger::ClientCertVerifier>, leaf: &Leaf| {
        verifier.verify_client_cert(&leaf.identity().key.cert[0], &[], now).is_ok()
    };
    assert!(accepts(&users, &pki.admin));
    assert!(!accepts(&users, &pki.front_proxy_client));
    assert!(accepts(&proxies, &pki.front_proxy_client));
    assert!(!accepts(&users, &pki.serving), "a serving certificate is no client's");
}

/// What kubeadm and openssl write: PKCS #1 and SEC 1 keys.
#[test]
fn older_key_formats_are_read() {
    let dir = tempfile::tempdir().expect("tempdir");
    let pki = dir.path().join("pki");
    files::make_private_dir(&pki).expect("dir");
    std::fs::write(pki.join("sa.key"), include_str!("testdata/rsa-pkcs1.pem")).expect("write");
    std::fs::write(pki.join("ca.key"), include_str!("testdata/p256-sec1.pem")).expect("write");
    let pki = Pki::open(config(dir.path())).expect("opened");
    let jwk = pki.service_account_key().public().to_jwk();
    assert_eq!((&jwk["kty"], &jwk["e"]), (&"RSA".into(), &"AQAB".into()));
    let signature = pki.service_account_key().sign(b"message");
    assert!(pki.service_account_key().public().verifies(b"message", &signature));
}

/// Certificates that ran out while the machine was off, or that a wrong clock put into the future.
#[test]
fn certificates_that_are_not_valid_now_are_made_anew_at_start() {
    let dir = tempfile::tempdir().expect("tempdir");
    let first = Pki::open(config(dir.path())).expect("first");
    let profile = Profile::client("kubernetes-admin", "system:masters");
    let year = 365 * 24 * 60 * 60;
    for (age, kept) in [(0, true), (year / 2, true), (year * 9 / 10, false), (2 * year, false), (-year, false)] {
        let at = clock::unix_seconds() - age;
        let (old, _) = leaf::issue_at(first.admin.path(), first.cluster_ca(), &profile, at).expect("issued");
        let again = Pki::open(config(dir.path())).expect("again");
        assert_eq!(again.admin.identity().certificate_pem == old.certificate_pem, kept, "{age} seconds old");
    }
}

/// Timers stand still while a machine sleeps; the first handshake after it does not.
#[tokio::test]
async fn a_handshake_notices_that_it_is_time() {
    let dir = tempfile::tempdir().expect("tempdir");
    let pki = Arc::new(Pki::open(config(dir.path())).expect("opened"));
    let running = pki.clone();
    let renewing = tokio::spawn(async move { running.run().await });
    // Let it look once and go to sleep.
    tokio::task::yield_now().await;
    let (old, tls) = (pki.serving.identity(), pki.server_config().expect("config"));
    pki.serving.make_due();
    let (client, server) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(pki.kubelet_client_config().expect("config"));
    let name = ServerName::try_from("localhost").expect("name");
    let (accepted, connected) = tokio::join!(TlsAcceptor::from(tls).accept(server), connector.connect(name, client));
    accepted.expect("accepted");
    connected.expect("connected");
    while pki.serving.identity().certificate_pem == old.certificate_pem {
        tokio::task::yield_now().await;
    }
    assert!(pki.serving.renew_at() > clock::unix_seconds());
    renewing.abort();
}
