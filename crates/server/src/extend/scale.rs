//! `scale` of the workload kinds, as `autoscaling/v1 Scale` (`pkg/registry/apps/*/storage`).

use std::sync::Arc;

use orlop_api::field::{ErrorList, Path};
use orlop_api::kind::ScalePaths;
use orlop_api::status::StatusError;
use orlop_api::{Map, Value, meta};
use serde_json::json;

use super::{Extension, Handler, View};
use crate::resource::Resource;

pub fn extensions() -> impl Iterator<Item = Extension> {
    ["apps/deployments", "apps/replicasets", "apps/statefulsets", "replicationcontrollers"]
        .into_iter()
        .map(|key| Extension::new(key).view("scale", Scale))
}

struct Scale;

impl View for Scale {
    fn read(&self, parent: &Value) -> Result<Value, StatusError> {
        let mut scale = head(parent);
        scale["status"]["replicas"] = parent["status"]["replicas"].as_i64().unwrap_or(0).into();
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
        let replicas = checked_replicas(scale, parent)?;
        meta::child_mut(parent, "spec").insert("replicas".into(), replicas.into());
        Ok(())
    }

    fn replicas(&self) -> Vec<(&str, &str)> {
        vec![("apps/v1", "spec.replicas"), ("v1", "spec.replicas")]
    }
}

/// `scale` of a custom resource, where its definition has one.
pub fn of_custom(resource: &Resource) -> Option<Handler> {
    let paths = resource.kind().scale_paths()?.clone();
    let info = resource.info();
    let versions = info.versions.iter().map(|version| info.api_version(version)).collect();
    Some(Handler::View(Arc::new(CustomScale { paths, versions })))
}

struct CustomScale {
    paths: ScalePaths,
    /// All apiVersions of the kind.
    versions: Vec<String>,
}

fn at<'a>(parent: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(parent, |value, field| &value[field])
}

impl View for CustomScale {
    fn read(&self, parent: &Value) -> Result<Value, StatusError> {
        let mut scale = head(parent);
        let Some(replicas) = at(parent, &self.paths.spec_replicas).as_i64() else {
            let why = format!("the spec replicas field \".{}\" does not exist", self.paths.spec_replicas);
            return Err(StatusError::internal(why));
        };
        if replicas != 0 {
            scale["spec"]["replicas"] = replicas.into();
        }
        let status = at(parent, &self.paths.status_replicas).as_i64().unwrap_or(0);
        scale["status"] = json!({ "replicas": status });
        if let Some(selector) = self.paths.label_selector.as_ref().and_then(|path| at(parent, path).as_str()) {
            scale["status"]["selector"] = selector.into();
        }
        Ok(scale)
    }

    fn write(&self, scale: &Value, parent: &mut Value) -> Result<(), StatusError> {
        let replicas = checked_replicas(scale, parent)?;
        let mut field = parent;
        for name in self.paths.spec_replicas.split('.') {
            if !field.is_object() {
                *field = json!({});
            }
            field = &mut field[name];
        }
        *field = replicas.into();
        Ok(())
    }

    fn replicas(&self) -> Vec<(&str, &str)> {
        self.versions.iter().map(|version| (version.as_str(), self.paths.spec_replicas.as_str())).collect()
    }
}

/// A Scale with its parent's identity.
fn head(parent: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = parent["metadata"].get(field) {
            metadata.insert(field.into(), value.clone());
        }
    }
    json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {}, "status": { "replicas": 0 } })
}

/// What a written Scale asks for.
fn checked_replicas(scale: &Value, parent: &Value) -> Result<i64, StatusError> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let mut errors = ErrorList::default();
        let path = Path::new("spec.replicas");
        errors.invalid(&path, replicas, "must be greater than or equal to 0");
        return Err(StatusError::invalid("autoscaling", "Scale", meta::name(scale), &errors));
    }
    let uid = meta::uid(scale);
    if !uid.is_empty() && uid != meta::uid(parent) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta::uid(parent));
        let scales = orlop_api::status::GroupResource { group: "autoscaling", resource: "scales" };
        return Err(StatusError::conflict(scales, meta::name(parent), &why));
    }
    Ok(replicas)
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
