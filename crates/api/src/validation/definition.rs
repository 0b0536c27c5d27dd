//! CustomResourceDefinitions (`k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation`).

use serde_json::Value;

use super::definition_schema;
use super::prelude::*;
use crate::field::Error;
use crate::kinds::read::condition;
use crate::{names, object_meta};

const MAX_SELECTABLE_FIELDS: usize = 8;
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

pub(crate) fn definition(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, object_meta::subdomain_rule, errors);
    let wanted = format!("{}.{}", obj.text("spec.names.plural"), obj.text("spec.group"));
    if obj.has("metadata.name") && obj.text("metadata.name") != wanted {
        let why = r#"must be spec.names.plural+"."+spec.group"#;
        errors.invalid(&Path::new("metadata.name"), obj.text("metadata.name"), why);
    }
    spec(obj.at("spec"), errors);
    stored_versions(obj, errors);
    api_approval(obj, errors);
    preserve_unknown(obj, errors);
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    spec(obj.at("spec"), errors);
    let established = condition(old, "Established").is_some_and(|c| c["status"] == "True");
    let fixed =
        if established { &["scope", "names.kind", "group", "names.plural"][..] } else { &["group", "names.plural"] };
    let path = Path::new("spec");
    for field in fixed {
        let (new, old) = (obj.at("spec").at(field), old.at("spec").at(field));
        if new != old {
            errors.invalid(&path.child(field), new.clone(), IMMUTABLE);
        }
    }
    stored_versions(obj, errors);
    if !old.flag("spec.preserveUnknownFields") {
        preserve_unknown(obj, errors);
    }
}

pub(crate) fn status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    stored_versions(obj, errors);
}

/// Versions objects may stand in the store in must stay listed.
fn stored_versions(obj: &Value, errors: &mut ErrorList) {
    let path = Path::new("status.storedVersions");
    let stored = obj.list("status.storedVersions");
    if stored.is_empty() {
        return errors.invalid(&path, obj.at("status.storedVersions").clone(), "must have at least one stored version");
    }
    let versions = obj.list("spec.versions");
    let mut left = stored.to_vec();
    for version in versions {
        if let Some(at) = left.iter().position(|name| *name == version["name"]) {
            left.remove(at);
        } else if version.flag("storage") {
            let why = format!("must have the storage version {}", version.text("name"));
            errors.invalid(&path, stored.to_vec(), why);
        }
    }
    for (i, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *name) {
            let name = name.as_str().unwrap_or_default();
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until \
                 a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            );
            errors.invalid(&path.index(i), name, why);
        }
    }
}

/// Groups of Kubernetes' own community need its approval (KEP 1111).
fn api_approval(obj: &Value, errors: &mut ErrorList) {
    let group = obj.text("spec.group");
    let community = ["k8s.io", "kubernetes.io"];
    if !community.iter().any(|domain| group == *domain || group.ends_with(&format!(".{domain}"))) {
        return;
    }
    let annotation = "api-approved.kubernetes.io";
    let path = Path::new("metadata.annotations");
    let approval = obj["metadata"]["annotations"][annotation].as_str().unwrap_or_default();
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    match approval {
        "" => errors.required(
            &path.key(annotation),
            format!("protected groups must have approval annotation {annotation:?}, {see}"),
        ),
        text if text.starts_with("unapproved") || text.contains("://") => {}
        text => {
            let why = format!(
                "protected groups must have approval annotation {annotation:?} with either a URL or a reason \
                               starting with \"unapproved\", {see}"
            );
            errors.invalid(&path.key(annotation), text, why);
        }
    }
}

fn preserve_unknown(obj: &Value, errors: &mut ErrorList) {
    if obj.flag("spec.preserveUnknownFields") {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid(&Path::new("spec.preserveUnknownFields"), true, why);
    }
}

fn spec(spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    let group = spec.text("group");
    let broken = names::dns1123_subdomain(group);
    match group {
        "" => errors.required(&path.child("group"), ""),
        _ if !broken.is_empty() => errors.invalid(&path.child("group"), group, broken.join(",")),
        _ if !group.contains('.') => {
            errors.invalid(&path.child("group"), group, "should be a domain with at least one dot");
        }
        _ => {}
    }
    one_of(spec.text("scope"), &["Cluster", "Namespaced"], &path.child("scope"), errors);
    let versions = spec.list("versions");
    let mut without_schema = ErrorList::default();
    for i in (0..versions.len()).filter(|i| !versions[*i].has("schema.openAPIV3Schema")) {
        without_schema.required(&path.child("versions").index(i).child("schema.openAPIV3Schema"), "");
    }
    let has_defaults = |version: &Value| definition_schema::has_defaults(version.at("schema.openAPIV3Schema"));
    if spec.flag("preserveUnknownFields") && versions.iter().any(has_defaults) {
        let why = "must be false in order to use defaults in the schema";
        without_schema.invalid(&path.child("preserveUnknownFields"), true, why);
    }
    let before = errors.0.len();
    let settled = settled(versions);
    let alike = |field: &str| {
        settled.first().is_some_and(|first| settled.iter().all(|v| crate::equality::same_field(v, first, field)))
    };
    // What is selectable is then without its schema for upstream.
    let bare = alike("schema") && !alike("selectableFields");
    for (i, version) in versions.iter().enumerate() {
        let path = path.child("versions");
        let path = path.index(i);
        let broken = names::dns1035_label(version.text("name"));
        if !broken.is_empty() {
            errors.invalid(&path.child("name"), version.text("name"), broken.join(","));
        }
        self::version(version, bare, &path, errors);
    }
    let list = || spec.at("versions").clone();
    if (1..versions.len()).any(|i| versions[..i].iter().any(|v| v["name"] == versions[i]["name"])) {
        errors.invalid(&path.child("versions"), list(), "must contain unique version names");
    }
    if versions.iter().filter(|version| version.flag("storage")).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.invalid(&path.child("versions"), list(), why);
    }
    let first = versions.first().map_or("", |version| version.text("name"));
    let broken = names::dns1035_label(first);
    if !first.is_empty() && !broken.is_empty() {
        errors.invalid(&path.child("version"), first, broken.join(","));
    }
    self::names(spec.at("names"), &path.child("names"), errors);
    hoist(&settled, errors);
    errors.0.splice(before..before, without_schema.0);
    conversion(spec.at("conversion"), &path.child("conversion"), errors);
}

/// Versions for comparison: an empty list or map in a schema is none.
fn settled(versions: &[Value]) -> Vec<Value> {
    const TYPE: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionVersion";
    let ty = crate::schema::builtin().named(TYPE).expect("a type of CustomResourceDefinition");
    let mut versions = versions.to_vec();
    versions.iter_mut().for_each(|version| crate::codec::json::settle(version, ty.get(), false));
    versions
}

/// What all versions have alike, upstream's conversion takes out of them; errors about it are reported there.
fn hoist(versions: &[Value], errors: &mut ErrorList) {
    let Some(first) = versions.first() else { return };
    for (field, shown) in [
        ("schema", "validation"),
        ("subresources", "subresources"),
        ("additionalPrinterColumns", "additionalPrinterColumns"),
        ("selectableFields", "selectableFields"),
    ] {
        if !first.has(field) || versions.iter().any(|version| !crate::equality::same_field(version, first, field)) {
            continue;
        }
        let of = |i: usize| format!("spec.versions[{i}].{field}");
        let about = |error: &mut Error, i: usize| error.field.starts_with(&of(i));
        let hoisted: Vec<Error> = errors.0.extract_if(.., |error| about(error, 0)).collect();
        errors.0.retain_mut(|error| !(1..versions.len()).any(|i| about(error, i)));
        errors.0.extend(hoisted.into_iter().map(|error| {
            let field = format!("spec.{shown}{}", &error.field[of(0).len()..]);
            let detail = error.detail.replace(&of(0), &format!("spec.{shown}"));
            Error { field, detail, ..error }
        }));
    }
}

fn one_of(value: &str, accepted: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    if value.is_empty() {
        errors.required(path, "");
    } else if !accepted.contains(&value) {
        errors.not_supported(path, value, accepted);
    }
}

fn names(names: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let required = ["plural", "singular", "kind", "listKind"];
    for field in required.into_iter().filter(|field| names.text(field).is_empty()) {
        errors.required(&path.child(field), "");
    }
    for field in ["plural", "singular", "kind", "listKind"] {
        let text = names.text(field);
        let capital = field.contains("ind");
        let broken = names::dns1035_label(&if capital { text.to_lowercase() } else { text.to_owned() });
        if !text.is_empty() && !broken.is_empty() {
            let prefix = if capital { "may have mixed case, but should otherwise match: " } else { "" };
            errors.invalid(&path.child(field), text, format!("{prefix}{}", broken.join(",")));
        }
    }
    for (field, list) in [("shortNames", names.list("shortNames")), ("categories", names.list("categories"))] {
        let path = path.child(field);
        for (i, name) in list.iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            let broken = names::dns1035_label(name);
            if !broken.is_empty() {
                errors.invalid(&path.index(i), name, broken.join(","));
            }
        }
    }
    if !names.text("kind").is_empty() && names["kind"] == names["listKind"] {
        errors.invalid(&path.child("listKind"), names.text("listKind"), "kind and listKind may not be the same");
    }
}

fn version(version: &Value, bare: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let deprecation = path.child("deprecationWarning");
    if let Some(text) = version.at("deprecationWarning").as_str() {
        let mut refuse = |why: &str| errors.invalid(&deprecation, text, why);
        if !version.flag("deprecated") {
            refuse("can only be set for deprecated versions");
        } else if text.is_empty() {
            refuse("must not be an empty string");
        } else if text.len() > 256 {
            refuse("must be <= 256 characters long");
        }
    }
    if version.has("schema.openAPIV3Schema") {
        let status = version.has("subresources.status");
        let schema = version.at("schema.openAPIV3Schema");
        definition_schema::root(schema, status, &path.child("schema.openAPIV3Schema"), errors);
    }
    if version.has("subresources.scale") {
        scale(version.at("subresources.scale"), &path.child("subresources.scale"), errors);
    }
    let columns = path.child("additionalPrinterColumns");
    for (i, column) in version.list("additionalPrinterColumns").iter().enumerate() {
        self::column(column, &columns.index(i), errors);
    }
    selectable(version, bare, &path.child("selectableFields"), errors);
}

fn scale(scale: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (field, root, required) in [
        ("specReplicasPath", ".spec.", true),
        ("statusReplicasPath", ".status.", true),
        ("labelSelectorPath", "", false),
    ] {
        let (text, path) = (scale.text(field), path.child(field));
        if text.is_empty() {
            if required {
                errors.required(&path, "");
            }
            continue;
        }
        if !text.starts_with('.') {
            errors.invalid(&path, text, "must be a simple json path starting with .");
        } else if required && !text.starts_with(root) {
            errors.invalid(&path, text, format!("should be a json path under {}", root.trim_end_matches('.')));
        } else if !required && !text.starts_with(".spec.") && !text.starts_with(".status.") {
            errors.invalid(&path, text, "should be a json path under either .spec or .status");
        }
    }
}

fn column(column: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    if column.text("name").is_empty() {
        errors.required(&path.child("name"), "");
    }
    let quoted = |list: &[&str]| format!("must be one of {}", list.join(","));
    match column.text("type") {
        "" => errors.required(&path.child("type"), quoted(&TYPES)),
        ty if !TYPES.contains(&ty) => errors.invalid(&path.child("type"), ty, quoted(&TYPES)),
        _ => {}
    }
    let format = column.text("format");
    if !format.is_empty() && !FORMATS.contains(&format) {
        errors.invalid(&path.child("format"), format, quoted(&FORMATS));
    }
    match column.text("jsonPath") {
        "" => errors.required(&path.child("JSONPath"), ""),
        text if !text.starts_with('.') || crate::jsonpath::Template::parse(text).is_err() => {
            errors.invalid(&path.child("JSONPath"), text, "must be a simple json path starting with .");
        }
        _ => {}
    }
}

fn selectable(version: &Value, bare: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let fields = version.list("selectableFields");
    let schema = version.at("schema.openAPIV3Schema");
    if !fields.is_empty() && (bare || schema.is_null()) {
        return errors.invalid(path, "", "may only be set when `version.schema.openAPIV3Schema` is not included");
    }
    for (i, field) in fields.iter().enumerate() {
        let (at, text) = (path.index(i), field.text("jsonPath"));
        let path = at.child("jsonPath");
        if text.is_empty() {
            errors.required(&path, "");
            continue;
        }
        match at_path(schema, text) {
            Err(why) => errors.invalid(&path, text, format!("is an invalid path: {why}")),
            Ok(schema) => {
                if text.starts_with(".metadata") {
                    errors.invalid(&path, text, "must not point to fields in metadata");
                }
                if !matches!(schema.text("type"), "string" | "boolean" | "integer") {
                    let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                               formats are allowed.";
                    errors.invalid(&path, text, why);
                }
            }
        }
        if fields[..i].iter().any(|before| before["jsonPath"] == field["jsonPath"]) {
            errors.duplicate(&path, text);
        }
    }
    if fields.len() > MAX_SELECTABLE_FIELDS {
        errors.too_many(path, fields.len(), MAX_SELECTABLE_FIELDS);
    }
}

/// What a schema says of `.a.b`.
fn at_path<'a>(schema: &'a Value, text: &str) -> Result<&'a Value, String> {
    const NOWHERE: &str = "does not refer to a valid field";
    let (mut schema, mut rest) = (schema, text);
    while !rest.is_empty() {
        let end = |text: &str| text.find(['.', '[', ']']).unwrap_or(text.len()).max(1);
        if rest.starts_with('[') {
            return Err("array notation is not allowed".to_owned());
        }
        let Some(after) = rest.strip_prefix('.') else {
            let token = rest.get(..end(rest)).unwrap_or(rest);
            return Err(format!("expected [ or . but got: {token}"));
        };
        if after.is_empty() {
            return Err("unexpected end of JSON path".to_owned());
        }
        let (name, next) = after.split_at_checked(end(after)).ok_or(NOWHERE)?;
        schema = match schema["properties"].as_object() {
            Some(properties) => properties.get(name).ok_or(NOWHERE)?,
            None => Some(&schema["additionalProperties"]).filter(|values| values.is_object()).ok_or(NOWHERE)?,
        };
        rest = next;
    }
    Ok(schema)
}

/// Formats without a meaning, which an update brings in.
pub(crate) fn warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let formats = |obj: &Value| {
        let mut found = Vec::new();
        for version in obj.list("spec.versions") {
            definition_schema::unknown_formats(version.at("schema.openAPIV3Schema"), &mut found);
        }
        found
    };
    let known = old.map(formats).unwrap_or_default();
    let new = formats(obj).into_iter().filter(|format| !known.contains(format));
    new.map(|format| format!("unrecognized format {}", crate::quote::quote(&format))).collect()
}

fn conversion(conversion: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    one_of(conversion.text("strategy"), &["None", "Webhook"], &path.child("strategy"), errors);
    let (client, versions) =
        (conversion.at("webhook.clientConfig"), conversion.list("webhook.conversionReviewVersions"));
    if conversion.text("strategy") != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if !client.is_null() {
            errors.forbidden(&path.child("webhookClientConfig"), why);
        }
        if !versions.is_empty() {
            errors.forbidden(&path.child("conversionReviewVersions"), why);
        }
        return;
    }
    let client_path = path.child("webhookClientConfig");
    if client.is_null() {
        errors.required(&client_path, "required when strategy is set to Webhook");
    } else if client.has("url") == client.has("service") {
        errors.required(&client_path, "exactly one of url or service is required");
    } else if client.has("url") {
        super::webhooks::url(client.text("url"), &client_path.child("url"), errors);
    } else {
        super::webhooks::service(client.at("service"), &client_path.child("service"), errors);
    }
    let path = path.child("conversionReviewVersions");
    super::webhooks::review_versions(versions, &REVIEW_VERSIONS, &path, errors);
}
