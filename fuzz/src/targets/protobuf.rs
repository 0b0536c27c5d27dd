//! Bodies in protobuf, and the JSON that becomes protobuf: what was encoded reads back the same.

use orlop_api::codec::json::{self, FieldValidation};
use orlop_api::codec::protobuf::{decode, encode};
use orlop_api::schema;

use crate::Target;

pub const TARGET: Target = Target {
    name: "protobuf",
    corpus: None, seeds: &[
        super::POD,
        b"k8s\0\x0a\x11\x0a\x02v1\x12\x09ConfigMap\x12\x16\x0a\x09\x0a\x01a\x12\0\x1a\x01b\x12\x06\x0a\x01k\x12\x01v\x1a\x01\x00",
    ],
    run,
};

fn run(bytes: &[u8]) {
    let registry = schema::builtin();
    if let Ok((api_version, kind, value)) = decode(bytes) {
        let Some(schema) = registry.of(&api_version, &kind) else { return };
        let (_, _, again) = decode(&encode(&value, schema.get())).expect("what was encoded is valid");
        assert_eq!(again, value);
    }
    let pod = registry.of("v1", "Pod").expect("a built-in kind");
    let Ok((mut value, _)) = json::decode(bytes, Some(pod.get()), FieldValidation::Ignore) else { return };
    value["apiVersion"] = "v1".into();
    value["kind"] = "Pod".into();
    decode(&encode(&value, pod.get())).expect("what was encoded is valid");
}
