//! Whether a definition's schema is structural, and what else must hold of it
//! (`apiextensions-apiserver/pkg/apiserver/schema/validation.go`, `pkg/apis/apiextensions/validation`).

use serde_json::{Value, json};

use super::prelude::*;
use crate::structural::{Schema, formats, prune, validate};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// A version's whole schema. Rules in CEL are checked by whoever can read CEL.
pub(crate) fn root(schema: &Value, status: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let before = errors.0.len();
    if status {
        root_with_status(schema, path, errors);
    }
    if schema.flag("nullable") {
        errors.forbidden(&path.child("nullable"), "nullable cannot be true at the root");
    }
    let mut found = ErrorList::default();
    structural(schema, Level::Root, path, &mut found);
    found.0.sort_by_key(ToString::to_string);
    let complete = found.is_empty();
    errors.extend(found);
    if complete && let Ok(parsed) = Schema::read(schema) {
        defaults(&parsed, true, path, errors);
    }
    extensions(schema, path, errors);
    if errors.0.len() == before && names_dialect(schema) {
        errors.invalid(path, "", "OpenAPIV3Schema 'schema' is not supported");
    }
}

/// What the root may say where the status is taken out of it: else some of that would be lost.
fn root_with_status(schema: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    // In the order of upstream's fields; of these the first counts, as does another type than an object.
    const BEFORE_TYPE: [&str; 3] = ["id", "$schema", "$ref"];
    const REFUSED: [&str; 19] = [
        "nullable",
        "default",
        "enum",
        "maxProperties",
        "minProperties",
        "allOf",
        "oneOf",
        "anyOf",
        "not",
        "additionalProperties",
        "patternProperties",
        "dependencies",
        "additionalItems",
        "definitions",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
    ];
    // Go's pointers: an empty text is there.
    const POINTERS: [&str; 3] = ["$ref", "x-kubernetes-list-type", "x-kubernetes-map-type"];
    let says = |field: &&&str| match &schema[**field] {
        Value::Null | Value::Bool(false) => **field == "additionalProperties" && schema[**field] == false,
        Value::String(text) => !text.is_empty() || POINTERS.contains(field),
        _ => true,
    };
    let is_other = schema.has("type") && schema.text("type") != "object";
    if BEFORE_TYPE.iter().any(|field| says(&field)) || !is_other && REFUSED.iter().any(|field| says(&field)) {
        let why = "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength \
                   Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example \
                   XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status \
                   subresource is enabled";
        errors.invalid(path, Value::Null, why);
    } else if is_other {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.invalid(&path.child("type"), schema.text("type"), why);
    }
}

/// Whether a `$schema` stands anywhere.
fn names_dialect(schema: &Value) -> bool {
    !schema.text("$schema").is_empty() || parts(schema).chain(combined(schema)).any(names_dialect)
}

/// The schemas of items, properties and other values.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let single = ["items", "additionalProperties"].into_iter().map(|field| &schema[field]);
    single.filter(|part| part.is_object()).chain(members(schema, "properties").map(|(_, property)| property))
}

/// The schemas that say more of the same value.
fn combined(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|combination| schema.list(combination));
    lists.chain([schema.at("not")]).filter(|part| part.is_object())
}

/// Whether anything in a schema has a default.
pub(super) fn has_defaults(schema: &Value) -> bool {
    schema.has("default") || parts(schema).chain(combined(schema)).any(has_defaults)
}

/// Formats that nothing checks.
pub(super) fn unknown_formats(schema: &Value, found: &mut Vec<String>) {
    let format = schema.text("format");
    let known = match schema.text("type") {
        _ if format.is_empty() => true,
        "" | "string" => formats::is_known(format),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    };
    if !known {
        found.push(format.to_owned());
    }
    parts(schema).chain(combined(schema)).for_each(|part| unknown_formats(part, found));
}

/// What a combination speaks of, the schema itself must have.
fn complete(schema: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for combination in ["allOf", "anyOf", "oneOf"] {
        let at = path.child(combination);
        for (i, nested) in schema.list(combination).iter().enumerate() {
            covered(nested, &at.index(i), schema, path, errors);
        }
    }
    if schema.at("not").is_object() {
        covered(schema.at("not"), &path.child("not"), schema, path, errors);
    }
}

fn covered(nested: &Value, nested_path: &Path<'_>, schema: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let missing = |there: &Path<'_>| format!("because it is defined in {there}");
    if nested.at("items").is_object() {
        let (there, here) = (nested_path.child("items"), path.child("items"));
        if schema.at("items").is_object() {
            covered(nested.at("items"), &there, schema.at("items"), &here, errors);
        } else {
            errors.required(&here, missing(&there));
        }
    }
    let (there, here) = (nested_path.child("properties"), path.child("properties"));
    for (name, property) in members(nested, "properties") {
        let (there, here) = (there.key(name), here.key(name));
        match schema["properties"].get(name) {
            Some(own) => covered(property, &there, own, &here, errors),
            None => errors.required(&here, missing(&there)),
        }
    }
    for combination in ["allOf", "anyOf", "oneOf"] {
        let at = nested_path.child(combination);
        for (i, deeper) in nested.list(combination).iter().enumerate() {
            covered(deeper, &at.index(i), schema, path, errors);
        }
    }
    if nested.at("not").is_object() {
        covered(nested.at("not"), &nested_path.child("not"), schema, path, errors);
    }
}

fn members<'a>(schema: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema[field].as_object().into_iter().flatten()
}

fn structural(schema: &Value, level: Level, path: &Path<'_>, errors: &mut ErrorList) {
    let ty = schema.text("type");
    if ty == "array" && !schema.at("items").is_object() {
        errors.required(&path.child("items"), "must be specified");
    }
    if schema.at("items").is_object() {
        structural(schema.at("items"), Level::Item, &path.child("items"), errors);
    }
    for (name, property) in members(schema, "properties") {
        structural(property, Level::Field, &path.child("properties").key(name), errors);
    }
    if schema.has("additionalProperties") {
        let path = path.child("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&path, "must not be used at the root");
        }
        if schema.at("additionalProperties").is_object() {
            structural(schema.at("additionalProperties"), Level::Field, &path, errors);
        }
    }
    let flag = |name: &str| schema[name] == true;
    let (int_or_string, preserve) = (flag("x-kubernetes-int-or-string"), flag("x-kubernetes-preserve-unknown-fields"));
    let embedded = flag("x-kubernetes-embedded-resource");
    if int_or_string && preserve {
        let why = "must be false if x-kubernetes-int-or-string is true";
        errors.invalid(&path.child("x-kubernetes-preserve-unknown-fields"), true, why);
    }
    if int_or_string && embedded {
        let why = "must be false if x-kubernetes-int-or-string is true";
        errors.invalid(&path.child("x-kubernetes-embedded-resource"), true, why);
    }
    value_rules(schema, path, errors);
    // Upstream asks it of the root, and of what its combinations speak of.
    if matches!(level, Level::Root) {
        complete(schema, path, errors);
    }
    let ty_path = path.child("type");
    if embedded && ty != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        if ty.is_empty() { errors.required(&ty_path, why) } else { errors.invalid(&ty_path, ty, why) }
    } else if ty.is_empty() && !int_or_string && !preserve {
        errors.required(
            &ty_path,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        );
    }
    if embedded && schema.has("additionalProperties") {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.forbidden(&path.child("additionalProperties"), why);
    }
    if level == Level::Root && !ty.is_empty() && ty != "object" {
        errors.invalid(&ty_path, ty, "must be object at the root");
    }
    if level == Level::Root || embedded {
        own_metadata(schema, level, path, errors);
    }
    if embedded && !preserve && members(schema, "properties").next().is_none() {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.required(&path.child("properties"), why);
    }
}

/// `apiVersion`, `kind` and `metadata` are as they are everywhere.
fn own_metadata(schema: &Value, level: Level, path: &Path<'_>, errors: &mut ErrorList) {
    let properties = path.child("properties");
    for (name, ty, why) in [
        ("kind", "string", "must be string"),
        ("apiVersion", "string", "must be string"),
        ("metadata", "object", "must be object"),
    ] {
        let Some(property) = schema["properties"].get(name) else { continue };
        if property.text("type") != ty {
            errors.invalid(&properties.key(name).child("type"), property.text("type"), why);
        }
    }
    let Some(metadata) = schema["properties"].get("metadata").filter(|_| level == Level::Root) else { return };
    let mut rest = metadata.clone();
    let mut inner = metadata["properties"].as_object().cloned().unwrap_or_default();
    inner.retain(|name, _| name != "name" && name != "generateName");
    if let Value::Object(fields) = &mut rest {
        for known in ["type", "default", "description"] {
            fields.remove(known);
        }
        if inner.is_empty() {
            fields.remove("properties");
        }
    }
    if rest != json!({}) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.forbidden(&properties.key("metadata"), why);
    }
}

/// Patterns compile; schemas in combinations say nothing of what the schema itself must.
fn value_rules(schema: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(pattern) = schema.at("pattern").as_str()
        && let Err(error) = regex::Regex::new(pattern)
    {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        errors.invalid(&path.child("pattern"), pattern, why);
    }
    let int_or_string = json!([{"type": "integer"}, {"type": "string"}]);
    for combination in ["anyOf", "allOf", "oneOf"] {
        let list = schema.list(combination);
        // The one exception: how others write int-or-string.
        if combination == "anyOf" && schema.at("anyOf") == &int_or_string {
            continue;
        }
        let path = path.child(combination);
        for (i, nested) in list.iter().enumerate() {
            if combination == "allOf" && i == 0 && nested.at("anyOf") == &int_or_string {
                continue;
            }
            self::nested(nested, &path.index(i), errors);
        }
    }
    if schema.at("not").is_object() {
        nested(schema.at("not"), &path.child("not"), errors);
    }
}

fn nested(schema: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    value_rules(schema, path, errors);
    if schema.at("items").is_object() {
        nested(schema.at("items"), &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, property) in members(schema, "properties") {
        nested(property, &properties.key(name), errors);
        if name == "metadata" {
            errors.forbidden(&properties.key(name), "must not be specified in a nested context");
        }
    }
    const FORBIDDEN: [(&str, &str); 13] = [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
        ("x-kubernetes-embedded-resource", "must be false to be structural"),
        ("x-kubernetes-int-or-string", "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ];
    for (field, why) in FORBIDDEN {
        if schema
            .get(field)
            .is_some_and(|value| !value.is_null() && value != false && value != "" && *value != json!([]))
        {
            errors.forbidden(&path.child(field), why);
        }
    }
}

/// Defaults are pruned and valid themselves. `root`: of a whole resource, which says what it is.
fn defaults(schema: &Schema, root: bool, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(default) = &schema.default {
        let path = path.child("default");
        let lacks = |field: &&str| root && default.is_object() && default.text(field).is_empty();
        for field in ["apiVersion", "kind"].into_iter().filter(lacks) {
            errors.required(&path.child(field), "");
        }
        let mut pruned = json!({ "x": default.clone() });
        let around = Schema { properties: [("x".to_owned(), schema.clone())].into(), ..Schema::default() };
        prune::stored(&mut pruned, &around);
        if pruned["x"] != *default {
            errors.invalid(&path, default.clone(), "must not have unknown fields");
        } else {
            let mut found = validate::default(&pruned["x"], schema);
            for error in &mut found.0 {
                let field = if error.field == "<nil>" { String::new() } else { format!(".{}", error.field) };
                error.field = format!("{path}{field}");
            }
            errors.extend(found);
        }
    }
    for (name, property) in &schema.properties {
        defaults(property, false, &path.child("properties").key(name), errors);
    }
    if let Some(items) = &schema.items {
        defaults(items, false, &path.child("items"), errors);
    }
    if let Some(crate::structural::Additional::Schema(values)) = &schema.additional_properties {
        defaults(values, false, &path.child("additionalProperties"), errors);
    }
}

/// Rules about single keywords, everywhere in the schema.
fn extensions(schema: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    keywords(schema, path, errors);
    if schema.has("additionalProperties")
        && members(schema, "properties").next().is_some()
        && schema["additionalProperties"] != true
    {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.forbidden(&path.child("additionalProperties"), why);
    }
    for field in ["items", "additionalProperties", "not"] {
        if schema.at(field).is_object() {
            extensions(schema.at(field), &path.child(field), errors);
        }
    }
    let properties = path.child("properties");
    for (name, property) in members(schema, "properties") {
        extensions(property, &properties.key(name), errors);
    }
    for combination in ["allOf", "oneOf", "anyOf"] {
        let path = path.child(combination);
        schema.list(combination).iter().enumerate().for_each(|(i, nested)| extensions(nested, &path.index(i), errors));
    }
}

fn keywords(schema: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    let ty = schema.text("type");
    if !ty.is_empty() && !TYPES.contains(&ty) {
        errors.not_supported(&path.child("type"), ty, &TYPES);
    }
    for (field, why) in [
        ("definitions", "definitions is not supported"),
        ("dependencies", "dependencies is not supported"),
        ("id", "id is not supported"),
        ("additionalItems", "additionalItems is not supported"),
        ("patternProperties", "patternProperties is not supported"),
        ("$ref", "$ref is not supported"),
    ] {
        let is_nothing = match &schema[field] {
            Value::Null => true,
            Value::String(text) => text.is_empty() && field == "id",
            Value::Object(entries) => entries.is_empty() && matches!(field, "definitions" | "patternProperties"),
            _ => false,
        };
        if !is_nothing {
            errors.forbidden(&path.child(field), why);
        }
    }
    if schema["items"].as_array().is_some_and(|list| !list.is_empty()) {
        errors.forbidden(&path.child("items"), "items must be a schema object and not an array");
    }
    let rules = path.child("x-kubernetes-validations");
    for (i, rule) in schema.list("x-kubernetes-validations").iter().enumerate() {
        if rule.text("rule").trim().is_empty() {
            errors.required(&rules.index(i).child("rule"), "rule is not specified");
        }
    }
    if schema.flag("uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(&path.child("uniqueItems"), why);
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        errors.invalid(&path.child("x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined");
    }
    for (keyword, wanted, accepted) in [
        ("x-kubernetes-map-type", "object", &["atomic", "granular"][..]),
        ("x-kubernetes-list-type", "array", &["atomic", "set", "map"]),
    ] {
        let Some(value) = schema.get(keyword).and_then(Value::as_str) else { continue };
        if ty != wanted {
            let why = format!("must be {wanted} if {keyword} is specified");
            let path = path.child("type");
            if ty.is_empty() { errors.required(&path, why) } else { errors.invalid(&path, ty, why) }
        }
        if !accepted.contains(&value) {
            errors.not_supported(&path.child(keyword), value, accepted);
        }
    }
    lists(schema, path, errors);
}

fn lists(schema: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let keys = schema["x-kubernetes-list-map-keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let list_type = schema["x-kubernetes-list-type"].as_str();
    let items = schema.at("items");
    if list_type == Some("set") {
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let path = path.child("items");
        match items.text("type") {
            "array" if items.get("x-kubernetes-list-type").is_some_and(|ty| ty != "atomic") => {
                errors.invalid(&path.child("x-kubernetes-list-type"), items["x-kubernetes-list-type"].clone(), why);
            }
            "object" if items["x-kubernetes-map-type"] != "atomic" => {
                errors.invalid(&path.child("x-kubernetes-map-type"), Value::Null, why);
            }
            _ => {}
        }
    }
    if !keys.is_empty() && list_type != Some("map") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        let path = path.child("x-kubernetes-list-type");
        match list_type {
            None => errors.required(&path, why),
            Some(other) => errors.invalid(&path, other, why),
        }
    }
    if list_type != Some("map") {
        return;
    }
    let keys_path = path.child("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.required(&keys_path, "must not be empty if x-kubernetes-list-type is map");
    }
    let items_path = path.child("items");
    if !items.is_null() && !items.is_object() {
        let why = "must only have a single schema if x-kubernetes-list-type is map";
        return errors.invalid(&items_path, Value::Null, why);
    }
    if items.is_null() {
        return errors.required(&items_path, "must have a schema if x-kubernetes-list-type is map");
    }
    if items.text("type") != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        return errors.invalid(&items_path.child("type"), items.text("type"), why);
    }
    for (i, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        match items["properties"].get(name) {
            None => errors.invalid(&keys_path, keys.to_vec(), "entries must all be names of item properties"),
            Some(property) if matches!(property.text("type"), "array" | "object") => {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.invalid(&items_path.child("properties").key(name).child("type"), items.text("type"), why);
            }
            Some(property) => {
                let required = items.list("required").contains(key) || property.has("default");
                if !required {
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                               property";
                    errors.required(&items_path.child("properties").key(name).child("default"), why);
                }
            }
        }
        if keys[..i].contains(key) {
            errors.invalid(&keys_path, keys.to_vec(), "must not contain duplicate entries");
        }
    }
}
