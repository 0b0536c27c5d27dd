//! The schema as apply sees it: what is one value, what has parts, and by what parts are told apart.

use serde_json::{Map, Value, json};

use super::element::PathElement;
use crate::schema::{Field, ListKind, ListType, MapType, ObjectType, Type};

/// The type at one point of an object.
#[derive(Clone, Copy)]
pub enum TypeRef<'a> {
    Of(&'a Type),
    Object(&'a ObjectType),
    /// One that has parts here, though its type says that it is one value.
    Granular(&'a ObjectType),
    /// No schema: objects have parts, all else is one value.
    Deduced,
}

/// How a value is to be taken apart.
#[derive(Clone, Copy)]
pub enum Shape<'a> {
    /// As one.
    Leaf,
    Struct(&'a ObjectType),
    Map(&'a MapType),
    DeducedMap,
    /// A set or a keyed list.
    List(&'a ListType),
}

impl<'a> TypeRef<'a> {
    /// The shape of `value` at this point. A value that does not fit its type is one value.
    pub fn shape(self, value: &Value) -> Shape<'a> {
        let shape = match self {
            Self::Object(object) => Self::object_shape(object),
            Self::Granular(object) => Shape::Struct(object),
            Self::Deduced => Shape::DeducedMap,
            Self::Of(ty) => match ty {
                Type::Object(object) => Self::object_shape(object.get()),
                Type::Map(map) if !map.atomic => Shape::Map(map),
                Type::List(list) if list.kind != ListKind::Atomic => Shape::List(list),
                Type::Json
                | Type::FieldsV1
                | Type::IntOrString
                | Type::SchemaOrBool(_)
                | Type::SchemaOrArray(_)
                | Type::SchemaOrStrings(_) => Shape::DeducedMap,
                _ => Shape::Leaf,
            },
        };
        match shape {
            Shape::DeducedMap if value.is_object() => shape,
            Shape::Struct(_) | Shape::Map(_) if value.is_object() || value.is_null() => shape,
            Shape::List(_) if value.is_array() || value.is_null() => shape,
            _ => Shape::Leaf,
        }
    }

    fn of_field(field: &'a Field) -> Self {
        match &field.ty {
            Type::Object(object) if field.granular => Self::Granular(object.get()),
            ty => Self::Of(ty),
        }
    }

    fn object_shape(object: &'a ObjectType) -> Shape<'a> {
        match object.atomic {
            true => Shape::Leaf,
            false if object.fields.is_empty() => Shape::DeducedMap,
            false => Shape::Struct(object),
        }
    }
}

impl<'a> Shape<'a> {
    /// The type of a field or of the values of a map; `None` for a field that the schema does not know.
    pub fn member(self, name: &str) -> Option<TypeRef<'a>> {
        match self {
            Self::Struct(object) => match object.field(name) {
                Some(field) => Some(TypeRef::of_field(field)),
                None => object.preserve_unknown.then_some(TypeRef::Deduced),
            },
            Self::Map(map) => Some(TypeRef::Of(&map.value)),
            Self::DeducedMap => Some(TypeRef::Deduced),
            Self::Leaf | Self::List(_) => None,
        }
    }

    /// A field that the schema declares, not a key of a map.
    pub fn declares(self, name: &str) -> bool {
        matches!(self, Self::Struct(object) if object.field(name).is_some())
    }
}

/// What tells an item from the others of its list, or why nothing does, in upstream's words.
pub fn item_element(list: &ListType, item: &Value) -> Result<PathElement, String> {
    let ListKind::Map(keys) = &list.kind else {
        return match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            scalar => Ok(PathElement::Value(scalar.clone())),
        };
    };
    let fields = match item {
        Value::Object(fields) => fields,
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let mut key: Vec<(String, Value)> =
        keys.iter().filter_map(|key| Some((key.clone(), key_value(list, fields, key)?))).collect();
    if key.is_empty() {
        let names: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
        let names = names.join(" ");
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{names}] (and doesn't have default values for any key fields)"
        ));
    }
    key.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(PathElement::Key(key))
}

fn key_value(list: &ListType, fields: &Map<String, Value>, key: &str) -> Option<Value> {
    if let Some(value) = fields.get(key) {
        return Some(value.clone());
    }
    let Type::Object(object) = &list.item else { return None };
    let field = object.get().field(key)?;
    field.default.clone().or_else(|| zero(field))
}

/// What Go writes for a field that may not be left out.
fn zero(field: &Field) -> Option<Value> {
    if field.omit_empty {
        return None;
    }
    Some(match &field.ty {
        Type::Bool => json!(false),
        Type::Int32 | Type::Int64 | Type::Double => json!(0),
        Type::String => json!(""),
        _ => return None,
    })
}

/// A field that Go writes as null where it has no value: a time, and lists that are not left out.
pub fn null_when_unset(field: &Field) -> bool {
    match field.ty {
        // This one is left out.
        Type::Time | Type::MicroTime => !field.pointer && field.json != "creationTimestamp",
        _ => field.pointer && !field.omit_empty,
    }
}

/// Go's zero value of a field that is always written: as good as absent. Empty lists are not: they are
/// written as they are, absent ones as null.
pub fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}
