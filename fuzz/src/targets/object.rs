//! Objects of every built-in kind on their way in: defaults, preparation, validation, conversion, columns.

use std::path::Path;

use orlop_api::codec::json::{FieldValidation, decode, encode};
use orlop_api::codec::yaml::from_yaml;
use orlop_api::kind::Kind;
use orlop_api::table::Now;
use orlop_api::{Value, kinds};

use crate::Target;

pub const TARGET: Target = Target { name: "object", corpus: Some(corpus), seeds: &[super::POD], run };

/// The oracle's valid objects.
fn corpus() -> Vec<Vec<u8>> {
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/oracle/objects");
    let files = std::fs::read_dir(objects).expect("the oracle's corpus");
    files.flat_map(|file| valid(&std::fs::read(file.expect("an entry").path()).expect("a file"))).collect()
}

/// The minimal and the maximal object of one file.
fn valid(file: &[u8]) -> Vec<Vec<u8>> {
    let all = from_yaml(file).expect("YAML");
    let full = |part: &str| {
        let mut object = all.get(part)?.clone();
        object["apiVersion"] = all["apiVersion"].clone();
        object["kind"] = all["kind"].clone();
        Some(encode(&object))
    };
    ["minimal", "maximal"].into_iter().filter_map(full).collect()
}

fn run(bytes: &[u8]) {
    let Ok((loose, _)) = decode(bytes, None, FieldValidation::Ignore) else { return };
    let text = |field: &str| loose[field].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let Some(kind) = kinds::by_kind(group, version, text("kind")) else { return };
    let Some(schema) = kind.schema(version) else { return };
    let Ok((mut object, _)) = decode(bytes, Some(schema.get()), FieldValidation::Ignore) else { return };
    kind.set_defaults(version, &mut object);
    let once = object.clone();
    kind.set_defaults(version, &mut object);
    assert_eq!(object, once, "defaults are idempotent");
    stored(kind, version, object);
}

/// What a write goes through after it was decoded and defaulted.
fn stored(kind: &dyn Kind, version: &str, mut object: Value) {
    let storage = &*kind.info().storage_version;
    if storage != version {
        kind.convert(&mut object, version, storage);
    }
    let old = object.clone();
    kind.prepare_create(&mut object);
    kind.drop_disabled(&mut object, &Value::Null);
    let _ = (kind.validate(&object), kind.warnings("", &object, None));
    kind.prepare_update(&mut object, &old);
    kind.drop_disabled(&mut object, &old);
    let _ = (kind.validate_update(&object, &old), kind.generation_changed(&object, &old));
    for subresource in &*kind.info().subresources {
        let mut object = object.clone();
        kind.prepare_subresource(&subresource.name, &mut object, &old);
        let _ = kind.validate_subresource(&subresource.name, &object, &old);
    }
    assert!(kind.row(&object, Now::At(2_000_000_000)).len() >= kind.columns().len());
    kind.field_labels().iter().for_each(|label| drop(label.read(&object)));
}
