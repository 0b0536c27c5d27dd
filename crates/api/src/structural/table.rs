//! From a schema to the field table that server-side apply reads: what has parts, and by what they are told apart.

use std::sync::Arc;

use super::prune::metadata_type;
use super::{Additional, Schema};
use crate::schema::{Field, ListKind, ListType, MapType, ObjectRef, ObjectType, Type};

/// The table of a whole object.
pub fn of_object(name: &str, schema: &Schema) -> ObjectRef {
    let mut ty = object_type(name, schema);
    let meta = [("apiVersion", Type::String), ("kind", Type::String), ("metadata", metadata_type())];
    let mut fields: Vec<Field> = std::mem::take(&mut ty.fields);
    fields.retain(|field| !meta.iter().any(|(name, _)| field.json == *name));
    fields.extend(meta.map(|(name, ty)| Field::new(name, ty)));
    let mut whole = ObjectType::new(name, fields);
    whole.preserve_unknown = ty.preserve_unknown;
    whole.atomic = ty.atomic;
    ObjectRef::Custom(Arc::new(whole))
}

fn object_type(name: &str, schema: &Schema) -> ObjectType {
    let fields = schema.properties.iter().map(|(name, property)| {
        let mut field = Field::new(name.clone(), ty(name, property));
        field.required = schema.required.contains(name);
        field.default.clone_from(&property.default);
        field
    });
    let mut fields: Vec<Field> = fields.collect();
    if schema.embedded {
        fields.retain(|field| field.json != "metadata");
        fields.push(Field::new("metadata", metadata_type()));
    }
    let mut ty = ObjectType::new(name, fields);
    ty.preserve_unknown = schema.preserve_unknown || schema.embedded;
    ty.atomic = schema.map_type == "atomic";
    ty
}

fn ty(name: &str, schema: &Schema) -> Type {
    match schema.ty.as_str() {
        _ if schema.int_or_string => Type::IntOrString,
        "object" if schema.properties.is_empty() && !schema.embedded => match &schema.additional_properties {
            Some(Additional::Schema(value)) => {
                Type::Map(Arc::new(MapType { value: ty(name, value), atomic: schema.map_type == "atomic" }))
            }
            _ if schema.map_type == "atomic" => Type::Map(Arc::new(MapType { value: Type::Json, atomic: true })),
            _ => Type::Json,
        },
        "object" => Type::Object(ObjectRef::Custom(Arc::new(object_type(name, schema)))),
        "array" => {
            let item = schema.items.as_deref().map_or(Type::Json, |items| ty(name, items));
            let kind = match schema.list_type.as_str() {
                "set" => ListKind::Set,
                "map" => ListKind::Map(schema.list_map_keys.clone()),
                _ => ListKind::Atomic,
            };
            let declared = !schema.list_type.is_empty();
            Type::List(Arc::new(ListType { item, kind, declared, wrapped: false }))
        }
        "string" => Type::String,
        "integer" => Type::Int64,
        "number" => Type::Double,
        "boolean" => Type::Bool,
        _ => Type::Json,
    }
}
