//! `pods/NAME/binding` and the bare `bindings`: a scheduler's decision
//! (`pkg/registry/core/pod/storage`, `BindingREST`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orlop_api::field::{ErrorList, Path};
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{Map, Value, meta, object_meta};
use serde_json::json;

use super::{Creator, conditions};
use crate::call::Call;
use crate::{Server, verbs};

pub struct Bind;

impl Creator for Bind {
    fn create<'a>(
        &'a self,
        server: &'a Arc<Server>,
        call: &'a Call,
        binding: Value,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<Value, StatusError>> {
        Box::pin(async move {
            let name = meta::name(&binding).to_owned();
            if !call.info.name.is_empty() && call.info.name != name {
                return Err(StatusError::bad_request("name in URL does not match name in Binding object"));
            }
            check_target(&binding)?;
            check_name(&name)?;
            let pods = server.resource("", "v1", "pods").ok_or_else(StatusError::path_not_found)?;
            let at = (call.namespace(), name.as_str());
            let key = verbs::etcd_key(&pods, at.0, at.1, dry_run);
            verbs::modify(server, &pods, at, dry_run, |pod| assign(pod, &binding, &key)).await?;
            Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
        })
    }
}

fn check_target(binding: &Value) -> Result<(), StatusError> {
    let mut errors = ErrorList::default();
    let path = Path::new("target");
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        errors.not_supported(&path.child("kind"), kind, &["Node", "<empty>"]);
    }
    match binding["target"]["name"].as_str().unwrap_or_default() {
        "" => errors.required(&path.child("name"), ""),
        name if matches!(kind, "" | "Node") => {
            errors.each_invalid(&path.child("name"), name, object_meta::subdomain_rule(name, false));
        }
        _ => {}
    }
    // Upstream hands the bare list of errors out, which becomes a plain failure.
    if errors.is_empty() { Ok(()) } else { Err(StatusError::new(500, "", errors.aggregate())) }
}

/// Upstream's store takes it for a part of a key; it comes from the URL but for the bare `bindings`.
fn check_name(name: &str) -> Result<(), StatusError> {
    let broken = object_meta::path_segment_rule(name, false);
    match name {
        "" => Err(StatusError::bad_request("Name parameter required.")),
        _ if broken.is_empty() => Ok(()),
        _ => Err(StatusError::bad_request(format!("Name parameter invalid: {name:?}: {}", broken.join(";")))),
    }
}

fn assign(pod: &mut Value, binding: &Value, key: &str) -> Result<(), StatusError> {
    check_preconditions(pod, binding, key)?;
    let name = meta::name(pod);
    let refuse = |why: String| {
        Err(StatusError::conflict(GroupResource { group: "", resource: "pods/binding" }, meta::name(pod), &why))
    };
    if meta::is_terminating(pod) {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return refuse(format!("pod {name} is already assigned to node {node:?}"));
    }
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    meta::child_mut(pod, "spec").insert("nodeName".into(), binding["target"]["name"].clone());
    meta::child_mut(pod, "status").remove("nominatedNodeName");
    for field in ["annotations", "labels"] {
        merge(pod, field, &binding["metadata"][field]);
    }
    conditions::set_true(pod, "PodScheduled", "", "");
    Ok(())
}

/// uid and resourceVersion of the binding, if it has them, must be the pod's.
fn check_preconditions(pod: &Value, binding: &Value, key: &str) -> Result<(), StatusError> {
    let pairs = [
        ("UID", meta::uid(binding), meta::uid(pod)),
        ("ResourceVersion", meta::resource_version(binding), meta::resource_version(pod)),
    ];
    for (what, wanted, actual) in pairs {
        if !wanted.is_empty() && wanted != actual {
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
                 Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {actual}"
            );
            return Err(StatusError::conflict(GroupResource { group: "", resource: "pods" }, meta::name(pod), &why));
        }
    }
    Ok(())
}

fn merge(pod: &mut Value, field: &str, added: &Value) {
    let Some(added) = added.as_object().filter(|added| !added.is_empty()) else { return };
    let metadata = meta::metadata_mut(pod);
    let target = metadata.entry(field).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(target) = target {
        target.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(node: &str) -> Value {
        json!({"metadata": {"name": "p", "annotations": {"a": "b"}}, "target": {"kind": "Node", "name": node}})
    }

    #[test]
    fn assigns_once() {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {}, "status": {"nominatedNodeName": "m"}});
        assign(&mut pod, &binding("n1"), "").unwrap();
        assert_eq!(pod["spec"]["nodeName"], "n1");
        assert_eq!(pod["metadata"]["annotations"]["a"], "b");
        assert!(pod["status"].get("nominatedNodeName").is_none());
        assert_eq!(
            assign(&mut pod, &binding("n2"), "").unwrap_err().message,
            "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
        );
    }

    #[test]
    fn refuses_what_cannot_be_scheduled() {
        let mut gated = json!({"metadata": {"name": "p"}, "spec": {"schedulingGates": [{"name": "x"}]}});
        assert!(
            assign(&mut gated, &binding("n"), "").unwrap_err().message.ends_with("has non-empty .spec.schedulingGates")
        );
        let mut leaving = json!({"metadata": {"name": "p", "deletionTimestamp": "t"}});
        assert_eq!(assign(&mut leaving, &binding("n"), "").unwrap_err().code, 409);
        assert_eq!(check_target(&json!({"target": {}})).unwrap_err().message, "target.name: Required value");
        let misnamed = check_target(&json!({"target": {"name": "Upper"}})).unwrap_err();
        assert!(misnamed.code == 500 && misnamed.message.starts_with("target.name: Invalid value: \"Upper\": "));
    }
}
