use std::sync::Arc;

use futures_util::FutureExt as _;
use orlop_api::{Value, meta};
use orlop_base::clock;
use orlop_store::{Config, Draft, Durability, Key, Store};
use serde_json::json;

use super::*;
use crate::call::Warnings;
use crate::pki::SigningKey;

pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

pub(crate) async fn put(store: &Store, resource: &str, object: &Value) {
    let text = |text: &str| text.into();
    let key =
        Key { resource: text(resource), namespace: text(meta::namespace(object)), name: text(meta::name(object)) };
    match store.newest(&key) {
        Some(old) => store.update(&key, old.revision, Draft::encode(object), Durability::Relaxed).await,
        None => store.create(key, Draft::encode(object), Durability::Relaxed).await,
    }
    .expect("written");
    store.consistent(resource).await.expect("visible");
}

async fn remove(store: &Store, resource: &str, object: &Value) {
    let text = |text: &str| text.into();
    let key =
        Key { resource: text(resource), namespace: text(meta::namespace(object)), name: text(meta::name(object)) };
    let revision = store.newest(&key).expect("there").revision;
    store.delete(&key, revision, Draft::encode(object), Durability::Relaxed).await.expect("deleted");
    store.consistent(resource).await.expect("visible");
}

pub(crate) fn object(namespace: &str, name: &str, extra: Value) -> Value {
    let mut object = json!({"metadata": {"namespace": namespace, "name": name, "uid": format!("uid-{name}")}});
    for (key, value) in extra.as_object().expect("an object") {
        object[key] = value.clone();
    }
    object
}

/// A ServiceAccount `a/sa`, a pod of it on a node, a secret.
pub(crate) async fn cluster() -> (Store, Arc<Issuer>) {
    cluster_with(IssuerConfig::default()).await
}

async fn cluster_with(config: IssuerConfig) -> (Store, Arc<Issuer>) {
    let (store, issuer) = cluster_of(config).await;
    (store, Arc::new(issuer))
}

pub(crate) async fn cluster_of(config: IssuerConfig) -> (Store, Issuer) {
    let store = Store::open(Config::in_memory()).await.expect("store");
    put(&store, "serviceaccounts", &object("a", "sa", json!({}))).await;
    put(&store, "pods", &object("a", "pod", json!({"spec": {"serviceAccountName": "sa", "nodeName": "node"}}))).await;
    put(&store, "pods", &object("a", "other", json!({"spec": {"serviceAccountName": "else"}}))).await;
    put(&store, "secrets", &object("a", "secret", json!({}))).await;
    put(&store, "nodes", &object("", "node", json!({}))).await;
    let dir = tempfile::tempdir().expect("tempdir");
    let key = Arc::new(SigningKey::open(&dir.path().join("sa")).expect("key"));
    let issuer = Issuer::new(config, key, &store);
    (store, issuer)
}

fn ask(issuer: &Arc<Issuer>, spec: Value) -> Result<Value, orlop_api::status::StatusError> {
    let (request, warnings) = (TokenRequest(issuer.clone()), Warnings::default());
    let issued = request.issue("a", "sa", json!({"spec": spec}), &warnings).now_or_never();
    issued.expect("a key of our own is at hand")
}

fn sign(issuer: &Issuer, payload: &Value) -> String {
    jwt::sign(issuer.own_key().expect("it signs itself"), payload)
}

fn token(issuer: &Arc<Issuer>, spec: Value) -> String {
    ask(issuer, spec).expect("issued")["status"]["token"].as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn a_bound_token_says_who_and_where() {
    let (_store, issuer) = cluster().await;
    let bound =
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "pod"}, "expirationSeconds": 3600});
    let found = issuer.authenticate(&token(&issuer, bound), None).expect("good").expect("ours");
    assert_eq!(found.audiences, [ISSUER]);
    assert_eq!((&*found.user.name, &*found.user.uid), ("system:serviceaccount:a:sa", "uid-sa"));
    assert_eq!(found.user.groups, ["system:serviceaccounts", "system:serviceaccounts:a"]);
    let keys: Vec<&str> = found.user.extra.iter().map(|(key, _)| key.rsplit('/').next().expect("a part")).collect();
    assert_eq!(keys, ["credential-id", "node-name", "node-uid", "pod-name", "pod-uid"]);
    let jti = &found.user.extra[0].1[0];
    assert!(jti.starts_with("JTI=") && jti.len() == 40, "{jti}");
}

#[tokio::test]
async fn the_answer_is_upstreams() {
    let (_store, issuer) = cluster().await;
    let before = clock::unix_seconds();
    let answer = ask(&issuer, json!({})).expect("issued");
    assert_eq!((meta::name(&answer), meta::namespace(&answer), meta::uid(&answer)), ("sa", "a", "uid-sa"));
    assert_eq!(answer["spec"], json!({"audiences": [ISSUER], "expirationSeconds": 3600}));
    let token = answer["status"]["token"].as_str().expect("a token");
    let payload = jwt::parse(token).expect("a token").payload;
    let issued = payload["exp"].as_i64().expect("exp") - 3600;
    assert!((before..=clock::unix_seconds()).contains(&issued), "{issued}");
    assert_eq!(payload["kubernetes.io"], json!({"namespace": "a", "serviceaccount": {"name": "sa", "uid": "uid-sa"}}));
    assert_eq!((&payload["sub"], &payload["iss"]), (&json!("system:serviceaccount:a:sa"), &json!(ISSUER)));
}

/// KEP-1205: kubelets' default life is extended for our own audience, and use after it is noted.
#[tokio::test]
async fn the_kubelets_default_life_is_extended() {
    let (_store, issuer) = cluster().await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "pod"});
    for (spec, extended) in [
        (json!({"boundObjectRef": pod, "expirationSeconds": 3607}), true),
        (json!({"boundObjectRef": pod, "expirationSeconds": 3600}), false),
        (json!({"expirationSeconds": 3607}), false),
        (json!({"boundObjectRef": pod, "expirationSeconds": 3607, "audiences": ["vault"]}), false),
    ] {
        let payload = jwt::parse(&token(&issuer, spec.clone())).expect("a token").payload;
        let life = payload["exp"].as_i64().expect("exp") - payload["iat"].as_i64().expect("iat");
        assert_eq!(life > 30_000_000, extended, "{spec}");
        assert_eq!(payload["kubernetes.io"]["warnafter"].is_i64(), extended, "{spec}");
    }
}

#[tokio::test]
async fn refusals_are_upstreams() {
    let (_store, issuer) = cluster().await;
    let pod = |extra: Value| {
        let mut reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "pod"});
        for (key, value) in extra.as_object().expect("an object") {
            reference[key] = value.clone();
        }
        json!({"boundObjectRef": reference})
    };
    for (spec, code, text) in [
        (
            json!({"expirationSeconds": 599}),
            422,
            r#"TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"#,
        ),
        (
            json!({"expirationSeconds": 1i64 << 33}),
            422,
            r#"TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 8589934592: may not specify a duration larger than 2^32 seconds"#,
        ),
        (pod(json!({"name": "gone"})), 404, r#"pods "gone" not found"#),
        (
            pod(json!({"name": "other"})),
            400,
            r#"cannot bind token for serviceaccount "sa" to pod running with different serviceaccount name."#,
        ),
        (
            pod(json!({"uid": "x"})),
            409,
            r#"Operation cannot be fulfilled on Pod "pod": the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated"#,
        ),
        (pod(json!({"kind": "ConfigMap"})), 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
    ] {
        let error = ask(&issuer, spec.clone()).expect_err("refused");
        assert_eq!((error.code, &*error.message), (code, text), "{spec}");
    }
    let error = TokenRequest(issuer).issue("a", "no", json!({}), &Warnings::default()).await.expect_err("refused");
    assert_eq!((error.code, &*error.message), (404, r#"serviceaccounts "no" not found"#));
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let (store, issuer) = cluster().await;
    let bind = |kind: &str, name: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}});
    let (free, pod, secret) =
        (token(&issuer, json!({})), token(&issuer, bind("Pod", "pod")), token(&issuer, bind("Secret", "secret")));
    let good = |token: &str| issuer.authenticate(token, None).map(|found| found.is_some());
    for token in [&free, &pod, &secret, &free, &pod] {
        assert_eq!(good(token), Ok(true));
    }
    // A change of the pod alone harms nothing; its deletion, or another pod of its name, ends the token.
    put(&store, "pods", &object("a", "pod", json!({"spec": {"serviceAccountName": "sa"}, "status": {}}))).await;
    assert_eq!(good(&pod), Ok(true));
    let invalidated = Err(Invalid("service account token has been invalidated".into()));
    remove(&store, "pods", &object("a", "pod", json!({}))).await;
    assert_eq!(good(&pod), invalidated);
    let again = json!({"metadata": {"namespace": "a", "name": "pod", "uid": "new"}});
    put(&store, "pods", &again).await;
    let text = "pod UID (new) does not match service account pod ref claim (uid-pod)";
    assert_eq!(good(&pod), Err(Invalid(text.into())));
    let mut leaving = object("a", "secret", json!({}));
    leaving["metadata"]["deletionTimestamp"] = "2020-01-01T00:00:00Z".into();
    put(&store, "secrets", &leaving).await;
    assert_eq!(good(&secret), invalidated);
    remove(&store, "serviceaccounts", &object("a", "sa", json!({}))).await;
    assert_eq!(good(&free), Err(Invalid(r#"serviceaccounts "sa" not found"#.into())));
}

#[tokio::test]
async fn audiences_must_meet() {
    let (_store, issuer) = cluster().await;
    let vault = token(&issuer, json!({"audiences": ["vault", "bank"]}));
    let error = issuer.authenticate(&vault, None).expect_err("not for us");
    let text = format!(r#"token audiences ["vault" "bank"] is invalid for the target audiences ["{ISSUER}"]"#);
    assert_eq!(error.to_string(), text);
    let asked = ["bank".to_owned(), "shop".to_owned()];
    let found = issuer.authenticate(&vault, Some(&asked)).expect("good").expect("ours");
    assert_eq!(found.audiences, ["bank"]);
}

#[tokio::test]
async fn what_is_not_ours_or_was_changed_is_told_apart() {
    let (_store, issuer) = cluster().await;
    let (_, other) = cluster().await;
    let good = token(&issuer, json!({}));
    assert_eq!(issuer.authenticate("not.a.token", None), Ok(None));
    let foreign = token(&other, json!({}));
    assert_eq!(issuer.authenticate(&foreign, None), Err(Invalid("invalid signature, no keys found".into())));
    let (head, signature) = good.rsplit_once('.').expect("parts");
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{flipped}{}", &signature[1..]);
    let text = "go-jose/go-jose: error in cryptographic primitive";
    assert_eq!(issuer.authenticate(&forged, None), Err(Invalid(text.into())));
    let none = good.replacen(&good[..good.find('.').expect("a dot")], "eyJhbGciOiJub25lIn0", 1);
    assert!(issuer.authenticate(&none, None).is_err(), "no algorithm, no token");
}

#[tokio::test]
async fn times_count_with_leeway() {
    let (_store, issuer) = cluster().await;
    let now = clock::unix_seconds();
    for (not_before, expires_at, issued_at, error) in [
        (now, now + 10, now, None),
        (now + 30, now + 90, now + 30, None),
        (now - 100, now - 30, now - 100, None),
        (now - 100, now - 61, now - 100, Some("service account token has expired")),
        (now + 90, now + 900, now, Some("service account token is not valid yet")),
        (now, now + 900, now + 90, Some("service account token is issued in the future")),
    ] {
        let claims = Claims {
            issuer: ISSUER.into(),
            audiences: vec![ISSUER.into()],
            issued_at,
            not_before,
            expires_at,
            namespace: "a".into(),
            service_account: Reference { name: "sa".into(), uid: "uid-sa".into() },
            ..Claims::default()
        };
        let got = issuer.authenticate(&sign(&issuer, &claims.to_payload()), None).err().map(|error| error.to_string());
        assert_eq!(got.as_deref(), error);
    }
}

#[tokio::test]
async fn discovery_tells_how_to_verify() {
    use http_body_util::BodyExt;
    let (_store, issuer) = cluster().await;
    let get = async |path: &str| {
        let response = discovery::answer(path, &issuer, "192.0.2.1:6443").expect("answered");
        let content_type = response.headers()["content-type"].to_str().expect("text").to_owned();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        (content_type, serde_json::from_slice::<Value>(&body).expect("json"))
    };
    let (content_type, config) = get(discovery::CONFIG_PATH).await;
    assert_eq!(content_type, "application/json");
    assert_eq!(
        (&config["issuer"], &config["jwks_uri"]),
        (&json!(ISSUER), &json!("https://192.0.2.1:6443/openid/v1/jwks"))
    );
    assert_eq!(config["id_token_signing_alg_values_supported"], json!(["ES256"]));
    let (content_type, keys) = get(discovery::JWKS_PATH).await;
    assert_eq!(content_type, "application/jwk-set+json");
    assert_eq!(keys["keys"][0]["kid"], json!(issuer.keys()[0].key_id()));
    assert!(discovery::answer("/openid/v1", &issuer, "").is_none());
}

/// Tokens in Secrets hold as long as the Secret does, and their use is noted once a day.
#[tokio::test]
async fn tokens_in_secrets_are_checked_and_noted() {
    use base64::Engine as _;
    let (store, issuer) = cluster().await;
    let claims = |changes: Value| {
        let mut claims = json!({"iss": LEGACY_ISSUER, "sub": "system:serviceaccount:a:sa"});
        for (field, value) in [
            ("namespace", "a"),
            ("secret.name", "secret"),
            ("service-account.name", "sa"),
            ("service-account.uid", "uid-sa"),
        ] {
            claims[format!("kubernetes.io/serviceaccount/{field}")] = value.into();
        }
        for (key, value) in changes.as_object().expect("an object") {
            claims[key] = value.clone();
        }
        sign(&issuer, &claims)
    };
    let token = claims(json!({}));
    let keep = async |labels: Value| {
        let data = json!({"token": base64::engine::general_purpose::STANDARD.encode(&token)});
        let mut secret = object("a", "secret", json!({ "data": data }));
        secret["metadata"]["labels"] = labels;
        put(&store, "secrets", &secret).await;
    };
    let found = |token: &str| match issuer.authenticate(token, None) {
        Ok(Some(found)) => format!("{} {:?}", found.user.name, found.user.extra),
        Ok(None) => "nobody".to_owned(),
        Err(why) => why.to_string(),
    };
    assert_eq!(found(&token), "Token does not match server's copy");
    keep(json!({})).await;
    assert_eq!(found(&token), "system:serviceaccount:a:sa []");
    for (changes, why) in [
        (json!({"sub": "system:serviceaccount:a:other"}), "sub claim is invalid"),
        (json!({"kubernetes.io/serviceaccount/secret.name": ""}), "secretName claim is missing"),
        (json!({"kubernetes.io/serviceaccount/secret.name": "gone"}), "Token has been invalidated"),
        (
            json!({"aud": ["vault"]}),
            &format!(r#"token audiences ["vault"] is invalid for the target audiences ["{ISSUER}"]"#),
        ),
    ] {
        assert_eq!(found(&claims(changes.clone())), why, "{changes}");
    }
    let mut uses = issuer.take_uses().expect("nobody took them");
    assert_eq!(uses.try_recv().map(|secret| secret.name), Ok("secret".to_owned()));
    // Which is today if midnight passes meanwhile.
    let tomorrow = tracking::today().tomorrow().expect("a day");
    keep(json!({"kubernetes.io/legacy-token-last-used": tomorrow.to_string()})).await;
    assert_eq!(found(&token), "system:serviceaccount:a:sa []");
    assert!(uses.try_recv().is_err(), "the use is noted already");
    keep(json!({"kubernetes.io/legacy-token-invalid-since": "2020-01-01"})).await;
    assert!(found(&token).starts_with("the token in secret a/secret for service account a/sa has been marked invalid"));
    let listed = object("a", "sa", json!({"secrets": [{"name": "secret"}]}));
    put(&store, "serviceaccounts", &listed).await;
    keep(json!({})).await;
    assert!(issuer.authenticate(&token, None).expect("good").expect("ours").auto_generated);
}

/// `--service-account-extend-token-expiration`, `--service-account-lookup`, `--service-account-jwks-uri`.
#[tokio::test]
async fn operators_may_choose_otherwise() {
    use http_body_util::BodyExt;
    let config = IssuerConfig {
        extend_expiration: false,
        lookup: false,
        jwks_uri: Some("https://keys.example.com".to_owned()),
        ..IssuerConfig::default()
    };
    let (_store, issuer) = cluster_with(config).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "pod"});
    let bound = token(&issuer, json!({"boundObjectRef": pod, "expirationSeconds": 3607}));
    let payload = jwt::parse(&bound).expect("a token").payload;
    assert_eq!(payload["exp"].as_i64().zip(payload["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(3607));
    let unkept = |account: &str| {
        sign(
            &issuer,
            &json!({"iss": LEGACY_ISSUER, "sub": format!("system:serviceaccount:a:{account}"),
            "kubernetes.io/serviceaccount/namespace": "a", "kubernetes.io/serviceaccount/secret.name": "gone",
            "kubernetes.io/serviceaccount/service-account.name": "sa",
            "kubernetes.io/serviceaccount/service-account.uid": "uid-sa"}),
        )
    };
    let found = issuer.authenticate(&unkept("sa"), None).expect("good").expect("ours");
    assert_eq!(found.user.name, "system:serviceaccount:a:sa");
    assert_eq!(issuer.authenticate(&unkept("other"), None).expect_err("bad").to_string(), "sub claim is invalid");
    let response = discovery::answer(discovery::CONFIG_PATH, &issuer, "192.0.2.1:6443").expect("answered");
    let body = response.into_body().collect().await.expect("body").to_bytes();
    let config: Value = serde_json::from_slice(&body).expect("json");
    assert_eq!(config["jwks_uri"], "https://keys.example.com");
}
