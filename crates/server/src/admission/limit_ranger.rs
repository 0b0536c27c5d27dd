//! Pods and claims keep to their namespace's LimitRanges, and take their defaults from them
//! (`plugin/pkg/admission/limitranger`).

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use orlop_api::resource_list::ResourceList;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta, pod_resources};

use super::limits::{Kept, check};
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct LimitRanger;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, a: &Attributes) -> bool {
        let going = a.old_object.as_deref().is_some_and(meta::is_terminating);
        let applies = match (a.operation, &*a.subresource) {
            (Operation::Create, "") => a.is("", "pods") || a.is("", "persistentvolumeclaims"),
            (Operation::Update, "") => a.is("", "persistentvolumeclaims"),
            (Operation::Update, "resize") => a.is("", "pods"),
            _ => false,
        };
        applies && !going
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            if a.is("", "pods") {
                for range in ranges(server, &a.namespace) {
                    fill(&range, &mut a.object);
                }
            }
            Ok(())
        })
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            for range in ranges(server, &a.namespace) {
                let broken = if a.is("", "pods") { of_pod(&range, &a.object) } else { of_claim(&range, &a.object) };
                match broken.as_slice() {
                    [] => {}
                    [one] => return Err(a.forbidden(one)),
                    many => return Err(a.forbidden(&format!("[{}]", many.join(", ")))),
                }
            }
            Ok(())
        })
    }
}

fn ranges(server: &Server, namespace: &str) -> Vec<Value> {
    let snapshot = server.store.snapshot();
    snapshot.range("limitranges", Some(namespace), None).filter_map(|e| serde_json::from_slice(&e.json).ok()).collect()
}

fn limits<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    range["spec"]["limits"].as_array().into_iter().flatten().filter(move |limit| limit["type"] == kind)
}

/// Gives containers what they do not say, and notes it in an annotation.
fn fill(range: &Value, pod: &mut Value) {
    let (mut requests, mut most) = (ResourceList::default(), ResourceList::default());
    for limit in limits(range, "Container") {
        overlay(&mut requests, &limit["defaultRequest"]);
        overlay(&mut most, &limit["default"]);
    }
    let mut notes = Vec::new();
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            for (field, word, defaults) in [("requests", "request", &requests), ("limits", "limit", &most)] {
                let given = complete(container, field, defaults);
                if !given.is_empty() {
                    let given = given.into_iter().collect::<Vec<_>>().join(", ");
                    notes.push(format!("{given} {word} for {what} {name}"));
                }
            }
        }
    }
    if !notes.is_empty() {
        let metadata = meta::metadata_mut(pod);
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(orlop_api::Map::new()));
        annotations[ANNOTATION] = format!("LimitRanger plugin set: {}", notes.join("; ")).into();
    }
}

fn overlay(list: &mut ResourceList, more: &Value) {
    for (name, amount) in ResourceList::read(more).iter() {
        list.set(name, amount.clone());
    }
}

/// Names that were missing from the container's list and now stand in it.
fn complete(container: &mut Value, field: &str, defaults: &ResourceList) -> BTreeSet<String> {
    let mut given = BTreeSet::new();
    for (name, amount) in defaults.iter() {
        if container["resources"][field].get(name).is_none() {
            let resources = meta::child_mut(container, "resources");
            let list = resources.entry(field).or_insert_with(|| Value::Object(orlop_api::Map::new()));
            list[name] = amount.to_string().into();
            given.insert(name.to_owned());
        }
    }
    given
}

fn of_claim(range: &Value, claim: &Value) -> Vec<String> {
    let requests = ResourceList::read(&claim["spec"]["resources"]["requests"]);
    let kept = Kept { requests: &requests, limits: None };
    limits(range, "PersistentVolumeClaim").flat_map(|limit| check(limit, &kept)).collect()
}

fn of_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    for limit in range["spec"]["limits"].as_array().into_iter().flatten() {
        match limit["type"].as_str() {
            Some("Container") => {
                for container in
                    ["containers", "initContainers"].iter().filter_map(|list| pod["spec"][*list].as_array()).flatten()
                {
                    let list = |field: &str| ResourceList::read(&container["resources"][field]);
                    let (requests, most) = (list("requests"), list("limits"));
                    broken.extend(check(limit, &Kept { requests: &requests, limits: Some(&most) }));
                }
            }
            Some("Pod") => {
                let (requests, most) = (pod_resources::asked_requests(pod), pod_resources::asked_limits(pod));
                broken.extend(check(limit, &Kept { requests: &requests, limits: Some(&most) }));
            }
            _ => {}
        }
    }
    broken
}
