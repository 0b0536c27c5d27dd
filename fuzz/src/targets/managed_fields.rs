//! Server-side apply: the applied object and the `managedFields` that a client may bring along.

use orlop_api::codec::json::{FieldValidation, decode};
use orlop_api::kinds;
use orlop_api::managed_fields::FieldManager;
use orlop_api::schema;

use crate::Target;

pub const TARGET: Target = Target {
    name: "apply",
    corpus: None, seeds: &[
        super::POD,
        br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","managedFields":[{"manager":"m","operation":"Update",
            "apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":
            {".":{},"f:x":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}},"v:1":{},"i:0":{}}}}]},
            "spec":{"containers":[{"name":"c","image":"j"}]}}"#,
    ],
    run,
};

fn run(bytes: &[u8]) {
    let schema = schema::builtin().of("v1", "Pod").expect("a built-in kind");
    let kind = kinds::by_kind("", "v1", "Pod").expect("a built-in kind");
    let Ok((object, _)) = decode(bytes, Some(schema.get()), FieldValidation::Ignore) else { return };
    let manager = |manager| FieldManager { kind, version: "v1", subresource: "", manager, now: "2026-01-01T00:00:00Z" };
    let (mut live, _) = decode(super::POD, Some(schema.get()), FieldValidation::Ignore).expect("a valid pod");
    manager("first").on_create(&mut live);
    let _ = manager("second").on_apply(Some(&live), &object, true);
    let mut updated = object;
    manager("third").on_update(Some(&live), &mut updated);
    // What went through the door once may come back as live.
    let _ = manager("second").on_apply(Some(&updated), &live, false);
}
