use http::Method;
use orlop_api::meta;
use serde_json::{Value, json};

use super::follow::Fold;
use super::rbac::Policy;
use super::*;

fn user(name: &str, groups: &[&str]) -> UserInfo {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    UserInfo { name: name.into(), groups, ..UserInfo::default() }
}

fn request(line: &str) -> RequestInfo {
    let (method, path) = line.split_once(' ').expect("METHOD path");
    RequestInfo::parse(&Method::from_bytes(method.as_bytes()).expect("method"), path)
}

fn policy(extra: &[Value]) -> Policy {
    let mut policy = Policy::default();
    for object in bootstrap::objects().iter().chain(extra) {
        let plural = format!("rbac.authorization.k8s.io/{}s", object["kind"].as_str().expect("kind").to_lowercase());
        policy.apply(&plural, meta::namespace(object), meta::name(object), Some(object));
    }
    policy
}

fn binding(kind: &str, namespace: &str, name: &str, role: (&str, &str), subject: Value) -> Value {
    json!({
        "kind": kind, "metadata": {"namespace": namespace, "name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1}, "subjects": [subject],
    })
}

#[test]
fn the_default_policy_decides_as_upstream() {
    let reader = json!({
        "kind": "Role", "metadata": {"namespace": "a", "name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    });
    let account = json!({"kind": "ServiceAccount", "name": "sa"});
    let bob = json!({"kind": "User", "name": "bob"});
    let policy = policy(&[
        reader,
        binding("RoleBinding", "a", "readers", ("Role", "reader"), account),
        binding("RoleBinding", "a", "broken", ("Role", "gone"), bob.clone()),
        binding("ClusterRoleBinding", "", "broken", ("ClusterRole", "gone"), bob),
    ]);
    let allow = |reason: &str| Decision::Allow { reason: format!("RBAC: allowed by {reason}") };
    let none = |reason: &str| Decision::NoOpinion { reason: reason.into() };
    let account = user("system:serviceaccount:a:sa", &["system:serviceaccounts", "system:authenticated"]);
    let cases = [
        (
            user("admin", &["system:masters"]),
            "DELETE /api/v1/nodes/x",
            allow(r#"ClusterRoleBinding "cluster-admin" of ClusterRole "cluster-admin" to Group "system:masters""#),
        ),
        (
            account.clone(),
            "GET /api/v1/namespaces/a/pods/x",
            allow(r#"RoleBinding "readers/a" of Role "reader" to ServiceAccount "sa/a""#),
        ),
        (account.clone(), "GET /api/v1/namespaces/b/pods/x", none("")),
        (account, "GET /api/v1/pods", none("")),
        (
            user("system:anonymous", &["system:unauthenticated"]),
            "GET /version",
            allow(
                r#"ClusterRoleBinding "system:public-info-viewer" of ClusterRole "system:public-info-viewer" to Group "system:unauthenticated""#,
            ),
        ),
        (user("system:anonymous", &["system:unauthenticated"]), "GET /api", none("")),
        (
            user("bob", &["system:authenticated"]),
            "GET /apis/apps/v1",
            allow(
                r#"ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated""#,
            ),
        ),
        (
            user("bob", &["system:authenticated"]),
            "GET /api/v1/namespaces/a/secrets/x",
            none(
                r#"RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, role.rbac.authorization.k8s.io "gone" not found]"#,
            ),
        ),
        (
            user("system:kube-scheduler", &[]),
            "POST /api/v1/namespaces/a/pods/x/binding",
            allow(
                r#"ClusterRoleBinding "system:kube-scheduler" of ClusterRole "system:kube-scheduler" to User "system:kube-scheduler""#,
            ),
        ),
    ];
    for (user, line, decision) in cases {
        assert_eq!(policy.decide(&user, &request(line)), decision, "{} {line}", user.name);
    }
}

#[test]
fn bindings_that_go_take_their_grants_along() {
    let mut policy = policy(&[]);
    let view = binding(
        "RoleBinding",
        "a",
        "v",
        ("ClusterRole", "system:aggregate-to-view"),
        json!({"kind": "Group", "name": "g"}),
    );
    let (bob, get) = (user("bob", &["g"]), request("GET /api/v1/namespaces/a/pods/x"));
    let bindings = "rbac.authorization.k8s.io/rolebindings";
    for (object, allowed) in [(Some(&view), true), (None, false), (Some(&view), true)] {
        policy.apply(bindings, "a", "v", object);
        assert_eq!(matches!(policy.decide(&bob, &get), Decision::Allow { .. }), allowed);
    }
    assert_eq!(policy.rules_for(&bob, "a").0.len(), policy.rules_for(&user("x", &["g"]), "a").0.len());
    assert!(policy.rules_for(&bob, "b").0.is_empty());
}
