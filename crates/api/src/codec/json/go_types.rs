//! Go's names of types, as decoding errors print them.

use crate::schema::{Field, Type};

/// A type and Go's own name of it, where it has one.
#[derive(Clone, Copy)]
pub struct Expected<'s> {
    pub ty: &'s Type,
    pub go: Option<&'s str>,
}

impl<'s> Expected<'s> {
    pub fn of(field: &'s Field) -> Self {
        Self { ty: &field.ty, go: field.go_type.as_deref() }
    }

    /// What stands in a list or map of this type: Go's name loses its `[]` or `map[…]`.
    pub fn inner(self, ty: &'s Type) -> Self {
        let go = self.go.and_then(|go| go.split_once(']')).map(|(_, inner)| inner);
        Self { ty, go }
    }

    pub fn go_name(self) -> String {
        self.go.map_or_else(|| go_name(self.ty), str::to_owned)
    }
}

/// Go's name of a type that has none of its own.
fn go_name(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Double => "float64".to_owned(),
        Type::String => "string".to_owned(),
        Type::Bytes => "[]uint8".to_owned(),
        Type::Quantity => "resource.Quantity".to_owned(),
        Type::IntOrString => "intstr.IntOrString".to_owned(),
        Type::Time => "v1.Time".to_owned(),
        Type::MicroTime => "v1.MicroTime".to_owned(),
        Type::Duration => "v1.Duration".to_owned(),
        Type::RawExtension => "runtime.RawExtension".to_owned(),
        Type::FieldsV1 => "v1.FieldsV1".to_owned(),
        Type::Json => "v1.JSON".to_owned(),
        Type::List(list) => format!("[]{}", go_name(&list.item)),
        Type::Map(map) => format!("map[string]{}", go_name(&map.value)),
        Type::Object(object)
        | Type::SchemaOrBool(object)
        | Type::SchemaOrArray(object)
        | Type::SchemaOrStrings(object) => object.get().go_name().to_owned(),
    }
}
