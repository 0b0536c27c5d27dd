//! Schemas of custom resources: what their definition wrote, made whole and fit for each version of OpenAPI
//! (`k8s.io/apiextensions-apiserver/pkg/controller/openapi`).

use serde_json::{Map, Value, json};

use super::descriptions::{API_VERSION, KIND};
use super::names::{list_schema_name, schema_name};
use super::schemas::{Flavor, Schemas};
use crate::kind::Kind;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// Takes in a custom resource and its list; built-in kinds are found by their tables.
pub fn add(schemas: &mut Schemas<'_>, kind: &dyn Kind, version: &str) {
    let Some(written) = kind.published_schema(version) else { return };
    let flavor = schemas.flavor();
    schemas
        .add_ready(&schema_name(kind, version), with_kind(publish(written, flavor), kind, version, &kind.info().kind));
    schemas.add_ready(&list_schema_name(kind, version), list(kind, version, flavor));
    schemas.add(OBJECT_META);
    schemas.add(LIST_META);
}

fn publish(mut schema: Value, flavor: Flavor) -> Value {
    if !schema.is_object() {
        return json!({ "type": "object" });
    }
    if flavor == Flavor::V2 {
        if preserves_unknown(&schema) {
            // Properties without `additionalProperties` would make clients refuse all others.
            return json!({ "type": "object" });
        }
        simplify(&mut schema);
    }
    complete_embedded(&mut schema, flavor);
    add_meta(&mut schema, flavor);
    schema
}

fn list(kind: &dyn Kind, version: &str, flavor: Flavor) -> Value {
    let info = kind.info();
    let schema = json!({
        "description": format!("{} is a list of {}", info.list_kind, info.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": described_reference(LIST_META, flavor),
            "items": { "type": "array", "items": flavor.reference(&schema_name(kind, version)) },
        },
    });
    with_kind(schema, kind, version, &info.list_kind)
}

fn with_kind(mut schema: Value, kind: &dyn Kind, version: &str, name: &str) -> Value {
    let group = &kind.info().group;
    schema["x-kubernetes-group-version-kind"] = json!([{ "group": group, "version": version, "kind": name }]);
    schema
}

/// What every object has, which definitions need not write.
fn add_meta(schema: &mut Value, flavor: Flavor) {
    let properties = &mut schema["properties"];
    if !properties.is_object() {
        *properties = json!({});
    }
    properties["apiVersion"] = json!({ "type": "string", "description": API_VERSION });
    properties["kind"] = json!({ "type": "string", "description": KIND });
    properties["metadata"] = described_reference(OBJECT_META, flavor);
}

fn described_reference(name: &str, flavor: Flavor) -> Value {
    // Upstream's conformance suite looks for the first three words.
    let description = "Standard object's metadata: what every object or list has, such as names, labels, versions.";
    match flavor {
        Flavor::V2 => {
            let mut reference = flavor.reference(name);
            reference["description"] = description.into();
            reference
        }
        Flavor::V3 => json!({ "allOf": [flavor.reference(name)], "description": description }),
    }
}

/// Objects within objects (`x-kubernetes-embedded-resource`) get their metadata too.
fn complete_embedded(schema: &mut Value, flavor: Flavor) {
    for_each_child(schema, &mut |child| complete_embedded(child, flavor));
    let embedded = schema["x-kubernetes-embedded-resource"] == true;
    if !embedded || (flavor == Flavor::V2 && preserves_unknown(schema)) {
        return;
    }
    add_meta(schema, flavor);
    let required = &mut schema["required"];
    if !required.is_array() {
        *required = json!([]);
    }
    let Value::Array(required) = required else { return };
    for name in ["kind", "apiVersion"] {
        if !required.iter().any(|r| r == name) {
            required.push(name.into());
        }
    }
}

/// Leaves out what version 2, or the clients that read it, cannot take.
fn simplify(schema: &mut Value) {
    let nullable_fields: Vec<String> = children(schema, "properties")
        .filter(|(_, field)| field["nullable"] == true)
        .map(|(name, _)| name.clone())
        .collect();
    let nullable_entries = schema["additionalProperties"]["nullable"] == true;
    for_each_child(schema, &mut simplify);
    let Value::Object(schema) = schema else { return };
    for keyword in ["allOf", "oneOf", "anyOf", "not"] {
        schema.remove(keyword);
    }
    let nullable = schema.remove("nullable").is_some_and(|n| n == true);
    let preserves = schema.get("x-kubernetes-preserve-unknown-fields").is_some_and(|p| p == true);
    if nullable || preserves {
        schema.remove("items");
        schema.remove("properties");
    }
    let ty = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let itemless = ty == "array" && !schema.contains_key("items");
    if nullable || itemless || (preserves && ty == "object") {
        schema.remove("type");
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| !nullable_entries && !nullable_fields.iter().any(|n| name == n));
        if required.is_empty() {
            schema.remove("required");
        }
    }
}

fn preserves_unknown(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

fn children<'a>(schema: &'a Value, keyword: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema[keyword].as_object().into_iter().flat_map(Map::iter)
}

fn for_each_child(schema: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    let Value::Object(schema) = schema else { return };
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(&mut *visit);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(child @ Value::Object(_)) = schema.get_mut(keyword) {
            visit(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flavor, publish};
    use serde_json::json;

    #[test]
    fn completes_what_definitions_leave_out() {
        let written = json!({
            "type": "object",
            "required": ["spec"],
            "properties": {
                "spec": { "type": "object", "nullable": true, "properties": { "a": { "anyOf": [{}], "type": "string" } } },
                "inner": { "type": "object", "x-kubernetes-embedded-resource": true },
                "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "x": {} } },
            },
        });
        let v3 = publish(written.clone(), Flavor::V3);
        assert_eq!(v3["properties"]["spec"], written["properties"]["spec"]);
        assert_eq!(
            v3["properties"]["metadata"]["allOf"][0]["$ref"],
            "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
        );
        let words = v3["properties"]["apiVersion"]["description"].as_str().unwrap();
        assert!(words.starts_with("APIVersion defines"), "{words}");
        let words = v3["properties"]["metadata"]["description"].as_str().unwrap();
        assert!(words.starts_with("Standard object's metadata"), "{words}");
        assert_eq!(v3["properties"]["inner"]["required"], json!(["kind", "apiVersion"]));

        let v2 = publish(written, Flavor::V2);
        assert_eq!(
            v2["properties"]["metadata"]["$ref"],
            "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
        );
        assert_eq!(v2["properties"]["spec"], json!({}));
        assert_eq!(v2["properties"]["free"], json!({ "x-kubernetes-preserve-unknown-fields": true }));
        assert_eq!(v2.get("required"), None);
        let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "a": {} } });
        assert_eq!(publish(open, Flavor::V2), json!({ "type": "object" }));
    }
}
