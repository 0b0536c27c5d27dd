//! Patches of every type, laid on a pod.

use orlop_api::codec::json::{FieldValidation, decode};
use orlop_api::patch::{json, merge, strategic};
use orlop_api::schema;
use serde_json::Value;

use crate::Target;

pub const JSON: Target = Target {
    name: "json-patch",
    corpus: None,
    seeds: &[
        br#"[{"op":"add","path":"/metadata/labels/z~1q","value":1},{"op":"remove","path":"/spec/containers/0"}]"#,
        br#"[{"op":"test","path":"/kind","value":"Pod"},{"op":"move","from":"/spec/volumes/-","path":"/status/a"},
            {"op":"copy","from":"/spec","path":"/spec/containers/0/env"},{"op":"replace","path":"","value":null}]"#,
    ],
    run: |bytes| {
        let Ok(patch) = serde_json::from_slice(bytes) else { return };
        let loose = json::apply(pod(), &patch, false);
        // Looking at the fields may refuse more, and changes nothing else.
        if let Ok(strict) = json::apply(pod(), &patch, true) {
            assert_eq!(loose.ok(), Some(strict));
        }
    },
};

pub const MERGE: Target = Target {
    name: "merge-patch",
    corpus: None,
    seeds: &[br#"{"metadata":{"labels":{"x":null,"n":"v"}},"spec":{"containers":null,"volumes":[{}]}}"#],
    run: |bytes| {
        let Ok(patch) = serde_json::from_slice::<Value>(bytes) else { return };
        let Ok(once) = merge::apply(pod(), patch.clone()) else { return };
        // RFC 7396: the same patch again changes nothing.
        assert_eq!(merge::apply(once.clone(), patch).ok(), Some(once));
    },
};

pub const STRATEGIC: Target = Target {
    name: "strategic-merge-patch",
    corpus: None, seeds: &[
        br#"{"spec":{"containers":[{"name":"c","$patch":"delete"},{"name":"d","image":"e"}],
            "$setElementOrder/containers":[{"name":"d"}],"$retainKeys":["containers"]}}"#,
        br#"{"metadata":{"finalizers":["q"],"$deleteFromPrimitiveList/finalizers":["example.com/f"],"$patch":"replace"},
            "spec":{"volumes":[{"$patch":"replace"},{"name":"w","emptyDir":{}}]}}"#,
    ],
    run: |bytes| {
        let Ok(patch) = serde_json::from_slice(bytes) else { return };
        let schema = schema::builtin().of("v1", "Pod").expect("a built-in kind");
        let _ = strategic::apply(pod(), patch, schema.get());
    },
};

fn pod() -> Value {
    decode(super::POD, None, FieldValidation::Ignore).expect("a valid pod").0
}
