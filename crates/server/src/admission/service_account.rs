//! Every pod runs as a ServiceAccount and, unless told not to, holds its token
//! (`plugin/pkg/admission/serviceaccount`).

use std::time::Duration;

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_base::id;
use serde_json::json;

use super::{Attributes, Operation, Plugin, cluster};
use crate::Server;

pub struct ServiceAccount;

const DEFAULT: &str = "default";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MIRROR: &str = "kubernetes.io/config.mirror";
const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";
/// An hour and seven seconds: the odd number tells tokens that may be used past their hour
/// (`WarnOnlyBoundTokenExpirationSeconds`).
const TOKEN_EXPIRATION_SECONDS: i64 = 3607;
/// A fresh namespace's default account is made by a controller, soon. Upstream tries ten times, a
/// tenth to a fifth of a second apart.
const DEFAULT_ACCOUNT_WAIT: Duration = Duration::from_secs(2);

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.is("", "pods")
            && match a.operation {
                Operation::Create => a.subresource.is_empty(),
                Operation::Update => a.subresource == "ephemeralcontainers",
                _ => false,
            }
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            if a.operation != Operation::Create {
                return Ok(());
            }
            if is_mirror(&a.object) {
                return check_mirror(a);
            }
            let spec = meta::child_mut(&mut a.object, "spec");
            if spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or_default().is_empty() {
                spec.insert("serviceAccountName".into(), DEFAULT.into());
                spec.insert("serviceAccount".into(), DEFAULT.into());
            }
            let account = find(server, a).await?;
            if automounts(&account, &a.object) {
                mount_token(&mut a.object);
            }
            take_pull_secrets(&account, &mut a.object);
            Ok(())
        })
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            if a.operation == Operation::Create && is_mirror(&a.object) {
                return check_mirror(a);
            }
            if account_name(&a.object).is_empty() {
                let why = format!("no service account specified for pod {}/{}", a.namespace, meta::name(&a.object));
                return Err(a.forbidden(&why));
            }
            let account = find(server, a).await?;
            if account["metadata"]["annotations"][ENFORCE_MOUNTABLE] == "true" {
                super::mountable_secrets::check(a, &account).map_err(|why| a.forbidden(&why))?;
            }
            Ok(())
        })
    }
}

fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"].get(MIRROR).is_some()
}

fn account_name(pod: &Value) -> &str {
    pod["spec"]["serviceAccountName"].as_str().unwrap_or_default()
}

/// Static pods are not made by an account, and see no secrets.
fn check_mirror(a: &Attributes) -> Result<(), StatusError> {
    if !account_name(&a.object).is_empty() {
        return Err(a.forbidden("a mirror pod may not reference service accounts"));
    }
    if !super::mountable_secrets::of_pod(&a.object).is_empty() {
        return Err(a.forbidden("a mirror pod may not reference secrets"));
    }
    let volumes = a.object["spec"]["volumes"].as_array().into_iter().flatten();
    let mut sources = volumes.flat_map(|v| v["projected"]["sources"].as_array().into_iter().flatten());
    if sources.any(|source| source["serviceAccountToken"].is_object()) {
        return Err(a.forbidden("a mirror pod may not use ServiceAccountToken volume projections"));
    }
    Ok(())
}

async fn find(server: &Server, a: &Attributes) -> Result<Value, StatusError> {
    let name = account_name(&a.object);
    let missing = || {
        let namespace = &a.namespace;
        let why = cluster::no_name(name).unwrap_or_else(|| format!("serviceaccount {name:?} not found"));
        a.forbidden(&format!("error looking up service account {namespace}/{name}: {why}"))
    };
    if let Some(account) = look_up(server, &a.namespace, name) {
        return Ok(account);
    }
    if name != DEFAULT {
        return Err(missing());
    }
    let waited = tokio::time::timeout(DEFAULT_ACCOUNT_WAIT, wait_for_default(server, &a.namespace)).await;
    waited.ok().flatten().ok_or_else(missing)
}

fn look_up(server: &Server, namespace: &str, name: &str) -> Option<Value> {
    let key = orlop_store::Key { resource: "serviceaccounts".into(), namespace: namespace.into(), name: name.into() };
    serde_json::from_slice(&server.store.newest(&key)?.json).ok()
}

async fn wait_for_default(server: &Server, namespace: &str) -> Option<Value> {
    let revision = server.store.revision();
    let mut changes = server.store.watch("serviceaccounts", Some(namespace), revision).ok()?;
    loop {
        if let Some(account) = look_up(server, namespace, DEFAULT) {
            return Some(account);
        }
        changes.next().await.ok()?;
    }
}

/// The pod's wish counts more than the account's; silence means yes.
fn automounts(account: &Value, pod: &Value) -> bool {
    let wish = |object: &Value| object["automountServiceAccountToken"].as_bool();
    wish(&pod["spec"]).or_else(|| wish(account)).unwrap_or(true)
}

fn take_pull_secrets(account: &Value, pod: &mut Value) {
    let has_own = pod["spec"]["imagePullSecrets"].as_array().is_some_and(|list| !list.is_empty());
    let names = account["imagePullSecrets"].as_array().filter(|list| !list.is_empty());
    if let Some(names) = names.filter(|_| !has_own) {
        let references: Value = names.iter().map(|secret| json!({ "name": secret["name"] })).collect();
        meta::child_mut(pod, "spec").insert("imagePullSecrets".into(), references);
    }
}

fn mount_token(pod: &mut Value) {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let mut names = volumes.filter_map(|volume| volume["name"].as_str());
    let existing = names.find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let has_volume = existing.is_some();
    let name = existing.unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", id::suffix(5)));
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            needed |= mount(container, &name);
        }
    }
    if needed && !has_volume {
        push(&mut pod["spec"], "volumes", token_volume(&name));
    }
}

/// False where the container keeps something of its own in that place.
fn mount(container: &mut Value, volume: &str) -> bool {
    let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
    if mounts.any(|mount| mount["mountPath"] == MOUNT_PATH) {
        return false;
    }
    push(container, "volumeMounts", json!({ "name": volume, "readOnly": true, "mountPath": MOUNT_PATH }));
    true
}

fn push(object: &mut Value, field: &str, item: Value) {
    match object.get_mut(field) {
        Some(Value::Array(list)) => list.push(item),
        _ => object[field] = json!([item]),
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                { "serviceAccountToken": { "path": "token", "expirationSeconds": TOKEN_EXPIRATION_SECONDS } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [{
                    "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" },
                }] } },
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_mounted_where_nothing_else_is() {
        let mut pod = json!({"spec": {
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}],
        }});
        mount_token(&mut pod);
        let name = pod["spec"]["volumes"][0]["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with(VOLUME_PREFIX) && name.len() == VOLUME_PREFIX.len() + 5);
        for container in [&pod["spec"]["initContainers"][0], &pod["spec"]["containers"][0]] {
            assert_eq!(container["volumeMounts"][0], json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
        }
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        let before = pod.clone();
        mount_token(&mut pod);
        assert_eq!(pod, before, "a second time changes nothing");
    }

    #[test]
    fn whose_wish_counts() {
        let cases = [
            (json!({}), json!({}), true),
            (json!({"automountServiceAccountToken": false}), json!({}), false),
            (
                json!({"automountServiceAccountToken": false}),
                json!({"spec": {"automountServiceAccountToken": true}}),
                true,
            ),
        ];
        for (account, pod, want) in cases {
            assert_eq!(automounts(&account, &pod), want);
        }
    }
}
