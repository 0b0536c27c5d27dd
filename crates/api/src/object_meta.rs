//! Checks of `metadata` that hold for every kind
//! (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::names;

/// All annotations of an object together, keys and values, in bytes.
pub const TOTAL_ANNOTATION_SIZE_LIMIT: usize = 256 * 1024;
const FIELD_MANAGER_MAX_LENGTH: usize = 128;
const SUBRESOURCE_NAME_MAX_LENGTH: usize = 256;

/// A rule for names; `prefix` is true for `generateName`.
pub type NameRule = fn(name: &str, prefix: bool) -> Vec<String>;

/// The weakest rule: fits in a path. Kinds without a rule of their own get it.
pub fn path_segment_rule(name: &str, prefix: bool) -> Vec<String> {
    if prefix { names::path_segment_prefix(name) } else { names::path_segment(name) }
}

/// `example.com`; a prefix may end in a dash.
pub fn subdomain_rule(name: &str, prefix: bool) -> Vec<String> {
    masked(name, prefix, names::dns1123_subdomain)
}

/// `my-name`; a prefix may end in a dash.
pub fn label_rule(name: &str, prefix: bool) -> Vec<String> {
    masked(name, prefix, names::dns1123_label)
}

/// `my-name`, not starting with a digit; a prefix may end in a dash.
pub fn dns1035_rule(name: &str, prefix: bool) -> Vec<String> {
    masked(name, prefix, names::dns1035_label)
}

/// What follows a trailing dash of a prefix is generated and fits; upstream also overlooks what stands before it.
fn masked(name: &str, prefix: bool, rule: fn(&str) -> Vec<String>) -> Vec<String> {
    match name.strip_suffix('-').and_then(|head| head.char_indices().next_back().map(|(at, _)| &head[..at])) {
        Some(head) if prefix => rule(&format!("{head}a")),
        _ => rule(name),
    }
}

/// A new object's metadata, with the name already generated.
pub fn validate(object: &Value, namespaced: bool, rule: NameRule) -> ErrorList {
    let path = Path::new("metadata");
    let metadata = &object["metadata"];
    let mut errors = ErrorList::default();
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let prefix = text("generateName");
    if !prefix.is_empty() {
        rule(prefix, true).into_iter().for_each(|e| errors.invalid(&path.child("generateName"), prefix, e));
    }
    if text("name").is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    } else {
        rule(text("name"), false).into_iter().for_each(|e| errors.invalid(&path.child("name"), text("name"), e));
    }
    let (namespace, namespace_path) = (text("namespace"), path.child("namespace"));
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.required(&namespace_path, ""),
        (true, false) => {
            label_rule(namespace, false).into_iter().for_each(|e| errors.invalid(&namespace_path, namespace, e));
        }
        (false, false) => errors.forbidden(&namespace_path, "not allowed on this type"),
        (false, true) => {}
    }
    check_common(metadata, &path, &mut errors);
    check_finalizers(metadata, &path.child("finalizers"), &mut errors);
    errors
}

/// Changed metadata against what is stored.
pub fn validate_update(object: &Value, old: &Value) -> ErrorList {
    let path = Path::new("metadata");
    let (new, old) = (&object["metadata"], &old["metadata"]);
    let mut errors = ErrorList::default();
    if old["deletionTimestamp"].is_string() {
        check_no_new_finalizers(new, old, &path.child("finalizers"), &mut errors);
    }
    if new["resourceVersion"].as_str().unwrap_or_default().is_empty() {
        errors.invalid(&path.child("resourceVersion"), "", "must be specified for an update");
    }
    let generation = |metadata: &Value| metadata["generation"].as_i64().unwrap_or(0);
    if generation(new) < generation(old) {
        errors.invalid(&path.child("generation"), generation(new), "must not be decremented");
    }
    let immutable =
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
    for field in immutable {
        if new[field] != old[field] && !(is_empty(&new[field]) && is_empty(&old[field])) {
            errors.invalid(&path.child(field), new[field].clone(), "field is immutable");
        }
    }
    check_common(new, &path, &mut errors);
    errors
}

/// Metadata as upstream's errors show it: what is set, in the order of Go's fields.
pub fn go_json(metadata: &Value) -> String {
    const FIELDS: [&str; 15] = [
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ];
    const OWNER: [&str; 6] = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    const ENTRY: [&str; 7] = ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"];
    in_order(metadata, &FIELDS, &|field, value| match field {
        "ownerReferences" => each_in_order(value, &OWNER),
        "managedFields" => each_in_order(value, &ENTRY),
        _ => value.to_string(),
    })
}

fn each_in_order(list: &Value, fields: &[&str]) -> String {
    let items = list.as_array().into_iter().flatten().map(|item| in_order(item, fields, &|_, value| value.to_string()));
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn in_order(object: &Value, fields: &[&str], write: &dyn Fn(&str, &Value) -> String) -> String {
    let set = fields.iter().filter_map(|field| Some((field, object.get(field).filter(|value| !value.is_null())?)));
    let parts: Vec<String> = set.map(|(field, value)| format!("\"{field}\":{}", write(field, value))).collect();
    format!("{{{}}}", parts.join(","))
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value == ""
}

fn check_common(metadata: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if metadata["generation"].as_i64().is_some_and(|n| n < 0) {
        errors.invalid(&path.child("generation"), metadata["generation"].clone(), "must be greater than or equal to 0");
    }
    check_labels(&metadata["labels"], &path.child("labels"), errors);
    check_annotations(&metadata["annotations"], &path.child("annotations"), errors);
    check_owner_references(&metadata["ownerReferences"], &path.child("ownerReferences"), errors);
    check_managed_fields(&metadata["managedFields"], &path.child("managedFields"), errors);
}

/// A map of labels anywhere in an object.
pub fn check_labels(labels: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        names::qualified_name(key).into_iter().for_each(|e| errors.invalid(path, key.as_str(), e));
        let value = value.as_str().unwrap_or_default();
        names::label_value(value).into_iter().for_each(|e| errors.invalid(path, value, e));
    }
}

/// `www.example.com`, with or without the last dot (`IsFullyQualifiedDomainName` of
/// `k8s.io/apimachinery/pkg/util/validation`).
pub fn check_domain_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let problems = names::dns1123_subdomain(name);
    if !problems.is_empty() {
        return errors.invalid(path, name, problems.join(","));
    }
    if !name.contains('.') {
        return errors.invalid(path, name, "should be a domain with at least two segments separated by dots");
    }
    let bad = name.split('.').map(|label| (label, names::dns1123_label(label))).find(|(_, why)| !why.is_empty());
    if let Some((label, why)) = bad {
        errors.invalid(path, label, why.join(","));
    }
}

/// A map of annotations anywhere in an object.
pub fn check_annotations(annotations: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        // The rule is the labels', except that case does not matter in the prefix.
        let lower: std::borrow::Cow<'_, str> =
            if key.bytes().all(|b| !b.is_ascii_uppercase()) { key.into() } else { key.to_lowercase().into() };
        names::qualified_name(&lower).into_iter().for_each(|e| errors.invalid(path, key.as_str(), e));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > TOTAL_ANNOTATION_SIZE_LIMIT {
        errors.too_long(path, TOTAL_ANNOTATION_SIZE_LIMIT);
    }
}

fn check_owner_references(references: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut controller: Option<String> = None;
    for (i, reference) in references.as_array().into_iter().flatten().enumerate() {
        check_owner_reference(reference, &path.index(i), errors);
        if reference["controller"] != true {
            continue;
        }
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let this = format!("{}/{}", text("kind"), text("name"));
        match &controller {
            Some(first) => {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                errors.invalid(path, references.clone(), detail);
            }
            None => controller = Some(this),
        }
    }
}

fn check_owner_reference(reference: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let api_version = text("apiVersion");
    if api_version.is_empty() {
        errors.required(&path.child("apiVersion"), "must not be empty");
    } else if api_version.matches('/').count() > 1 || api_version.ends_with('/') {
        errors.invalid(&path.child("apiVersion"), api_version, "must be <group>/<version> or <version>");
    }
    for field in ["kind", "name", "uid"] {
        if text(field).is_empty() {
            errors.required(&path.child(field), "must not be empty");
        }
    }
    if api_version == "v1" && text("kind") == "Event" {
        errors.invalid(path, reference.clone(), "/v1, Kind=Event is disallowed from being an owner");
    }
}

fn finalizers(metadata: &Value) -> impl Iterator<Item = &str> {
    metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn check_finalizers(metadata: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for finalizer in finalizers(metadata) {
        names::qualified_name(finalizer).into_iter().for_each(|e| errors.invalid(path, finalizer, e));
    }
    let has = |name: &str| finalizers(metadata).any(|f| f == name);
    if has("orphan") && has("foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid(path, metadata["finalizers"].clone(), detail);
    }
}

fn check_no_new_finalizers(new: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut added: Vec<&str> = finalizers(new).filter(|f| !finalizers(old).any(|o| o == *f)).collect();
    if added.is_empty() {
        return;
    }
    added.sort_unstable();
    added.dedup();
    // Go's %#v of a string slice.
    let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        list.join(", ")
    );
    errors.forbidden(path, detail);
}

fn check_managed_fields(entries: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (i, entry) in entries.as_array().into_iter().flatten().enumerate() {
        let path = path.index(i);
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        match text("operation") {
            "" => errors.required(&path.child("operation"), "must not be empty"),
            "Apply" | "Update" => {}
            other => errors.not_supported(&path.child("operation"), other, &["Apply", "Update"]),
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            errors.invalid(&path.child("fieldsType"), text("fieldsType"), "must be `FieldsV1`");
        }
        if text("manager").len() > FIELD_MANAGER_MAX_LENGTH {
            errors.too_long(&path.child("manager"), FIELD_MANAGER_MAX_LENGTH);
        }
        if text("subresource").len() > SUBRESOURCE_NAME_MAX_LENGTH {
            errors.too_long(&path.child("subresource"), SUBRESOURCE_NAME_MAX_LENGTH);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn creation() {
        let cases = [
            (json!({"name": "a", "namespace": "b"}), ""),
            (json!({"namespace": "b"}), "metadata.name: Required value: name or generateName is required"),
            (json!({"name": "a"}), "metadata.namespace: Required value"),
            (json!({"name": "a/b", "namespace": "b"}), "metadata.name: Invalid value: \"a/b\": may not contain '/'"),
            (
                json!({"name": "a", "namespace": "b", "finalizers": ["orphan", "foregroundDeletion"]}),
                "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and \
                 foregroundDeletion cannot be both set",
            ),
            (
                json!({"name": "a", "namespace": "b", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]}),
                "metadata.ownerReferences[0].uid: Required value: must not be empty",
            ),
        ];
        for (metadata, want) in cases {
            let errors = validate(&json!({"metadata": metadata}), true, path_segment_rule);
            let got = if errors.is_empty() { String::new() } else { errors.aggregate() };
            assert_eq!(got, want);
        }
    }

    #[test]
    fn updates() {
        let old = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "generation": 2,
            "creationTimestamp": "t", "deletionTimestamp": "t", "finalizers": ["x/y"]}});
        let mut new = old.clone();
        assert!(validate_update(&new, &old).is_empty());
        new["metadata"]["uid"] = "v".into();
        new["metadata"]["finalizers"] = json!(["x/y", "x/z"]);
        new["metadata"]["resourceVersion"] = "".into();
        assert_eq!(
            validate_update(&new, &old).aggregate(),
            "[metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
             finalizers []string{\"x/z\"}, metadata.resourceVersion: Invalid value: \"\": must be specified for an \
             update, metadata.uid: Invalid value: \"v\": field is immutable]"
        );
    }

    #[test]
    fn prefixes_may_end_in_a_dash() {
        assert!(label_rule("abc-", true).is_empty());
        assert!(!label_rule("abc-", false).is_empty());
        assert!(!subdomain_rule("-", true).is_empty());
    }
}
