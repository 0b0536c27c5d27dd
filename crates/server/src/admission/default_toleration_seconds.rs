//! Pods stay for a while, five minutes by default, on a node that is not ready or out of reach
//! (`plugin/pkg/admission/defaulttolerationseconds`).

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use serde_json::json;

use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct DefaultTolerationSeconds {
    pub not_ready_seconds: i64,
    pub unreachable_seconds: i64,
}

pub const DEFAULT_SECONDS: i64 = 300;

impl Default for DefaultTolerationSeconds {
    fn default() -> Self {
        Self { not_ready_seconds: DEFAULT_SECONDS, unreachable_seconds: DEFAULT_SECONDS }
    }
}

impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, a: &Attributes) -> bool {
        matches!(a.operation, Operation::Create | Operation::Update) && a.is("", "pods") && a.subresource.is_empty()
    }

    fn admit<'a>(&'a self, _: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        self.tolerate(&mut a.object);
        Box::pin(async { Ok(()) })
    }
}

impl DefaultTolerationSeconds {
    fn tolerate(&self, pod: &mut Value) {
        let taints = [
            ("node.kubernetes.io/not-ready", self.not_ready_seconds),
            ("node.kubernetes.io/unreachable", self.unreachable_seconds),
        ];
        for (taint, seconds) in taints {
            let mut tolerations = pod["spec"]["tolerations"].as_array().into_iter().flatten();
            let empty_or = |value: &Value, text: &str| value.as_str().is_none_or(|v| v.is_empty() || v == text);
            if tolerations.any(|t| empty_or(&t["key"], taint) && empty_or(&t["effect"], "NoExecute")) {
                continue;
            }
            let added =
                json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
            let list = meta::child_mut(pod, "spec").entry("tolerations").or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(added);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_what_is_missing() {
        let plugin = DefaultTolerationSeconds { unreachable_seconds: 7, ..DefaultTolerationSeconds::default() };
        let cases = [
            (json!([]), 2),
            (json!([{"operator": "Exists"}]), 1),
            (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]), 2),
            (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]), 3),
        ];
        for (tolerations, want) in cases {
            let mut pod = json!({"spec": {"tolerations": tolerations}});
            plugin.tolerate(&mut pod);
            assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), want, "{pod}");
            let last = &pod["spec"]["tolerations"][want - 1];
            let seconds = if last["key"] == "node.kubernetes.io/unreachable" { Some(7) } else { None };
            assert_eq!(last["tolerationSeconds"].as_i64(), seconds, "{pod}");
        }
    }
}
