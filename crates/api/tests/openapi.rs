//! The OpenAPI documents against upstream's own (`api/openapi-spec/v3` of `k8s.io/kubernetes`), which are not part
//! of this repository; `ORLOP_OPENAPI` names the folder where they are. Prose and CBOR are left out of account:
//! the first is partly ours, the second is not served.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orlop_api::Value;
use orlop_api::kind::Kind;
use orlop_api::kinds;
use orlop_api::openapi::{v2, v3};

/// Group and version -> the kinds served there.
fn served() -> BTreeMap<String, Vec<&'static dyn Kind>> {
    let mut served: BTreeMap<String, Vec<&'static dyn Kind>> = BTreeMap::new();
    for kind in kinds::all() {
        for version in kind.info().versions.iter() {
            served.entry(kind.info().api_version(version)).or_default().push(*kind);
        }
    }
    served
}

/// Every kind in every version it serves.
fn everything() -> Vec<(&'static dyn Kind, &'static str)> {
    kinds::all().iter().flat_map(|kind| kind.info().versions.iter().map(|version| (*kind, &**version))).collect()
}

#[test]
fn every_reference_resolves() {
    for (group_version, kinds) in served() {
        let document = v3::document(&group_version, &kinds);
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let mut references = Vec::new();
        collect_references(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let name = reference.strip_prefix("#/components/schemas/").expect("a version 3 reference");
            assert!(schemas.contains_key(name), "{group_version}: {name}");
        }
    }
    let document = v2::document(&everything());
    let definitions = document["definitions"].as_object().expect("definitions");
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    for reference in references {
        let name = reference.strip_prefix("#/definitions/").expect("a version 2 reference");
        assert!(definitions.contains_key(name), "{name}");
    }
}

fn collect_references<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(reference) if key == "$ref" => references.push(reference),
                    _ => collect_references(value, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        _ => {}
    }
}

#[test]
fn operation_ids_are_unique() {
    let document = v2::document(&everything());
    let mut seen = BTreeMap::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for operation in item.as_object().expect("a path item").values() {
            let Some(id) = operation["operationId"].as_str() else { continue };
            assert_eq!(seen.insert(id, path), None, "{id}");
        }
    }
}

#[test]
fn kubectl_finds_what_it_looks_for() {
    let served = served();
    let document = v3::document("apps/v1", &served["apps/v1"]);
    let item = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    let patch = &item["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let has = |name: &str| patch["parameters"].as_array().expect("parameters").iter().any(|p| p["name"] == name);
    assert!(has("fieldValidation") && has("dryRun") && has("force"));
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"][0]["version"], "v1");
    assert!(containers["description"].as_str().is_some_and(|d| d.contains("containers belonging to the pod")));
}

/// Leaves out prose, CBOR, and the order of required fields.
fn essence(value: &Value) -> Value {
    match value {
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let mut items = items.clone();
            items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            Value::Array(items)
        }
        // A reference is wrapped only where something stands beside it.
        Value::Object(map) if map.get("allOf").is_some_and(|all| all[0]["$ref"].is_string()) => {
            let mut flat = map.clone();
            let reference = flat.remove("allOf").and_then(|all| all[0].as_object().cloned());
            flat.extend(reference.into_iter().flatten());
            essence(&Value::Object(flat))
        }
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| (*key != "description" || !value.is_string()) && !key.contains("cbor"))
            .map(|(key, value)| (key.clone(), essence(value)))
            .collect::<orlop_api::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(essence).collect(),
        other => other.clone(),
    }
}

fn differences(got: &Value, want: &Value, path: &str, found: &mut Vec<String>) {
    match (got, want) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                differences(&got[key], &want[key], &format!("{path}.{key}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{path}[{i}]"), found);
            }
        }
        _ if got == want => {}
        _ => found.push(format!("{path}: {got}, upstream {want}")),
    }
}

#[test]
fn documents_equal_upstreams() {
    let Some(folder) = std::env::var_os("ORLOP_OPENAPI").map(PathBuf::from) else { return };
    let mut found = Vec::new();
    for (group_version, kinds) in served() {
        let name = v3::path_of(&group_version).replace('/', "__");
        let upstream = std::fs::read(folder.join(format!("{name}_openapi.json"))).expect("upstream's document");
        let mut want: Value = essence(&serde_json::from_slice(&upstream).expect("JSON"));
        let mut got = essence(&v3::document(&group_version, &kinds));
        for document in [&mut got, &mut want] {
            document["info"].take();
            // Its kinds depend on which groups are served.
            for generic in ["DeleteOptions", "WatchEvent"] {
                let name = format!("io.k8s.apimachinery.pkg.apis.meta.v1.{generic}");
                if let Some(schema) = document["components"]["schemas"].get_mut(&name) {
                    schema["x-kubernetes-group-version-kind"].take();
                }
            }
        }
        differences(&got, &want, &group_version, &mut found);
    }
    let exempt = [
        // A list type on bytes, which are no list.
        "APIServiceSpec.properties.caBundle.x-kubernetes-list-type",
        // Deleting a namespace answers with the namespace, whatever upstream's document says.
        "/api/v1/namespaces/{name}.delete.responses",
    ];
    found.retain(|difference| !exempt.iter().any(|exempt| difference.contains(exempt)));
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}
