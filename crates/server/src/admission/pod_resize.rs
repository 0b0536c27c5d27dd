//! A pod is resized only on Linux, and within what its node has to give (`plugin/pkg/admission/podresize`).

use futures_util::future::BoxFuture;
use orlop_api::pod_resources::asked_requests;
use orlop_api::resource_list::ResourceList;
use orlop_api::status::StatusError;
use orlop_api::{Value, quantity::Quantity};
use serde_json::json;

use super::cluster::find;
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct PodResizeValidator;

impl Plugin for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Update && a.is("", "pods") && a.subresource == "resize"
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(std::future::ready(validate(server, a)))
    }
}

fn validate(server: &Server, a: &Attributes) -> Result<(), StatusError> {
    let Some(name) = node_of_changed(a) else { return Ok(()) };
    let node = find(server, "nodes", "", name).ok_or_else(|| a.forbidden(&format!("node {name:?} not found")))?;
    let refuse = |why: String, cause: &str| {
        let mut status = a.forbidden(&why);
        if let Some(details) = status.details.as_deref_mut() {
            details["causes"] = json!([{ "reason": cause }]);
        }
        Err(status)
    };
    match node["metadata"]["labels"]["kubernetes.io/os"].as_str() {
        None | Some("linux") => {}
        Some(os) => {
            let why = format!("pod resize is only supported on linux nodes, node {name:?} is {os:?}");
            return refuse(why, "UnsupportedPlatform");
        }
    }
    let short = short_of(&a.object, &ResourceList::read(&node["status"]["allocatable"]));
    if short.is_empty() {
        return Ok(());
    }
    refuse(format!("node didn't have enough allocatable resources: {}", short.join("; ")), "NodeCapacity")
}

/// The node of a bound pod whose spec an update changes.
pub fn node_of_changed(a: &Attributes) -> Option<&str> {
    let generation = |pod: &Value| pod["metadata"]["generation"].as_i64().unwrap_or_default();
    let old = a.old_object.as_deref()?;
    let name = a.object["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())?;
    (generation(old) != generation(&a.object)).then_some(name)
}

fn short_of(pod: &Value, allocatable: &ResourceList) -> Vec<String> {
    let mut requests = asked_requests(pod);
    requests.add(&ResourceList::read(&pod["spec"]["overhead"]));
    let figures: [(&str, fn(&Quantity) -> i64); 2] = [("cpu", Quantity::milli_value), ("memory", Quantity::value)];
    let short = figures.into_iter().filter_map(|(name, figure)| {
        let amount = |list: &ResourceList| list.get(name).map_or(0, figure);
        let (requested, allocatable) = (amount(&requests), amount(allocatable));
        (requested > allocatable).then(|| format!("{name}, requested: {requested}, allocatable: {allocatable}"))
    });
    short.collect()
}
