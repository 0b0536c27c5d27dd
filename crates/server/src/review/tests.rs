use orlop_client::transport::UserInfo;
use serde_json::json;

use super::*;
use crate::call::Warnings;
use crate::pki::{Config, Pki};
use crate::request::RequestInfo;
use crate::resource::{KindRef, Resource};
use crate::token::TokenRequest;

struct Fixture {
    reviews: Reviews,
    store: orlop_store::Store,
    _dir: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("tempdir");
    let pki = Pki::open(Config {
        dir: dir.path().join("pki"),
        node_name: "node".into(),
        addresses: Vec::new(),
        service_address: "10.96.0.1".parse().expect("address"),
        cluster_domain: "cluster.local".into(),
        extra_names: Vec::new(),
    })
    .expect("pki");
    let (store, issuer) = crate::token::tests::cluster().await;
    for object in crate::authz::bootstrap::objects() {
        let kind = object["kind"].as_str().expect("kind").to_lowercase();
        crate::token::tests::put(&store, &format!("rbac.authorization.k8s.io/{kind}s"), &object).await;
    }
    let authentication = Authentication::new(&pki, issuer).expect("verifiers");
    let reviews = Reviews { authentication: Arc::new(authentication), authorization: Authorization::new(&store) };
    Fixture { reviews, store, _dir: dir }
}

fn call(user: UserInfo, namespace: &str) -> Call {
    let kind = orlop_api::kinds::all().iter().find(|kind| kind.info().kind == "SelfSubjectReview");
    Call {
        info: Arc::new(RequestInfo { namespace: namespace.into(), ..RequestInfo::default() }),
        user: Arc::new(user),
        resource: Resource::new(KindRef::Static(*kind.expect("a kind")), "v1"),
        head: http::Request::new(()).into_parts().0,
        warnings: Warnings::default(),
        audit_id: "".into(),
        trail: crate::audit::Trail::default(),
    }
}

fn user(name: &str, groups: &[&str]) -> UserInfo {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    UserInfo { name: name.into(), groups, ..UserInfo::default() }
}

fn status(result: Result<Value, StatusError>) -> Value {
    match result {
        Ok(review) => review["status"].clone(),
        Err(error) => json!(format!("{} {}", error.code, error.message)),
    }
}

#[tokio::test]
async fn access_reviews_answer_as_upstream() {
    let fixture = fixture().await;
    let call = call(user("alice", &["system:authenticated"]), "a");
    let pods = json!({"verb": "get", "resource": "pods", "namespace": "a"});
    for (spec, expected) in [
        (json!({"user": "x", "groups": ["system:masters"], "resourceAttributes": pods}), json!({"allowed": true})),
        (json!({"user": "bob", "resourceAttributes": pods}), json!({"allowed": false})),
        (
            json!({"user": "bob", "groups": ["system:authenticated"], "nonResourceAttributes": {"verb": "get", "path": "/api"}}),
            json!({"allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding \"system:discovery\" of ClusterRole \"system:discovery\" to Group \"system:authenticated\""}),
        ),
        (
            json!({"user": "system:node:n", "groups": ["system:nodes"], "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "a", "name": "s"}}),
            json!({"allowed": false, "reason": "node: no relationship found between node 'n' and this object"}),
        ),
        (
            json!({"user": "system:node:node", "groups": ["system:nodes"], "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "a", "name": "pod"}}),
            json!({"allowed": true}),
        ),
        (
            json!({"user": "bob", "resourceAttributes": {"verb": "list", "fieldSelector": {"requirements": [{"key": "a", "operator": "Near"}]}}}),
            json!({"allowed": false, "evaluationError": "spec.resourceAttributes.fieldSelector ignored due to parse error"}),
        ),
        (
            json!({"resourceAttributes": pods}),
            json!(
                "422 .authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one of user or group must be specified"
            ),
        ),
    ] {
        let review = json!({"kind": "SubjectAccessReview", "spec": spec});
        assert_eq!(status(access::subject(&fixture.reviews, &call, review).await), expected, "{spec}");
    }
    let own = json!({"metadata": {"creationTimestamp": null}, "spec": {"resourceAttributes": pods}});
    assert_eq!(status(access::own(&fixture.reviews, &call, own).await), json!({"allowed": false}));
    let local = |namespace: &str| json!({"metadata": {"namespace": namespace}, "spec": {"user": "x", "groups": ["system:masters"], "resourceAttributes": {"verb": "get", "namespace": namespace}}});
    assert_eq!(status(access::local(&fixture.reviews, &call, local("a")).await), json!({"allowed": true}));
    assert_eq!(
        status(access::local(&fixture.reviews, &call, local("b")).await),
        json!("400 spec.resourceAttributes.namespace must match namespace: a")
    );
}

/// Grants count from the moment their write is acknowledged.
#[tokio::test]
async fn a_new_binding_counts_at_once() {
    let fixture = fixture().await;
    let call = call(user("bob", &[]), "a");
    let review = || json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "a"}}});
    assert_eq!(status(access::own(&fixture.reviews, &call, review()).await), json!({"allowed": false}));
    let binding = json!({
        "metadata": {"namespace": "a", "name": "b"},
        "roleRef": {"kind": "ClusterRole", "name": "system:aggregate-to-view"}, "subjects": [{"kind": "User", "name": "bob"}],
    });
    crate::token::tests::put(&fixture.store, "rbac.authorization.k8s.io/rolebindings", &binding).await;
    let reason = r#"RBAC: allowed by RoleBinding "b/a" of ClusterRole "system:aggregate-to-view" to User "bob""#;
    assert_eq!(
        status(access::own(&fixture.reviews, &call, review()).await),
        json!({"allowed": true, "reason": reason})
    );
}

#[tokio::test]
async fn rules_are_listed() {
    let fixture = fixture().await;
    let review =
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "a"}});
    let call_of = |name: &str, groups: &[&str]| call(user(name, groups), "");
    let answer = rules::own(&fixture.reviews, &call_of("bob", &["system:authenticated"]), review.clone())
        .await
        .expect("answered");
    let resources = answer["status"]["resourceRules"].as_array().expect("rules");
    assert!(resources.contains(&json!({
        "verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    })));
    assert_eq!(answer["status"]["incomplete"], json!(false));
    let node = status(rules::own(&fixture.reviews, &call_of("system:node:n", &["system:nodes"]), review).await);
    assert_eq!(node["incomplete"], json!(true));
    assert_eq!(node["evaluationError"], json!("node authorizer does not support user rule resolution"));
    let nowhere = json!({"spec": {}});
    assert_eq!(
        status(rules::own(&fixture.reviews, &call_of("bob", &[]), nowhere).await),
        json!("400 no namespace on request")
    );
}

#[tokio::test]
async fn identities_are_told() {
    let fixture = fixture().await;
    let call = call(user("bob", &["g"]), "");
    let me = status(identity::own(&fixture.reviews, &call, json!({"kind": "SelfSubjectReview"})).await);
    assert_eq!(me, json!({"userInfo": {"username": "bob", "groups": ["g"]}}));
    let issuer = fixture.reviews.authentication.issuer().clone();
    let issued = TokenRequest(issuer).issue("a", "sa", json!({}), &Warnings::default()).await.expect("issued");
    let ask = async |token: &str, audiences: Value| {
        let review = json!({"spec": {"token": token, "audiences": audiences}});
        status(identity::token(&fixture.reviews, &call, review).await)
    };
    let token = issued["status"]["token"].as_str().expect("a token");
    let good = ask(token, Value::Null).await;
    assert_eq!(good["authenticated"], json!(true));
    assert_eq!(good["user"]["username"], json!("system:serviceaccount:a:sa"));
    assert_eq!(good["user"]["groups"][2], json!("system:authenticated"));
    assert_eq!(good["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    assert_eq!(ask("wrong", Value::Null).await, json!({"user": {}, "error": "invalid bearer token"}));
    let elsewhere = ask(token, json!(["vault"])).await;
    assert!(elsewhere["error"].as_str().expect("text").contains("is invalid for the target audiences"), "{elsewhere}");
    assert_eq!(ask("", Value::Null).await, json!("400 token is required for TokenReview in authentication"));
}
