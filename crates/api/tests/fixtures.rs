//! Upstream's own round-trip fixtures (`k8s.io/api/testdata/HEAD`): every kind in JSON, YAML and protobuf with
//! every field set. They are not part of this repository; `ORLOP_FIXTURES` names the folder where they are.

use std::path::PathBuf;

use orlop_api::Value;
use orlop_api::codec::json::{self, FieldValidation};
use orlop_api::codec::{protobuf, yaml};
use orlop_api::schema::{ObjectRef, builtin};

struct Fixture {
    name: String,
    schema: ObjectRef,
    json: Value,
    yaml: String,
    protobuf: Vec<u8>,
}

/// All fixtures of kinds that are built in; none without the folder.
fn fixtures() -> Vec<Fixture> {
    let Some(folder) = std::env::var_os("ORLOP_FIXTURES").map(PathBuf::from) else { return Vec::new() };
    let mut fixtures = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the fixtures' folder") {
        let path = entry.expect("a folder entry").path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
        let json: Value = serde_json::from_slice(&std::fs::read(&path).expect("a fixture")).expect("JSON");
        let text = |field: &str| json[field].as_str().unwrap_or_default();
        let Some(schema) = builtin().of(text("apiVersion"), text("kind")) else { continue };
        let yaml = std::fs::read_to_string(path.with_extension("yaml")).expect("the YAML beside it");
        let protobuf = std::fs::read(path.with_extension("pb")).expect("the protobuf beside it");
        fixtures.push(Fixture { name, schema, json, yaml, protobuf });
    }
    assert!(fixtures.len() > 90, "only {} fixtures found", fixtures.len());
    fixtures
}

/// Runs `check` on each, and reports all that fail.
fn check(check: impl Fn(&Fixture) -> Result<(), String>) {
    let failures: Vec<String> =
        fixtures().iter().filter_map(|f| check(f).err().map(|why| format!("{}: {why}", f.name))).collect();
    assert!(failures.is_empty(), "{} fixtures fail:\n{}", failures.len(), failures.join("\n"));
}

fn same(got: &Value, want: &Value) -> Result<(), String> {
    let mut differences = Vec::new();
    compare(got, want, "", &mut differences);
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}

fn compare(got: &Value, want: &Value, path: &str, differences: &mut Vec<String>) {
    match (got, want) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                compare(&got[key], &want[key], &format!("{path}.{key}"), differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compare(a, b, &format!("{path}[{i}]"), differences);
            }
        }
        _ if got == want => {}
        _ => differences.push(format!("{path} is {got}, should be {want}")),
    }
}

#[test]
fn json_reads_strictly_and_stays_as_it_is() {
    check(|f| {
        let bytes = serde_json::to_vec(&f.json).expect("JSON");
        let (value, _) = json::decode(&bytes, Some(f.schema.get()), FieldValidation::Strict).map_err(|e| e.message)?;
        same(&value, &f.json)
    });
}

#[test]
fn protobuf_reads_to_the_same_object() {
    check(|f| {
        let (.., value) = protobuf::decode(&f.protobuf).map_err(|e| e.message)?;
        same(&value, &f.json)
    });
}

#[test]
fn protobuf_is_written_byte_for_byte() {
    check(|f| {
        let bytes = protobuf::encode(&f.json, f.schema.get());
        if bytes == f.protobuf {
            return Ok(());
        }
        let at = bytes.iter().zip(&f.protobuf).position(|(a, b)| a != b);
        let (.., value) = protobuf::decode(&bytes).map_err(|e| e.message)?;
        same(&value, &f.json)?;
        Err(format!("{} bytes instead of {}, different from {at:?} on", bytes.len(), f.protobuf.len()))
    });
}

#[test]
fn yaml_reads_to_the_same_object() {
    check(|f| same(&yaml::from_yaml(f.yaml.as_bytes()).map_err(|e| e.to_string())?, &f.json));
}

#[test]
fn yaml_is_written_line_for_line() {
    check(|f| {
        let text = yaml::to_yaml(&f.json);
        match text.lines().zip(f.yaml.lines()).find(|(got, want)| got != want) {
            None if text == f.yaml => Ok(()),
            None => Err("one is longer".to_owned()),
            Some((got, want)) => Err(format!("{got:?} instead of {want:?}")),
        }
    });
}
