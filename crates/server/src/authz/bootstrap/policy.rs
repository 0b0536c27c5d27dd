//! The policy files as objects.

use orlop_api::{Value, meta};
use serde_json::{Map, json};

use crate::authz::rule::Rule;

const POLICY: &str = include_str!("policy.txt");
const ADDITIONS: &str = include_str!("additions.txt");

pub const GROUP: &str = "rbac.authorization.k8s.io";
pub const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Every object of the default policy, roles before bindings.
pub fn objects() -> Vec<Value> {
    let mut objects: Vec<Value> = Vec::new();
    for line in POLICY.lines().chain(ADDITIONS.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [comment, ..] if comment.starts_with('#') => {}
            _ if line.starts_with(' ') => {
                let rule = parse_rule(line).expect("the policy files are checked by a test");
                let role = objects.last_mut().expect("rules follow their role");
                role["rules"].as_array_mut().expect("roles have rules").push(rule.to_value());
            }
            words => objects.push(parse_object(words).expect("the policy files are checked by a test")),
        }
    }
    objects
}

/// The rules of one ClusterRole of the default policy.
pub fn cluster_role_rules(name: &str) -> Vec<Rule> {
    let role = objects().into_iter().find(|object| object["kind"] == "ClusterRole" && meta::name(object) == name);
    role.map(|role| Rule::list(&role)).unwrap_or_default()
}

/// `VERBS GROUPS RESOURCES [NAMES]` or `VERBS url PATHS`.
pub fn parse_rule(line: &str) -> Option<Rule> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let words: Vec<&str> = line.split_whitespace().collect();
    match *words.as_slice() {
        [verbs, "url", paths] => Some(Rule { verbs: list(verbs), urls: list(paths), ..Rule::default() }),
        [verbs, groups, resources, ref names @ ..] if names.len() <= 1 => Some(Rule {
            verbs: list(verbs),
            groups: groups.split(',').map(|group| if group == "core" { String::new() } else { group.into() }).collect(),
            resources: list(resources),
            names: names.first().map(|names| list(names)).unwrap_or_default(),
            urls: Vec::new(),
        }),
        _ => None,
    }
}

fn parse_object(words: &[&str]) -> Option<Value> {
    Some(match *words {
        ["clusterrole", name, ref rest @ ..] => {
            let (labels, selected) = match rest.iter().position(|word| *word == "=") {
                Some(at) => (&rest[..at], &rest[at + 1..]),
                None => (rest, &[][..]),
            };
            let mut role = object("ClusterRole", "", name, labels);
            role["rules"] = json!([]);
            if !selected.is_empty() {
                let selector = |label: &&str| json!({ "matchLabels": { format!("{GROUP}/{label}"): "true" } });
                let selectors: Vec<Value> = selected.iter().map(selector).collect();
                role["aggregationRule"] = json!({ "clusterRoleSelectors": selectors });
            }
            role
        }
        ["role", namespace, name] => {
            let mut role = object("Role", namespace, name, &[]);
            role["rules"] = json!([]);
            role
        }
        ["clusterrolebinding", name, role, ref subjects @ ..] => {
            binding(object("ClusterRoleBinding", "", name, &[]), "ClusterRole", role, subjects)?
        }
        ["rolebinding", namespace, name, role, ref subjects @ ..] => {
            let (kind, role) = role.split_once('/')?;
            binding(object("RoleBinding", namespace, name, &[]), kind, role, subjects)?
        }
        _ => return None,
    })
}

fn object(kind: &str, namespace: &str, name: &str, labels: &[&str]) -> Value {
    let mut all = Map::from_iter([("kubernetes.io/bootstrapping".to_owned(), json!("rbac-defaults"))]);
    all.extend(labels.iter().map(|label| (format!("{GROUP}/{label}"), json!("true"))));
    let mut metadata = json!({ "name": name, "labels": all, "annotations": { AUTO_UPDATE: "true" } });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    json!({ "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata })
}

fn binding(mut object: Value, kind: &str, role: &str, subjects: &[&str]) -> Option<Value> {
    object["roleRef"] = json!({ "apiGroup": GROUP, "kind": kind, "name": role });
    if !subjects.is_empty() {
        let subjects: Option<Vec<Value>> = subjects.iter().map(|text| subject(text)).collect();
        object["subjects"] = Value::Array(subjects?);
    }
    Some(object)
}

fn subject(text: &str) -> Option<Value> {
    let (kind, name) = text.split_once(':')?;
    Some(match kind {
        "sa" => {
            let (namespace, name) = name.split_once('/')?;
            json!({ "kind": "ServiceAccount", "namespace": namespace, "name": name })
        }
        "user" => json!({ "apiGroup": GROUP, "kind": "User", "name": name }),
        "group" => json!({ "apiGroup": GROUP, "kind": "Group", "name": name }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_policy_is_whole_and_refers_to_itself() {
        let objects = objects();
        let count = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count();
        // Upstream's test data, and our additions.
        assert_eq!(count("ClusterRole"), UPSTREAM_CLUSTER_ROLES + 1);
        assert_eq!(count("ClusterRoleBinding"), UPSTREAM_CLUSTER_ROLE_BINDINGS + 2);
        assert_eq!((count("Role"), count("RoleBinding")), (7, 7));
        let roles: BTreeSet<(&str, &str, &str)> =
            objects.iter().map(|o| (o["kind"].as_str().expect("kind"), meta::namespace(o), meta::name(o))).collect();
        assert_eq!(roles.len(), objects.len(), "every name once");
        for binding in objects.iter().filter(|object| object["roleRef"].is_object()) {
            let (kind, name) = (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]);
            let namespace = if kind == "Role" { meta::namespace(binding) } else { "" };
            let role = (kind.as_str().expect("kind"), namespace, name.as_str().expect("name"));
            assert!(roles.contains(&role), "{} refers to {role:?}", meta::name(binding));
        }
    }

    const UPSTREAM_CLUSTER_ROLES: usize = 73;
    const UPSTREAM_CLUSTER_ROLE_BINDINGS: usize = 54;

    #[test]
    fn lines_become_upstreams_objects() {
        let objects = objects();
        let find = |kind: &str, name: &str| {
            let found = objects.iter().find(|object| object["kind"] == kind && meta::name(object) == name);
            found.expect("in the policy").clone()
        };
        assert_eq!(
            find("ClusterRole", "edit"),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {
                    "name": "edit", "annotations": {AUTO_UPDATE: "true"},
                    "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", "rbac.authorization.k8s.io/aggregate-to-admin": "true"},
                },
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}}]},
                "rules": [],
            })
        );
        assert_eq!(
            find("Role", "extension-apiserver-authentication-reader")["rules"],
            json!([{
                "apiGroups": [""], "resourceNames": ["extension-apiserver-authentication"], "resources": ["configmaps"],
                "verbs": ["get", "list", "watch"],
            }])
        );
        let binding = find("RoleBinding", "system::leader-locking-kube-scheduler");
        assert_eq!(
            binding["subjects"],
            json!([
                {"apiGroup": GROUP, "kind": "User", "name": "system:kube-scheduler"},
                {"kind": "ServiceAccount", "namespace": "kube-system", "name": "kube-scheduler"},
            ])
        );
    }
}
