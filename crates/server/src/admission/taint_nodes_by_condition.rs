//! A node joins as not ready, so that nothing is put on it before it says otherwise
//! (`plugin/pkg/admission/nodetaint`).

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use serde_json::json;

use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct TaintNodesByCondition;

const TAINT: &str = "node.kubernetes.io/not-ready";

impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Create && a.is("", "nodes") && a.subresource.is_empty()
    }

    fn admit<'a>(&'a self, _: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        let list = meta::child_mut(&mut a.object, "spec").entry("taints").or_insert_with(|| json!([]));
        if let Value::Array(list) = list
            && !list.iter().any(|taint| taint["key"] == TAINT && taint["effect"] == "NoSchedule")
        {
            list.push(json!({ "key": TAINT, "effect": "NoSchedule" }));
        }
        Box::pin(async { Ok(()) })
    }
}
