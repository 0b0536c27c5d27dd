//! A pod's runtime class says what it costs and where it runs (`plugin/pkg/admission/runtimeclass`; KEP 688).

use futures_util::future::BoxFuture;
use orlop_api::resource_list::ResourceList;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use serde_json::json;

use super::cluster::{find, no_name};
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct RuntimeClass;

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Create && a.is("", "pods") && a.subresource.is_empty()
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let Some(class) = class_of(server, a)? else { return Ok(()) };
            set_overhead(&class, a)?;
            set_scheduling(&class["scheduling"], a)
        })
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let class = class_of(server, a)?;
            let defined = class.as_ref().and_then(|class| class.get("overhead"));
            match defined {
                Some(overhead) if !same(&overhead["podFixed"], &a.object["spec"]["overhead"]) => {
                    Err(a.forbidden(MISMATCH))
                }
                None if a.object["spec"].get("overhead").is_some_and(Value::is_object) => {
                    let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
                    Err(a.forbidden(why))
                }
                _ => Ok(()),
            }
        })
    }
}

fn class_of(server: &Server, a: &Attributes) -> Result<Option<Value>, StatusError> {
    let Some(name) = a.object["spec"]["runtimeClassName"].as_str() else { return Ok(None) };
    if let Some(class) = find(server, "node.k8s.io/runtimeclasses", "", name) {
        return Ok(Some(class));
    }
    Err(match no_name(name) {
        Some(why) => StatusError::new(500, "", why),
        None => a.forbidden(&format!("pod rejected: RuntimeClass {name:?} not found")),
    })
}

fn same(a: &Value, b: &Value) -> bool {
    ResourceList::read(a) == ResourceList::read(b)
}

fn set_overhead(class: &Value, a: &mut Attributes) -> Result<(), StatusError> {
    let Some(overhead) = class.get("overhead") else { return Ok(()) };
    let given = &a.object["spec"]["overhead"];
    if given.as_object().is_some_and(|given| !given.is_empty()) && !same(given, &overhead["podFixed"]) {
        return Err(a.forbidden(MISMATCH));
    }
    meta::child_mut(&mut a.object, "spec").insert("overhead".into(), overhead["podFixed"].clone());
    Ok(())
}

/// The class's selector is merged in, its tolerations are added where they are not there yet.
fn set_scheduling(scheduling: &Value, a: &mut Attributes) -> Result<(), StatusError> {
    for (key, value) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
        let own = &a.object["spec"]["nodeSelector"][key];
        if !own.is_null() && own != value {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return Err(a.forbidden(&format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(own)
            )));
        }
        let selector = meta::child_mut(&mut a.object, "spec").entry("nodeSelector").or_insert_with(|| json!({}));
        selector[key] = value.clone();
    }
    let more = scheduling["tolerations"].as_array().filter(|list| !list.is_empty());
    if let Some(more) = more {
        let list = meta::child_mut(&mut a.object, "spec").entry("tolerations").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            let missing: Vec<Value> = more.iter().filter(|toleration| !list.contains(toleration)).cloned().collect();
            list.extend(missing);
        }
    }
    Ok(())
}
