use std::convert::Infallible;
use std::path::Path as FilePath;
use std::sync::Mutex;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use orlop_api::Value;
use orlop_base::clock;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::pki::{Config, Pki, SigningKey};
use crate::token::jwt;

/// An issuer on loopback whose certificate its own authority vouches for.
struct Fixture {
    url: String,
    authority: String,
    /// The key it signs with and those it publishes.
    key: SigningKey,
    published: Arc<Mutex<Vec<Value>>>,
    /// The token that tells groups to those who show a secret.
    groups: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
}

fn key(dir: &FilePath, name: &str) -> SigningKey {
    SigningKey::open(&dir.join(name)).expect("a key")
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("tempdir");
    let pki = Pki::open(Config {
        dir: dir.path().join("pki"),
        node_name: "node".into(),
        addresses: vec!["127.0.0.1".parse().expect("address")],
        service_address: "10.96.0.1".parse().expect("address"),
        cluster_domain: "cluster.local".into(),
        extra_names: Vec::new(),
    })
    .expect("pki");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("https://{}", listener.local_addr().expect("address"));
    let key = key(dir.path(), "one");
    let published = Arc::new(Mutex::new(vec![key.public().to_jwk()]));
    let fixture = Fixture {
        authority: pki.cluster_ca().pem().to_owned(),
        key,
        published,
        groups: Arc::default(),
        asked: Arc::default(),
        url,
        dir,
    };
    serve(listener, TlsAcceptor::from(pki.server_config().expect("tls")), &fixture);
    fixture
}

fn serve(listener: TcpListener, tls: TlsAcceptor, fixture: &Fixture) {
    let (url, published, asked) = (fixture.url.clone(), fixture.published.clone(), fixture.asked.clone());
    let groups = fixture.groups.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (url, published, asked, tls) = (url.clone(), published.clone(), asked.clone(), tls.clone());
            let groups = groups.clone();
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(socket).await else { return };
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let path = request.uri().path().to_owned();
                    let answer = match &*path {
                        "/.well-known/openid-configuration" => {
                            json!({"issuer": url, "jwks_uri": format!("{url}/keys")})
                        }
                        "/groups" if request.headers()["authorization"] == "Bearer secret" => {
                            let token = groups.lock().unwrap().clone();
                            return std::future::ready(Ok::<_, Infallible>(Response::new(Full::from(token))));
                        }
                        _ => json!({ "keys": *published.lock().unwrap() }),
                    };
                    asked.lock().unwrap().push(path);
                    std::future::ready(Ok(Response::new(Full::<bytes::Bytes>::from(answer.to_string()))))
                });
                let mut builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                let _ = builder.http2().max_concurrent_streams(8);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

impl Fixture {
    fn config(&self, rest: &str) -> Result<Configuration, String> {
        let (url, authority) = (&self.url, self.authority.replace('\n', "\n        "));
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: {url}\n    \
             audiences: [kubernetes]\n    certificateAuthority: |\n        {authority}\n{rest}"
        );
        load(text.as_bytes(), &[])
    }

    fn issuers(&self, rest: &str) -> Issuers {
        let config = self.config(rest).expect("a configuration");
        Issuers::new(&config, &ALGORITHMS.map(str::to_owned), vec!["api".to_owned()])
    }

    fn token(&self, changes: &Value) -> String {
        self.token_by(&self.key, changes)
    }

    fn token_by(&self, key: &SigningKey, changes: &Value) -> String {
        let now = clock::unix_seconds();
        let mut claims = json!({"iss": self.url, "aud": "kubernetes", "sub": "alice", "exp": now + 600, "jti": "7",
            "groups": ["a", "b"], "email": "alice@example.com", "nested": {"team": "blue"}});
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        jwt::sign(key, &claims)
    }
}

async fn found(issuers: &Issuers, token: &str) -> String {
    match issuers.authenticate(token, None).await {
        Ok(Some(found)) => {
            let user = found.user;
            let extra: Vec<String> =
                user.extra.iter().map(|(key, values)| format!("{key}={}", values.join("+"))).collect();
            format!("{} [{}] {} {}", user.name, user.groups.join(","), user.uid, extra.join(","))
        }
        Ok(None) => "nobody".to_owned(),
        Err(error) => error,
    }
}

const CLAIMS: &str = "  claimMappings:\n    username: {claim: sub, prefix: 'oidc:'}\n    groups: {claim: groups, prefix: 'g:'}\n  \
    claimValidationRules: [{claim: env, requiredValue: prod}]\n";

#[tokio::test]
async fn claims_make_users_or_are_refused_in_upstreams_words() {
    let fixture = fixture().await;
    let issuers = fixture.issuers(CLAIMS);
    let alice = "oidc:alice [g:a,g:b]  authentication.kubernetes.io/credential-id=JTI=7";
    for (changes, expected) in [
        (json!({"env": "prod"}), alice),
        (json!({"env": "prod", "aud": ["other", "kubernetes"]}), alice),
        (json!({"env": "prod", "groups": "a"}), "oidc:alice [g:a]  authentication.kubernetes.io/credential-id=JTI=7"),
        (json!({"env": "test"}), "oidc: required claim env value does not match. Got = test, want = prod"),
        (json!({}), "oidc: required claim env not present in ID token"),
        (
            json!({"sub": 1}),
            r#"oidc: parse username claims "sub": json: cannot unmarshal number into Go value of type string"#,
        ),
        (json!({"aud": "else"}), r#"oidc: verify token: oidc: expected audience "kubernetes" got ["else"]"#),
        (json!({"exp": 1}), "oidc: verify token: oidc: token is expired (Token Expiry: 1970-01-01 00:00:01 +0000 UTC)"),
        (json!({"iss": "https://elsewhere"}), "nobody"),
    ] {
        assert_eq!(found(&issuers, &fixture.token(&changes)).await, expected, "{changes}");
    }
    assert_eq!(found(&issuers, "no token").await, "nobody");
    assert_eq!(*fixture.asked.lock().unwrap(), ["/.well-known/openid-configuration", "/keys"], "asked once");
    let elsewhere = issuers.authenticate(&fixture.token(&json!({"env": "prod"})), Some(&["vault".to_owned()])).await;
    assert_eq!(elsewhere, Ok(None), "the vault is not the API server");
}

#[tokio::test]
async fn expressions_map_and_judge() {
    let fixture = fixture().await;
    let issuers = fixture.issuers(
        "  claimMappings:\n    username: {expression: \"claims.nested.team + ':' + claims.sub\"}\n    \
         groups: {expression: 'claims.groups'}\n    uid: {claim: sub}\n    \
         extra: [{key: example.com/team, valueExpression: claims.nested.team}]\n  \
         claimValidationRules: [{expression: 'claims.exp - 700.0 < int(claims.exp)', message: never}]\n  \
         userValidationRules: [{expression: \"!user.username.startsWith('system:')\", message: reserved}]\n",
    );
    let credential = "authentication.kubernetes.io/credential-id=JTI=7";
    for (changes, expected) in [
        (json!({}), format!("blue:alice [a,b] alice {credential},example.com/team=blue")),
        (
            json!({"nested": {"team": "system"}}),
            "oidc: error evaluating user info validation rule: validation expression \
             '!user.username.startsWith('system:')' failed: reserved"
                .to_owned(),
        ),
        (
            json!({"nested": {}}),
            "oidc: error evaluating username claim expression: expression 'claims.nested.team + ':' + claims.sub' \
             resulted in error: no such key: team"
                .to_owned(),
        ),
    ] {
        assert_eq!(found(&issuers, &fixture.token(&changes)).await, expected, "{changes}");
    }
}

/// A key that nobody knew is looked for, others' signatures count for nothing.
#[tokio::test]
async fn keys_may_change() {
    let fixture = fixture().await;
    let issuers = fixture.issuers("  claimMappings: {username: {claim: sub, prefix: ''}}\n");
    assert!(found(&issuers, &fixture.token(&json!({}))).await.starts_with("alice"));
    let (new, foreign) = (key(fixture.dir.path(), "two"), key(fixture.dir.path(), "three"));
    let unsigned = "oidc: verify token: failed to verify signature: failed to verify id token signature";
    assert_eq!(found(&issuers, &fixture.token_by(&foreign, &json!({}))).await, unsigned);
    fixture.published.lock().unwrap().push(new.public().to_jwk());
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    tokio::time::resume();
    assert!(found(&issuers, &fixture.token_by(&new, &json!({}))).await.starts_with("alice"));
    let narrow = Issuers::new(
        &fixture.config("  claimMappings: {username: {claim: sub, prefix: ''}}\n").expect("a configuration"),
        &["RS256".to_owned()],
        vec!["api".to_owned()],
    );
    let unsupported =
        "oidc: verify token: oidc: id token signed with unsupported algorithm, expected [\"RS256\"] got \"ES256\"";
    assert_eq!(found(&narrow, &fixture.token(&json!({}))).await, unsupported);
}

/// A token without a name of a key is checked against all, new ones too.
#[tokio::test]
async fn nameless_keys_may_change() {
    let fixture = fixture().await;
    let issuers = fixture.issuers("  claimMappings: {username: {claim: sub, prefix: ''}}\n");
    let nameless = |key: &SigningKey| {
        let token = fixture.token_by(key, &json!({}));
        let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes);
        let signed = format!("{}.{}", encode(br#"{"alg":"ES256"}"#), token.split('.').nth(1).expect("a payload"));
        format!("{signed}.{}", encode(&key.sign(signed.as_bytes())))
    };
    assert!(found(&issuers, &nameless(&fixture.key)).await.starts_with("alice"));
    let new = key(fixture.dir.path(), "two");
    *fixture.published.lock().unwrap() = vec![new.public().to_jwk()];
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    tokio::time::resume();
    assert!(found(&issuers, &nameless(&new)).await.starts_with("alice"));
}

/// Names of claims that are no identifiers can be escaped, at any depth.
#[tokio::test]
async fn names_of_claims_may_be_escaped() {
    let fixture = fixture().await;
    let issuers = fixture.issuers(
        "  claimMappings:\n    username: {expression: \"claims.example__dot__com__slash__name + ':' + claims.deep[0].a__dash__b\"}\n    \
         groups: {expression: \"has(claims.example__dot__com__slash__none) ? ['x'] : [type(claims.exp) == double ? 'double' : 'int']\"}\n",
    );
    let token = fixture.token(&json!({"example.com/name": "n", "deep": [{"a-b": "c"}]}));
    assert!(found(&issuers, &token).await.starts_with("n:c [double]"), "{}", found(&issuers, &token).await);
}

#[tokio::test]
async fn groups_may_be_told_elsewhere() {
    let fixture = fixture().await;
    let issuers =
        fixture.issuers("  claimMappings: {username: {claim: sub, prefix: ''}, groups: {claim: teams, prefix: ''}}\n");
    let token = |sources: Value| fixture.token(&json!({"_claim_names": {"teams": "s"}, "_claim_sources": sources}));
    let endpoint = |path: &str| json!({"s": {"endpoint": format!("{}{path}", fixture.url), "access_token": "secret"}});
    let could_not = "oidc: could not expand distributed claims: ";
    *fixture.groups.lock().unwrap() = fixture.token(&json!({"teams": ["red", "blue"]}));
    assert!(found(&issuers, &token(endpoint("/groups"))).await.starts_with("alice [red,blue]"));
    assert!(found(&issuers, &token(json!({"s": {"JWT": "x"}}))).await.starts_with("alice []"), "aggregated claims");
    assert_eq!(
        found(&issuers, &token(json!({}))).await,
        format!("{could_not}id token _claim_names contained a source s missing in _claims_sources")
    );
    *fixture.groups.lock().unwrap() = fixture.token(&json!({}));
    let url = &fixture.url;
    assert_eq!(
        found(&issuers, &token(endpoint("/groups"))).await,
        format!("{could_not}jwt returned by distributed claim endpoint \"{url}/groups\" did not contain claim: teams")
    );
    *fixture.groups.lock().unwrap() = fixture.token(&json!({"aud": "else"}));
    assert_eq!(
        found(&issuers, &token(endpoint("/groups"))).await,
        format!("{could_not}verify distributed claim token: oidc: expected audience \"kubernetes\" got [\"else\"]")
    );
    *fixture.groups.lock().unwrap() = "no token".to_owned();
    assert_eq!(
        found(&issuers, &token(endpoint("/groups"))).await,
        format!(
            "{could_not}getting untrusted issuer from endpoint {url}/groups failed for claim \"teams\": malformed token"
        )
    );
}

#[test]
fn configurations_are_checked_in_upstreams_words() {
    let check = |jwt: &str| {
        let text = format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n{jwt}");
        load(text.as_bytes(), &["https://own".to_owned()]).err().unwrap_or_default()
    };
    let issuer = "issuer: {url: https://a, audiences: [x]}";
    let user = "username: {claim: sub, prefix: ''}";
    for (jwt, expected) in [
        (format!("jwt: [{{{issuer}, claimMappings: {{{user}}}}}]"), ""),
        (
            format!("jwt: [{{issuer: {{url: http://a, audiences: []}}, claimMappings: {{{user}}}}}]"),
            "[jwt[0].issuer.url: Invalid value: \"http://a\": URL scheme must be https, \
             jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required]",
        ),
        (
            format!("jwt: [{{issuer: {{url: https://own, audiences: [a, b]}}, claimMappings: {{{user}}}}}]"),
            "[jwt[0].issuer.url: Invalid value: \"https://own\": URL must not overlap with disallowed issuers: [https://own], \
             jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences]",
        ),
        (
            format!("jwt: [{{{issuer}, claimMappings: {{}}}}]"),
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        ),
        (
            format!("jwt: [{{{issuer}, claimMappings: {{username: {{claim: sub}}}}}}]"),
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
        ),
        (
            format!("jwt: [{{{issuer}, claimMappings: {{username: {{expression: claims.email}}}}}}]"),
            "jwt[0].claimMappings.username.expression: Invalid value: \"claims.email\": claims.email_verified must be used in \
             claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression \
             when claims.email is used in claimMappings.username.expression",
        ),
        (
            format!(
                "jwt: [{{{issuer}, claimMappings: {{{user}, extra: [{{key: k8s.io/x, valueExpression: claims.x}}]}}}}]"
            ),
            "jwt[0].claimMappings.extra[0].key: Invalid value: \"k8s.io/x\": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use",
        ),
        (
            format!("jwt: [{{{issuer}, claimMappings: {{{user}}}, userValidationRules: [{{expression: user.name}}]}}]"),
            "jwt[0].userValidationRules[0].expression: Invalid value: \"user.name\": compilation failed: ERROR: <input>:1:5: undefined field 'name'\n | user.name\n | ....^",
        ),
        (
            format!(
                "jwt: [{{issuer: {{url: https://a, audiences: [x], egressSelectorType: etcd}}, claimMappings: {{{user}}}}}]"
            ),
            "jwt[0].issuer.egressSelectorType: Invalid value: \"etcd\": egress selector must be either controlplane or cluster",
        ),
        (
            "anonymous: {enabled: false, conditions: [{path: /x}]}".to_owned(),
            "anonymous.conditions: Invalid value: [{\"path\":\"/x\"}]: enabled should be set to true when conditions are defined",
        ),
    ] {
        let expected = if expected.is_empty() {
            String::new()
        } else {
            format!("invalid authentication configuration: {expected}")
        };
        assert_eq!(check(&jwt), expected, "{jwt}");
    }
    assert_eq!(
        check(&format!(
            "jwt: [{{issuer: {{url: https://a, audiences: [x], egressSelectorType: cluster}}, claimMappings: {{{user}}}}}]"
        )),
        "oidc: egress lookup required with egress selector type \"cluster\""
    );
}

/// What the file says counts without a restart; what is wrong in it does not.
#[tokio::test]
async fn issuers_follow_their_file() {
    let fixture = fixture().await;
    let (path, authority) = (fixture.dir.path().join("authn.yaml"), fixture.authority.replace('\n', "\n        "));
    let write = |prefix: &str| {
        let url = &fixture.url;
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: {url}\n    \
             audiences: [kubernetes]\n    certificateAuthority: |\n        {authority}\n  \
             claimMappings: {{username: {{claim: sub, {prefix}}}}}\n"
        );
        std::fs::write(&path, text).expect("written");
    };
    write("prefix: 'one:'");
    let algorithms = ALGORITHMS.map(str::to_owned);
    let reload = JwtReload::read(&path, &algorithms, &[]).expect("read");
    let issuers = Issuers::new(reload.config(), &algorithms, vec!["api".to_owned()]);
    let token = fixture.token(&json!({}));
    assert!(found(&issuers, &token).await.starts_with("one:alice"));
    let follower = issuers.clone();
    let running = tokio::spawn(async move { reload.run(&follower).await });
    let old = issuers.list.load_full();
    write("nonsense: x");
    write("prefix: 'two:'");
    while Arc::ptr_eq(&old, &issuers.list.load_full()) {
        tokio::task::yield_now().await;
    }
    assert!(found(&issuers, &token).await.starts_with("two:alice"));
    running.abort();
}
