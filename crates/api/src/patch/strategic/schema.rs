//! What the schema says of a field that a patch wants merged.

use super::Error;
use crate::schema::{Field, ObjectType, PatchStrategy, Type};

/// The type of the object being merged.
#[derive(Clone, Copy)]
pub enum Scope<'a> {
    Struct(&'a ObjectType),
    /// A type of Go's with no fields of its own in JSON (`RawExtension`), by name.
    Opaque(&'a str),
    /// No object type at all, by its Go kind.
    Other(&'static str),
}

impl<'a> Scope<'a> {
    /// The type of an object-valued field and how it is patched.
    pub fn object(self, field: &str) -> Result<(Scope<'a>, &'a PatchStrategy), Error> {
        let field = self.field(field)?;
        Ok((Self::of(&field.ty), &field.patch))
    }

    /// The type of the items of a list-valued field and how it is patched.
    pub fn list(self, field: &str) -> Result<(Scope<'a>, &'a PatchStrategy), Error> {
        let field = self.field(field)?;
        let Type::List(list) = &field.ty else {
            return Err(Error::Other("expected slice or array type, but got: struct".to_owned()));
        };
        if matches!(list.item, Type::List(_)) {
            return Err(Error::Other("unexpected slice of slice".to_owned()));
        }
        Ok((Self::of(&list.item), &field.patch))
    }

    /// Go's name of the kind of type, for error texts.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Struct(_) | Self::Opaque(_) => "struct",
            Self::Other(kind) => kind,
        }
    }

    fn field(self, name: &str) -> Result<&'a Field, Error> {
        let (found, struct_name) = match self {
            Self::Struct(object) => {
                let folded = || object.fields.iter().find(|f| !f.inline && f.json.eq_ignore_ascii_case(name));
                (object.field(name).or_else(folded), object.short_name())
            }
            Self::Opaque(struct_name) => (None, struct_name),
            Self::Other(kind) => {
                let text = "merging an object in json but data type is not struct, instead is";
                return Err(Error::Other(format!("{text}: {kind}")));
            }
        };
        found.ok_or_else(|| {
            Error::Other(format!("unable to find api field in struct {struct_name} for the json field {name:?}"))
        })
    }

    fn of(ty: &'a Type) -> Self {
        match ty {
            Type::Object(object) => Self::Struct(object.get()),
            Type::Map(_) => Self::Other("map"),
            Type::List(_) | Type::Bytes => Self::Other("slice"),
            Type::String => Self::Other("string"),
            Type::Bool => Self::Other("bool"),
            Type::Int32 => Self::Other("int32"),
            Type::Int64 => Self::Other("int64"),
            Type::Double => Self::Other("float64"),
            Type::Quantity => Self::Opaque("Quantity"),
            Type::IntOrString => Self::Opaque("IntOrString"),
            Type::Time => Self::Opaque("Time"),
            Type::MicroTime => Self::Opaque("MicroTime"),
            Type::Duration => Self::Opaque("Duration"),
            Type::RawExtension => Self::Opaque("RawExtension"),
            Type::FieldsV1 => Self::Opaque("FieldsV1"),
            Type::Json => Self::Opaque("JSON"),
            Type::SchemaOrBool(_) => Self::Opaque("JSONSchemaPropsOrBool"),
            Type::SchemaOrArray(_) => Self::Opaque("JSONSchemaPropsOrArray"),
            Type::SchemaOrStrings(_) => Self::Opaque("JSONSchemaPropsOrStringArray"),
        }
    }
}
