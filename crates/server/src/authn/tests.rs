use std::path::Path;

use http::Request;
use serde_json::json;

use super::*;
use crate::call::Warnings;
use crate::pki::{Config, Leaf, Pki};
use crate::token::TokenRequest;

fn pki(dir: &Path) -> Pki {
    Pki::open(Config {
        dir: dir.join("pki"),
        node_name: "node".into(),
        addresses: Vec::new(),
        service_address: "10.96.0.1".parse().expect("address"),
        cluster_domain: "cluster.local".into(),
        extra_names: Vec::new(),
    })
    .expect("pki")
}

fn peer(leaf: Option<&Leaf>) -> Peer {
    let chain = leaf.map(|leaf| leaf.identity().key.cert.iter().map(|der| der.to_vec()).collect()).unwrap_or_default();
    Peer { certificates: Arc::new(chain), ..Peer::default() }
}

fn request(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::get("/api");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("request").into_parts().0
}

/// Who the caller is found to be: `name groups`, or `401`.
async fn found(authentication: &Authentication, peer: &Peer, headers: &[(&str, &str)]) -> String {
    match authentication.identify(peer, &request(headers)).await {
        Ok(Some(user)) => format!("{} {}", user.name, user.groups.join(",")),
        Ok(None) => "nobody".into(),
        Err(error) => error.code.to_string(),
    }
}

#[tokio::test]
async fn callers_are_found_in_upstreams_order() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (pki, other_dir) = (pki(dir.path()), tempfile::tempdir().expect("tempdir"));
    let stranger = self::pki(other_dir.path());
    let (_store, issuer) = crate::token::tests::cluster().await;
    let token = TokenRequest(issuer.clone()).issue("a", "sa", json!({}), &Warnings::default()).await.expect("issued");
    let token = format!("Bearer {}", token["status"]["token"].as_str().expect("a token"));
    let file = dir.path().join("tokens");
    std::fs::write(&file, "secret,alice,1,admins\n").expect("written");
    let authentication =
        Authentication::new(&pki, issuer).expect("verifiers").with_token_file(TokenFile::read(&file).expect("read"));
    let account = "system:serviceaccount:a:sa system:serviceaccounts,system:serviceaccounts:a,system:authenticated";
    let remote = [("x-remote-user", "carol"), ("x-remote-group", "g1"), ("x-remote-group", "g2")];
    let admin = "kubernetes-admin system:masters,system:authenticated";
    let token = token.as_str();
    for (leaf, headers, who) in [
        (None, vec![], "system:anonymous system:unauthenticated"),
        (Some(&pki.admin), vec![], admin),
        (Some(&pki.node_client), vec![], "system:node:node system:nodes,system:authenticated"),
        (Some(&stranger.admin), vec![], "401"),
        (Some(&stranger.admin), vec![("authorization", token)], account),
        (Some(&pki.admin), vec![("authorization", token)], admin),
        (Some(&pki.admin), vec![("authorization", "Bearer wrong")], admin),
        (None, vec![("authorization", token)], account),
        (None, vec![("authorization", "Bearer secret")], "alice admins,system:authenticated"),
        (None, vec![("authorization", "Bearer wrong")], "401"),
        (None, vec![("authorization", "Bearer  secret")], "system:anonymous system:unauthenticated"),
        (None, vec![("authorization", "Basic c2VjcmV0")], "system:anonymous system:unauthenticated"),
        (Some(&pki.front_proxy_client), remote.to_vec(), "carol g1,g2,system:authenticated"),
        (Some(&pki.front_proxy_client), vec![], "401"),
        (Some(&pki.admin), remote.to_vec(), admin),
        (None, remote.to_vec(), "system:anonymous system:unauthenticated"),
        (
            None,
            vec![
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-protocol", "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0"),
            ],
            "alice admins,system:authenticated",
        ),
    ] {
        for _ in 0..2 {
            let peer = peer(leaf.map(|leaf| &**leaf));
            assert_eq!(found(&authentication, &peer, &headers).await, who, "{headers:?}");
        }
    }
    let strict = authentication.with_anonymous(Anonymous::Nowhere);
    assert_eq!(found(&strict, &peer(None), &[]).await, "nobody");
    let component = UserInfo { name: "system:kube-scheduler".into(), ..UserInfo::default() };
    let component = Peer { component: Some(Arc::new(component)), ..Peer::default() };
    assert_eq!(
        found(&strict, &component, &[("authorization", "Bearer wrong")]).await,
        "system:kube-scheduler system:authenticated"
    );
    let health = strict.with_anonymous(Anonymous::At(vec!["/api".to_owned()]));
    assert_eq!(found(&health, &peer(None), &[]).await, "system:anonymous system:unauthenticated");
    let health = health.with_anonymous(Anonymous::At(vec!["/api/v1".to_owned()]));
    assert_eq!(found(&health, &peer(None), &[]).await, "nobody");
}

#[tokio::test]
async fn the_authorities_of_clients_may_change() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().expect("tempdir"));
    let [ours, first, second] = dirs.each_ref().map(|dir| self::pki(dir.path()));
    let (_store, issuer) = crate::token::tests::cluster().await;
    let file = dirs[0].path().join("clients.pem");
    let refused = |text: &str| {
        std::fs::write(&file, text).expect("written");
        AuthorityFile::read("client-ca-bundle", &file)
            .map(drop)
            .unwrap_err()
            .replace(file.to_str().expect("text"), "FILE")
    };
    assert_eq!(refused(""), "missing content for CA bundle \"client-ca-bundle::FILE\"");
    let why = "data does not contain any valid RSA or ECDSA certificates";
    assert_eq!(refused("nothing"), format!("error loading CA bundle for \"client-ca-bundle::FILE\": {why}"));
    std::fs::write(&file, first.cluster_ca().pem()).expect("written");
    let read = AuthorityFile::read("client-ca-bundle", &file).expect("read");
    let authorities = Arc::new(Authorities::new(ours.cluster_ca(), Some(&read)).expect("authorities"));
    let authentication = Authentication::new(&ours, issuer).expect("verifiers").with_users_of(authorities.clone());
    let admin = "kubernetes-admin system:masters,system:authenticated";
    for (pki, who) in [(&ours, admin), (&first, admin), (&second, "401")] {
        assert_eq!(found(&authentication, &peer(Some(&pki.admin)), &[]).await, who);
    }
    let mut changes = authorities.changes();
    std::fs::write(dirs[0].path().join("new"), second.cluster_ca().pem()).expect("written");
    tokio::select! {
        () = read.run(&authorities) => panic!("it watches for ever"),
        _ = async {
            std::fs::rename(dirs[0].path().join("new"), &file).expect("moved");
            changes.changed().await
        } => {}
    }
    assert_eq!(authorities.pem(), format!("{}{}", ours.cluster_ca().pem(), second.cluster_ca().pem()));
    for (pki, who) in [(&ours, admin), (&first, "401"), (&second, admin)] {
        assert_eq!(found(&authentication, &peer(Some(&pki.admin)), &[]).await, who);
    }
}
