//! Field tables as OpenAPI schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::names::capital;
use crate::schema::{
    Field, ListKind, ListType, MapType, ObjectRef, ObjectType, PatchStrategy, Registry, Type, builtin,
};

/// The two versions differ in where schemas stand and in how much they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    V2,
    V3,
}

impl Flavor {
    /// A reference to a schema of the document.
    pub fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({ "$ref": format!("#/definitions/{name}") }),
            Self::V3 => json!({ "$ref": format!("#/components/schemas/{name}") }),
        }
    }
}

pub const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
pub const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
pub const API_RESOURCE_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";

/// Schemas of a document: what was asked for, and what that refers to.
pub struct Schemas<'a> {
    flavor: Flavor,
    descriptions: &'a Descriptions,
    /// Group, version and kind of every type that is a kind.
    kinds: BTreeMap<u16, Vec<Value>>,
    /// What the document is of, if it is not of everything.
    group_version: Option<(String, String)>,
    done: BTreeMap<String, Value>,
    queue: Vec<String>,
    queued: BTreeSet<String>,
}

impl<'a> Schemas<'a> {
    pub fn new(flavor: Flavor, descriptions: &'a Descriptions) -> Self {
        Self {
            flavor,
            descriptions,
            kinds: kinds_by_type(builtin()),
            group_version: None,
            done: BTreeMap::new(),
            queue: Vec::new(),
            queued: BTreeSet::new(),
        }
    }

    /// Of a type that every group and version has (DeleteOptions), a document of one of them names its own.
    #[must_use]
    pub fn within(self, group: &str, version: &str) -> Self {
        Self { group_version: Some((group.to_owned(), version.to_owned())), ..self }
    }

    fn own(&self, kinds: &[Value]) -> Vec<Value> {
        match &self.group_version {
            Some((group, version)) if kinds.len() > 1 => {
                let is_core = |kind: &Value| kind["group"] == "" && kind["version"] == "v1";
                let is_own = |kind: &Value| kind["group"] == **group && kind["version"] == **version;
                kinds.iter().filter(|kind| is_own(kind) || is_core(kind)).cloned().collect()
            }
            _ => kinds.to_vec(),
        }
    }

    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Takes in the type of this name.
    pub fn add(&mut self, name: &str) {
        if self.queued.insert(name.to_owned()) {
            self.queue.push(name.to_owned());
        }
    }

    /// Takes in a schema that was written elsewhere.
    pub fn add_ready(&mut self, name: &str, schema: Value) {
        self.queued.insert(name.to_owned());
        self.done.insert(name.to_owned(), schema);
    }

    /// Everything, by name.
    pub fn finish(mut self) -> Map<String, Value> {
        while let Some(name) = self.queue.pop() {
            let schema = match builtin().by_name.get(&name) {
                Some(index) => self.object(&builtin().types[usize::from(*index)], Some(*index)),
                None => self.special(&name),
            };
            self.done.insert(name, schema);
        }
        self.done.into_iter().collect()
    }

    /// Types that write themselves.
    fn special(&self, name: &str) -> Value {
        let v3 = self.flavor == Flavor::V3;
        let short = name.rsplit('.').next().unwrap_or(name);
        let mut schema = match short {
            "Quantity" if v3 => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
            "Quantity" | "Duration" => json!({ "type": "string" }),
            "IntOrString" if v3 => {
                json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] })
            }
            "IntOrString" => json!({ "format": "int-or-string", "type": "string" }),
            "Time" | "MicroTime" => json!({ "format": "date-time", "type": "string" }),
            "RawExtension" | "FieldsV1" | "Patch" => json!({ "type": "object" }),
            _ => json!({}),
        };
        if let Some(description) = self.descriptions.of_type(name) {
            schema["description"] = description.into();
        }
        schema
    }

    fn object(&mut self, ty: &ObjectType, index: Option<u16>) -> Value {
        let mut schema = Map::new();
        if let Some(description) = self.descriptions.of_type(&ty.name) {
            schema.insert("description".into(), description.into());
        }
        schema.insert("type".into(), "object".into());
        let properties: Map<String, Value> = ty
            .fields
            .iter()
            .filter(|f| !f.inline)
            .map(|field| (field.json.clone(), self.property(ty, field)))
            .collect();
        if !properties.is_empty() {
            schema.insert("properties".into(), properties.into());
        }
        let required: Vec<&str> = ty.fields.iter().filter(|f| f.required).map(|f| f.json.as_str()).collect();
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        if ty.preserve_unknown {
            schema.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
        }
        if ty.atomic {
            schema.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        if !ty.unions.is_empty() {
            schema.insert("x-kubernetes-unions".into(), ty.unions.iter().map(union).collect());
        }
        if let Some(kinds) = index.and_then(|index| self.kinds.get(&index)) {
            schema.insert("x-kubernetes-group-version-kind".into(), self.own(kinds).into());
        }
        Value::Object(schema)
    }

    fn property(&mut self, owner: &ObjectType, field: &Field) -> Value {
        let mut schema = self.ty(&field.ty);
        if !field.values.is_empty() {
            innermost(&mut schema).insert("enum".into(), field.values.iter().map(|v| Value::from(&**v)).collect());
        }
        let default = if self.flavor == Flavor::V3 { default_of(field) } else { None };
        let description = self.descriptions.of_field(&owner.name, &field.json).map(Value::from);
        if self.flavor == Flavor::V3 && schema.contains_key("$ref") && (default.is_some() || description.is_some()) {
            // Nothing may stand beside `$ref` in version 3.
            schema = Map::from_iter([("allOf".to_owned(), json!([schema]))]);
        }
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                schema.insert(name.to_owned(), value);
            }
        };
        set("description", description);
        set("default", default);
        set("x-kubernetes-patch-strategy", patch_strategy(&field.patch));
        set("x-kubernetes-patch-merge-key", field.patch.merge_key.clone().map(Value::from));
        set("x-kubernetes-map-type", field.granular.then(|| "granular".into()));
        Value::Object(schema)
    }

    fn ty(&mut self, ty: &Type) -> Map<String, Value> {
        let plain = |schema: Value| if let Value::Object(schema) = schema { schema } else { Map::new() };
        match ty {
            Type::Bool => plain(json!({ "type": "boolean" })),
            Type::Int32 => plain(json!({ "type": "integer", "format": "int32" })),
            Type::Int64 => plain(json!({ "type": "integer", "format": "int64" })),
            Type::Double => plain(json!({ "type": "number", "format": "double" })),
            Type::String => plain(json!({ "type": "string" })),
            Type::Bytes => plain(json!({ "type": "string", "format": "byte" })),
            Type::List(list) => self.list(list),
            Type::Map(map) => self.map(map),
            Type::Object(ObjectRef::Custom(object)) => plain(self.object(object, None)),
            Type::Object(ObjectRef::Builtin(index)) => self.reference(&builtin().types[usize::from(*index)].name),
            named => self.reference(special_name(named)),
        }
    }

    fn reference(&mut self, name: &str) -> Map<String, Value> {
        self.add(name);
        let Value::Object(reference) = self.flavor.reference(name) else { return Map::new() };
        reference
    }

    fn list(&mut self, list: &ListType) -> Map<String, Value> {
        let mut schema = Map::from_iter([
            ("type".to_owned(), "array".into()),
            ("items".to_owned(), Value::Object(self.ty(&list.item))),
        ]);
        let kind = match &list.kind {
            ListKind::Atomic => list.declared.then_some("atomic"),
            ListKind::Set => Some("set"),
            ListKind::Map(keys) => {
                schema.insert("x-kubernetes-list-map-keys".into(), keys.clone().into());
                Some("map")
            }
        };
        if let Some(kind) = kind {
            schema.insert("x-kubernetes-list-type".into(), kind.into());
        }
        schema
    }

    fn map(&mut self, map: &MapType) -> Map<String, Value> {
        let mut schema = Map::from_iter([
            ("type".to_owned(), "object".into()),
            ("additionalProperties".to_owned(), Value::Object(self.ty(&map.value))),
        ]);
        if map.atomic {
            schema.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        schema
    }
}

/// Of a list its items, of a map its values.
fn innermost(schema: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let inner = ["items", "additionalProperties"].into_iter().find(|part| schema.contains_key(*part));
    match inner {
        Some(part) => match &mut schema[part] {
            Value::Object(inner) => innermost(inner),
            _ => unreachable!("parts of schemas are schemas"),
        },
        None => schema,
    }
}

fn special_name(ty: &Type) -> &'static str {
    match ty {
        Type::Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity",
        Type::IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        Type::Time => "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
        Type::MicroTime => "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
        Type::Duration => "io.k8s.apimachinery.pkg.apis.meta.v1.Duration",
        Type::FieldsV1 => "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
        Type::RawExtension => "io.k8s.apimachinery.pkg.runtime.RawExtension",
        Type::SchemaOrBool(_) => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
        Type::SchemaOrArray(_) => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
        Type::SchemaOrStrings(_) => {
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray"
        }
        _ => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
    }
}

/// The published default, or the zero value of a field that is always written.
fn default_of(field: &Field) -> Option<Value> {
    if let Some(default) = &field.default {
        return Some(default.clone());
    }
    let always_written = !field.omit_empty && !field.pointer;
    match &field.ty {
        Type::Object(_) if !field.pointer => Some(json!({})),
        Type::Bool if always_written => Some(false.into()),
        Type::Int32 | Type::Int64 | Type::Double if always_written => Some(0.into()),
        Type::String if always_written => Some("".into()),
        _ => None,
    }
}

fn patch_strategy(patch: &PatchStrategy) -> Option<Value> {
    let names = [(patch.merge, "merge"), (patch.replace, "replace"), (patch.retain_keys, "retainKeys")];
    let set: Vec<&str> = names.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    (!set.is_empty()).then(|| set.join(",").into())
}

fn union((discriminator, members): &(String, Vec<String>)) -> Value {
    // A member is chosen by its Go name, which is the JSON name with a capital.
    let fields: Map<String, Value> = members.iter().map(|m| (m.clone(), capital(m).into())).collect();
    if discriminator.is_empty() {
        json!({ "fields-to-discriminateBy": fields })
    } else {
        json!({ "discriminator": discriminator, "fields-to-discriminateBy": fields })
    }
}

fn kinds_by_type(registry: &Registry) -> BTreeMap<u16, Vec<Value>> {
    let mut kinds: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
    for ((api_version, kind), index) in &registry.by_kind {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if group == "meta.k8s.io" {
            // Understood, but published only as `v1`.
            continue;
        }
        let entry = json!({ "group": group, "kind": kind, "version": version });
        kinds.entry(*index).or_default().push(entry);
    }
    for list in kinds.values_mut() {
        list.sort_by(|a, b| {
            (a["group"].as_str(), a["version"].as_str()).cmp(&(b["group"].as_str(), b["version"].as_str()))
        });
    }
    kinds
}
