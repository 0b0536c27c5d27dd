//! Bodies in JSON.

use orlop_api::codec::json::{FieldValidation, decode, encode};
use orlop_api::schema;

use crate::Target;

pub const TARGET: Target =
    Target { name: "json", corpus: None, seeds: &[super::POD, br#"{"a":[1,-2.5e3,null,true,"\u00e9"],"a":{}}"#], run };

fn run(bytes: &[u8]) {
    let pod = schema::builtin().of("v1", "Pod").expect("a built-in kind");
    for schema in [None, Some(pod.get())] {
        let Ok((value, _)) = decode(bytes, schema, FieldValidation::Warn) else { continue };
        let text = encode(&value);
        let (again, warnings) = decode(&text, schema, FieldValidation::Strict).expect("what was encoded is valid");
        assert_eq!(again, value);
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}
