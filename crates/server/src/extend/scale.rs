//! `scale` of the workload kinds, as `autoscaling/v1 Scale` (`pkg/registry/apps/*/storage`).

use orlop_api::field::{ErrorList, Path};
use orlop_api::status::StatusError;
use orlop_api::{Map, Value, meta};
use serde_json::json;

use super::{Extension, View};

pub fn extensions() -> impl Iterator<Item = Extension> {
    ["apps/deployments", "apps/replicasets", "apps/statefulsets", "replicationcontrollers"]
        .into_iter()
        .map(|key| Extension::new(key).view("scale", Scale))
}

struct Scale;

impl View for Scale {
    fn read(&self, parent: &Value) -> Result<Value, StatusError> {
        let mut metadata = Map::new();
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = parent["metadata"].get(field) {
                metadata.insert(field.into(), value.clone());
            }
        }
        let mut scale = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {},
            "status": { "replicas": parent["status"]["replicas"].as_i64().unwrap_or(0) },
        });
        // A zero is left out, as in every Scale upstream writes.
        if let Some(replicas) = parent["spec"]["replicas"].as_i64().filter(|n| *n != 0) {
            scale["spec"]["replicas"] = replicas.into();
        }
        let selector = selector_text(&parent["spec"]["selector"])?;
        if !selector.is_empty() {
            scale["status"]["selector"] = selector.into();
        }
        Ok(scale)
    }

    fn write(&self, scale: &Value, parent: &mut Value) -> Result<(), StatusError> {
        let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 {
            let mut errors = ErrorList::default();
            let path = Path::new("spec.replicas");
            errors.invalid(&path, replicas, "must be greater than or equal to 0");
            return Err(StatusError::invalid("autoscaling", "Scale", meta::name(scale), &errors));
        }
        let uid = meta::uid(scale);
        if !uid.is_empty() && uid != meta::uid(parent) {
            let why =
                format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta::uid(parent));
            let scales = orlop_api::status::GroupResource { group: "autoscaling", resource: "scales" };
            return Err(StatusError::conflict(scales, meta::name(parent), &why));
        }
        meta::child_mut(parent, "spec").insert("replicas".into(), replicas.into());
        Ok(())
    }

    fn replicas(&self) -> &'static [(&'static str, &'static str)] {
        &[("apps/v1", "spec.replicas"), ("v1", "spec.replicas")]
    }
}

/// A selector's text: of a label selector, or of a ReplicationController's plain map.
fn selector_text(selector: &Value) -> Result<String, StatusError> {
    use orlop_api::selector::Selector;
    let Value::Object(fields) = selector else { return Ok(String::new()) };
    let typed = fields.contains_key("matchLabels") || fields.contains_key("matchExpressions");
    let selector = if typed {
        let typed = serde_json::from_value(selector.clone()).map_err(StatusError::internal)?;
        Selector::from_typed(&typed).map_err(StatusError::internal)?
    } else {
        let labels: Vec<(String, String)> =
            fields.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect();
        Selector::from_labels(labels.iter().map(|(k, v)| (k, v)))
    };
    Ok(selector.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_replicas() {
        let mut deployment = json!({
            "metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "5", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}}, "status": {"replicas": 2},
        });
        let scale = Scale.read(&deployment).unwrap();
        assert_eq!(
            scale,
            json!({
                "kind": "Scale", "apiVersion": "autoscaling/v1",
                "metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "5"},
                "spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "a=b"},
            })
        );
        Scale.write(&json!({"metadata": {"name": "d"}, "spec": {}}), &mut deployment).unwrap();
        assert_eq!(deployment["spec"]["replicas"], 0);
        let negative = json!({"metadata": {"name": "d"}, "spec": {"replicas": -1}});
        assert_eq!(
            Scale.write(&negative, &mut deployment).unwrap_err().message,
            "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        );
    }

    #[test]
    fn plain_map_selectors() {
        let rc = json!({"metadata": {"name": "r"}, "spec": {"selector": {"b": "c", "a": "b"}}});
        assert_eq!(Scale.read(&rc).unwrap()["status"]["selector"], "a=b,b=c");
    }
}
