//! The form in which a client sent what is read as JSON, in whose decoder's words it hears of errors.

use super::path::Path;

/// What a text was before it was JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Json,
    /// `strings` is the type of its strings, which CBOR has two of.
    Cbor {
        strings: &'static str,
    },
}

impl Origin {
    /// A value that is not of the type it should be; `found` is JSON's name of it, of a number with its digits.
    pub fn type_error(self, path: &Path<'_, '_>, found: &str, wanted: &str) -> String {
        let (form, found, field, more) = match self {
            Self::Json => ("json", found, path.go(), String::new()),
            Self::Cbor { strings } => {
                let (found, more) = cbor_type(found, strings, wanted);
                ("cbor", found, path.outermost(), more)
            }
        };
        let place = field.map_or_else(|| "Go value".to_owned(), |field| format!("Go struct field {field}"));
        format!("{form}: cannot unmarshal {found} into {place} of type {wanted}{more}")
    }

    /// A field that the type does not have: CBOR's decoder says only where in its object it stands.
    pub fn unknown_field(self, name: &str, index: usize) -> String {
        match self {
            Self::Json => format!("unknown field {}", crate::quote::quote(name)),
            Self::Cbor { .. } => format!("cbor: found unknown field at map element index {index}"),
        }
    }

    pub fn base64_error(self, why: String) -> String {
        match self {
            Self::Json => why,
            Self::Cbor { .. } => format!("cbor: failed to decode base64 from byte string: {why}"),
        }
    }

    /// What is wrong with a whole number of any type that 64 bits do not hold. JSON's becomes a float.
    pub fn too_large(self, digits: &str) -> Option<String> {
        if self == Self::Json || digits.contains(['.', 'e']) {
            return None;
        }
        let name = if digits.starts_with('-') { "negative integer" } else { "positive integer" };
        Some(format!("cbor: cannot unmarshal {name} into Go value of type int64 ({digits} overflows Go's int64)"))
    }

    /// CBOR's decoder stops at the first unknown field.
    pub fn most_reports(self) -> usize {
        match self {
            Self::Json => 100,
            Self::Cbor { .. } => 1,
        }
    }
}

/// CBOR's name of a type, and what else is said of a number that does not fit.
fn cbor_type(found: &str, strings: &'static str, wanted: &str) -> (&'static str, String) {
    let Some((_, digits)) = found.split_once(' ') else {
        let name = match found {
            "string" => strings,
            "array" => "array",
            "object" => "map",
            "number" => "positive integer",
            _ => "primitives",
        };
        return (name, String::new());
    };
    let name = match digits {
        fraction if fraction.contains(['.', 'e', 'E']) => return ("primitives", String::new()),
        negative if negative.starts_with('-') => "negative integer",
        _ => "positive integer",
    };
    (name, format!(" ({digits} overflows {wanted})"))
}
