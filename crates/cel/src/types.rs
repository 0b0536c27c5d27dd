//! Types as the checker sees them.

use std::fmt;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Dyn,
    /// Where an error was reported; agrees with everything.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    /// An object with fields, or one of Kubernetes' own types.
    Struct(Arc<str>),
    /// A type with parameters that only its functions look into: `optional_type`, `net.IP`.
    Opaque(Arc<str>, Arc<[Type]>),
    /// The type of a type.
    Type(Option<Arc<Type>>),
    /// `T` in a declaration.
    Param(Arc<str>),
    /// An unknown the checker solves.
    Var(u32),
}

pub const OPTIONAL: &str = "optional_type";

impl Type {
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    pub fn optional(value: Self) -> Self {
        Self::Opaque(OPTIONAL.into(), Arc::new([value]))
    }

    pub fn object(name: &str) -> Self {
        Self::Struct(name.into())
    }

    pub fn type_of(inner: Self) -> Self {
        Self::Type(Some(Arc::new(inner)))
    }

    /// `T` of `optional_type(T)`.
    pub fn unwrap_optional(&self) -> Option<&Self> {
        match self {
            Self::Opaque(name, params) if **name == *OPTIONAL => params.first(),
            _ => None,
        }
    }

    pub fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The name a value's type has at run time.
    pub fn runtime_name(&self) -> &str {
        match self {
            Self::Dyn | Self::Param(_) | Self::Var(_) => "dyn",
            Self::Error => "error",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Struct(name) | Self::Opaque(name, _) => name,
            Self::Type(_) => "type",
        }
    }

    /// The type as texts about results write it: with the full names of times.
    pub fn describe(&self) -> String {
        let text = |params: &[&Self]| params.iter().map(|param| param.describe()).collect::<Vec<_>>().join(", ");
        match self {
            Self::List(element) => format!("list({})", text(&[element])),
            Self::Map(key, value) => format!("map({})", text(&[key, value])),
            Self::Opaque(name, params) if !params.is_empty() => {
                format!("{name}({})", text(&params.iter().collect::<Vec<_>>()))
            }
            Self::Type(Some(inner)) => format!("type({})", inner.describe()),
            other => other.runtime_name().to_owned(),
        }
    }

    /// Applies `change` to the types this one is made of.
    pub fn map_inner(&self, mut change: impl FnMut(&Self) -> Self) -> Self {
        match self {
            Self::List(element) => Self::list(change(element)),
            Self::Map(key, value) => Self::map(change(key), change(value)),
            Self::Opaque(name, params) => Self::Opaque(name.clone(), params.iter().map(change).collect()),
            Self::Type(Some(inner)) => Self::type_of(change(inner)),
            other => other.clone(),
        }
    }

    /// Reads a type as declarations write it: `map(string, list(T))`.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if text.len() == 1 {
            return Self::Param(text.into());
        }
        if let Some((name, rest)) = text.split_once('(') {
            let params = split(rest.strip_suffix(')').expect("declarations close their parentheses"));
            let mut params = params.into_iter().map(Self::parse);
            let mut next = || params.next().expect("declarations give every parameter");
            return match name {
                "list" => Self::list(next()),
                "map" => Self::map(next(), next()),
                "type" => Self::type_of(next()),
                name => Self::Opaque(name.into(), params.collect()),
            };
        }
        match text {
            "dyn" => Self::Dyn,
            "null" => Self::Null,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "uint" => Self::Uint,
            "double" => Self::Double,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "duration" => Self::Duration,
            "timestamp" => Self::Timestamp,
            "type" => Self::Type(None),
            "net.IP" | "net.CIDR" => Self::Opaque(text.into(), Arc::new([])),
            name => Self::Struct(name.into()),
        }
    }
}

/// Splits at the commas outside of parentheses.
pub fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, name: &str, params: &[&Type]| {
            let params: Vec<String> = params.iter().map(ToString::to_string).collect();
            write!(f, "{name}({})", params.join(", "))
        };
        match self {
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Param(name) => f.write_str(name),
            Self::Var(number) => write!(f, "_var{number}"),
            Self::List(element) => list(f, "list", &[element]),
            Self::Map(key, value) => list(f, "map", &[key, value]),
            Self::Opaque(name, params) if !params.is_empty() => list(f, name, &params.iter().collect::<Vec<_>>()),
            Self::Type(Some(inner)) => list(f, "type", &[inner]),
            other => f.write_str(other.runtime_name()),
        }
    }
}
