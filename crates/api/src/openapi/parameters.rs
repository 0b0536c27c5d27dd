//! Parameters of operations, mostly the fields of upstream's options types.

use serde_json::{Value, json};

use super::descriptions::Descriptions;
use super::schemas::Flavor;
use crate::schema::{ObjectType, Type, builtin};

/// One parameter; ordered by name, path before query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parameter {
    name: String,
    place: Place,
    ty: &'static str,
    description: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Path,
    Query,
}

impl Parameter {
    pub fn path(name: &str, description: impl Into<String>) -> Self {
        Self { name: name.into(), place: Place::Path, ty: "string", description: description.into() }
    }

    pub fn query(name: &str, ty: &'static str, description: impl Into<String>) -> Self {
        Self { name: name.into(), place: Place::Query, ty, description: description.into() }
    }

    pub fn render(&self, flavor: Flavor) -> Value {
        let place = match self.place {
            Place::Path => "path",
            Place::Query => "query",
        };
        let mut parameter = match flavor {
            Flavor::V2 => json!({ "type": self.ty, "uniqueItems": true }),
            Flavor::V3 => json!({ "schema": { "type": self.ty, "uniqueItems": true } }),
        };
        parameter["name"] = self.name.as_str().into();
        parameter["in"] = place.into();
        if !self.description.is_empty() {
            parameter["description"] = self.description.as_str().into();
        }
        if self.place == Place::Path {
            parameter["required"] = true.into();
        }
        parameter
    }
}

/// The parameters that operations share.
pub struct Common {
    pub list: Vec<Parameter>,
    pub delete: Vec<Parameter>,
    pub delete_collection: Vec<Parameter>,
    pub write: Vec<Parameter>,
    pub patch: Vec<Parameter>,
    pub pretty: Parameter,
    pub namespace: Parameter,
}

impl Common {
    pub fn new(descriptions: &Descriptions) -> Self {
        let meta = |kind: &str| options("meta.k8s.io/v1", kind, descriptions);
        let list = meta("ListOptions");
        let delete = meta("DeleteOptions");
        let not_for_deletion = ["allowWatchBookmarks", "watch"];
        let delete_collection =
            list.iter().filter(|p| !not_for_deletion.contains(&p.name.as_str())).chain(&delete).cloned().collect();
        Self {
            delete_collection,
            list,
            delete,
            write: meta("UpdateOptions"),
            patch: meta("PatchOptions"),
            pretty: Parameter::query("pretty", "string", "If 'true', the answer is indented."),
            namespace: Parameter::path("namespace", "The namespace of the object."),
        }
    }
}

/// The query parameters that stand for the fields of an options type.
pub fn options(api_version: &str, kind: &str, descriptions: &Descriptions) -> Vec<Parameter> {
    let Some(schema) = builtin().of(api_version, kind) else { return Vec::new() };
    let ty: &ObjectType = schema.get();
    ty.fields
        .iter()
        .filter(|f| !matches!(f.json.as_str(), "apiVersion" | "kind"))
        .filter_map(|f| {
            let description = descriptions.of_field(&ty.name, &f.json).unwrap_or_default();
            Some(Parameter::query(&f.json, query_type(&f.ty)?, description))
        })
        .collect()
}

/// How a field is written in a query; structs are not.
fn query_type(ty: &Type) -> Option<&'static str> {
    Some(match ty {
        Type::Bool => "boolean",
        Type::Int32 | Type::Int64 => "integer",
        Type::String => "string",
        // Lists repeat the parameter; upstream publishes the type of an item, except that ports stay text.
        Type::List(list) => query_type(&list.item)?,
        _ => return None,
    })
}
