//! Pods stay five minutes on a node that is not ready or out of reach
//! (`plugin/pkg/admission/defaulttolerationseconds`).

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use serde_json::json;

use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct DefaultTolerationSeconds;

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: i64 = 300;

impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
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
    for taint in TAINTS {
        let mut tolerations = pod["spec"]["tolerations"].as_array().into_iter().flatten();
        let empty_or = |value: &Value, text: &str| value.as_str().is_none_or(|v| v.is_empty() || v == text);
        if tolerations.any(|t| empty_or(&t["key"], taint) && empty_or(&t["effect"], "NoExecute")) {
            continue;
        }
        let added = json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
        let list = meta::child_mut(pod, "spec").entry("tolerations").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(added);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_what_is_missing() {
        let cases = [
            (json!([]), 2),
            (json!([{"operator": "Exists"}]), 1),
            (json!([{"key": TAINTS[0], "effect": "NoExecute"}]), 2),
            (json!([{"key": TAINTS[0], "effect": "NoSchedule"}]), 3),
        ];
        for (tolerations, want) in cases {
            let mut pod = json!({"spec": {"tolerations": tolerations}});
            tolerate(&mut pod);
            assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), want, "{pod}");
        }
    }
}
