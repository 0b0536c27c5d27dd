//! A bound pod carries its node's zone and region (`plugin/pkg/admission/podtopologylabels`; KEP 4742).

use futures_util::future::BoxFuture;
use orlop_api::meta;
use orlop_api::status::StatusError;
use serde_json::json;

use super::cluster::find;
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct PodTopologyLabels;

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Create && a.is("", "pods") && matches!(&*a.subresource, "" | "binding")
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let binding = a.subresource == "binding";
            let target = &a.object["target"];
            let name = if binding { &target["name"] } else { &a.object["spec"]["nodeName"] };
            let name = name.as_str().unwrap_or_default();
            if name.is_empty() || (binding && target["kind"] != "Node") {
                return Ok(());
            }
            let Some(node) = find(server, "nodes", "", name) else { return Ok(()) };
            for label in LABELS {
                if let Some(value) = node["metadata"]["labels"].get(label) {
                    let labels = meta::metadata_mut(&mut a.object).entry("labels").or_insert_with(|| json!({}));
                    labels[label] = value.clone();
                }
            }
            Ok(())
        })
    }
}
