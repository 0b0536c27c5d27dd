//! Pods that ask for devices tolerate the taints of the nodes that have them
//! (`plugin/pkg/admission/extendedresourcetoleration`).

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_base::names;
use serde_json::json;

use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct ExtendedResourceToleration;

impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    fn handles(&self, a: &Attributes) -> bool {
        matches!(a.operation, Operation::Create | Operation::Update) && a.is("", "pods") && a.subresource.is_empty()
    }

    fn admit<'a>(&'a self, _: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        tolerate(&mut a.object);
        Box::pin(async { Ok(()) })
    }
}

fn tolerate(pod: &mut Value) {
    let lists = ["containers", "initContainers"];
    let containers = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    let asked = containers.filter_map(|container| container["resources"]["requests"].as_object());
    let names: BTreeSet<String> =
        asked.flat_map(|asked| asked.keys()).filter(|name| is_extended(name)).cloned().collect();
    for name in names {
        let toleration = json!({ "key": name, "operator": "Exists", "effect": "NoSchedule" });
        let list = meta::child_mut(pod, "spec").entry("tolerations").or_insert_with(|| json!([]));
        let Value::Array(list) = list else { return };
        let same = |other: &Value| {
            ["key", "operator", "effect"].iter().all(|field| other[*field] == toleration[*field])
                && other["value"].as_str().unwrap_or_default().is_empty()
        };
        match list.iter_mut().find(|other| same(other)) {
            Some(known) => *known = toleration,
            None => list.push(toleration),
        }
    }
}

/// Neither Kubernetes' own nor a quota's name of one.
fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_tolerated_once() {
        let mut pod = json!({"spec": {
            "containers": [{"resources": {"requests": {"cpu": "1", "example.com/gpu": "1", "kubernetes.io/x": "1"}}}],
            "initContainers": [{"resources": {"requests": {"example.com/fpga": "1", "example.com/gpu": "1"}}}],
        }});
        tolerate(&mut pod);
        let once = pod.clone();
        let key = |i: usize| once["spec"]["tolerations"][i]["key"].clone();
        assert_eq!((key(0), key(1), key(2)), (json!("example.com/fpga"), json!("example.com/gpu"), Value::Null));
        tolerate(&mut pod);
        assert_eq!(pod, once);
    }
}
