//! Values: what an expression computes with. JSON is borrowed, never copied.

pub mod compare;
pub mod convert;
pub mod equal;
pub mod json;
pub mod list;
pub mod map;
pub mod text;
pub mod time;

use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::library::authorizer::Authz;
use crate::library::cidr::Cidr;
use crate::library::named_formats::NamedFormat;
use crate::library::semver::Semver;
use crate::library::urls::Url;
pub use list::List;
pub use map::{Key, Map, Variables};
pub use text::Text;
pub use time::Timestamp;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Failed(String),
    /// Not absorbed by `&&` and `||`: evaluation is over.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

pub fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Failed(message.into()))
}

pub fn no_overload<T>() -> Result<T> {
    fail("no such overload")
}

#[derive(Clone)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    /// Nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    /// A type, by its name.
    Type(Arc<str>),
    Optional(Option<Arc<Value<'a>>>),
    Quantity(Arc<orlop_base::quantity::Quantity>),
    Ip(std::net::IpAddr),
    Cidr(Cidr),
    Url(Arc<Url>),
    Semver(Arc<Semver>),
    Format(&'static NamedFormat),
    Authz(Arc<Authz<'a>>),
    /// An object made by the expression: its type's name and its fields.
    Object(Arc<Object<'a>>),
    /// Of a field whose schema says nothing of its type: it can only be compared.
    Opaque(&'a Json),
}

pub struct Object<'a> {
    pub type_name: Arc<str>,
    pub fields: Vec<(Arc<str>, Value<'a>)>,
}

impl<'a> Value<'a> {
    pub fn string(text: impl Into<Text<'a>>) -> Self {
        Self::String(text.into())
    }

    pub fn list(items: Vec<Self>) -> Self {
        Self::List(List::Items(Arc::new(items)))
    }

    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    pub const NONE: Self = Self::Optional(None);

    /// The name of the type, as `type(x)` shows it and errors print it.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Type(_) => "type",
            Self::Optional(_) => crate::types::OPTIONAL,
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authz(authz) => authz.type_name(),
            Self::Object(object) => &object.type_name,
            Self::Opaque(_) => "unknown",
        }
    }

    /// What `size()` says, for values that have a size.
    pub fn size(&self) -> Option<u64> {
        Some(match self {
            Self::String(text) => text.chars().count() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Ip(ip) => {
                if ip.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Self::Cidr(cidr) => u64::from(cidr.bits).div_ceil(8),
            _ => return None,
        })
    }

    /// Whether this is the value a field of the type has when nobody sets it.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::Duration(nanos) => *nanos == 0,
            Self::Timestamp(time) => time.seconds == time::MIN_SECONDS && time.nanos == 0,
            Self::String(_) | Self::Bytes(_) | Self::List(_) | Self::Map(_) => self.size() == Some(0),
            Self::Optional(value) => value.as_ref().is_none_or(|value| value.is_zero()),
            _ => false,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As a literal of the language, for errors and tests.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Double(value) => f.write_str(&convert::format_double(*value)),
            Self::String(text) => f.write_str(text),
            Self::Bytes(bytes) => write!(f, "{bytes:?}"),
            Self::Duration(nanos) => write!(f, "{}", time::format_duration(*nanos)),
            Self::Timestamp(time) => write!(f, "{time}"),
            Self::List(list) => f.debug_list().entries(list.iter()).finish(),
            Self::Map(map) => f.debug_map().entries(map.entries().unwrap_or_default()).finish(),
            Self::Type(name) => f.write_str(name),
            Self::Optional(None) => f.write_str("optional.none()"),
            Self::Optional(Some(value)) => write!(f, "optional({value})"),
            Self::Quantity(quantity) => write!(f, "{quantity}"),
            Self::Ip(ip) => f.write_str(&crate::library::ip::format(*ip)),
            Self::Cidr(cidr) => write!(f, "{cidr}"),
            Self::Opaque(json) => write!(f, "{json}"),
            other => f.write_str(other.type_name()),
        }
    }
}
