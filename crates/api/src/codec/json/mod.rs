//! JSON, read as upstream's strict decoder reads it (`sigs.k8s.io/json`) and normalised as a round trip
//! through upstream's Go types would.

pub(super) mod base64;
mod decode;
mod go_types;
mod leaves;
pub(super) mod normal;
mod origin;
mod path;
mod scan;

use serde_json::Value;

pub use normal::{fill, normalise, prune, settle};

/// Adds the zero value of every absent field of the object itself that Go always writes (`status: {}`).
pub fn complete(value: &mut Value, schema: &ObjectType) {
    if let Value::Object(map) = value {
        normal::fill(map, schema);
    }
}

use crate::quote::quote;
use crate::schema::ObjectType;
use crate::status::StatusError;
use decode::Decoder;
pub(super) use origin::Origin;

/// `?fieldValidation=`: what becomes of unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Dropped in silence.
    Ignore,
    /// Dropped, and reported to the client in `Warning` headers.
    #[default]
    Warn,
    /// The request fails.
    Strict,
}

impl FieldValidation {
    /// Reads the query parameter; empty means `Warn`.
    pub fn from_query(text: &str) -> Option<Self> {
        Some(match text {
            "" | "Warn" => Self::Warn,
            "Strict" => Self::Strict,
            "Ignore" => Self::Ignore,
            _ => return None,
        })
    }
}

/// Reads an object. With a schema, fields it does not know are pruned, types are checked, and the result is
/// normalised (see [`normalise`]). Returns the object and, for `Warn`, the texts to warn with.
pub fn decode(
    bytes: &[u8],
    schema: Option<&ObjectType>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), StatusError> {
    decode_from(Origin::Json, bytes, schema, validation, Vec::new())
}

/// The same for JSON made from another text, in which `duplicates` were already found.
pub(super) fn decode_from(
    origin: Origin,
    bytes: &[u8],
    schema: Option<&ObjectType>,
    validation: FieldValidation,
    duplicates: Vec<String>,
) -> Result<(Value, Vec<String>), StatusError> {
    let decoded = Decoder::new(bytes, validation != FieldValidation::Ignore).from(origin).document(schema);
    let (value, strict) = decoded.map_err(|failure| refuse(bytes, schema, failure))?;
    let reports = if validation == FieldValidation::Ignore { Vec::new() } else { [duplicates, strict].concat() };
    if validation == FieldValidation::Strict && !reports.is_empty() {
        let why = format!("strict decoding error: {}", reports.join(", "));
        return Err(misfit(&value, schema, why));
    }
    Ok((value, reports))
}

/// 400 for an object that is readable, but not what it should be.
pub(super) fn misfit(value: &Value, schema: Option<&ObjectType>, why: String) -> StatusError {
    refuse(b"", schema, Failure::Content { type_meta: TypeMeta::of(value), why })
}

/// What a built-in type makes of an object, as if it had been sent; else why it cannot, in Go's words.
pub(crate) fn reread(value: &Value, schema: &ObjectType) -> Result<Value, String> {
    match Decoder::new(&encode(value), false).document(Some(schema)) {
        Ok((value, _)) => Ok(value),
        Err(Failure::Syntax(why) | Failure::Content { why, .. }) => Err(why),
    }
}

/// Any object; else why it is none.
pub(super) fn any(origin: Origin, bytes: &[u8]) -> Result<Value, String> {
    match Decoder::new(bytes, false).from(origin).document(None) {
        Ok((value, _)) => Ok(value),
        Err(Failure::Syntax(why) | Failure::Content { why, .. }) => Err(why),
    }
}

/// What is wrong with a text that is no JSON, in Go's words.
pub fn syntax_error(bytes: &[u8]) -> String {
    any(Origin::Json, bytes).err().unwrap_or_default()
}

/// Compact JSON.
pub fn encode(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON values have only string keys")
}

/// What the document says it is.
#[derive(Debug, Default)]
struct TypeMeta {
    api_version: String,
    kind: String,
}

impl TypeMeta {
    fn of(value: &Value) -> Self {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        Self { api_version: text("apiVersion"), kind: text("kind") }
    }
}

/// Why a document cannot be read.
#[derive(Debug)]
enum Failure {
    /// No JSON at all, or none that could say its kind.
    Syntax(String),
    /// JSON, but not of this type.
    Content { type_meta: TypeMeta, why: String },
}

/// How much of an unreadable body the answer quotes.
const QUOTED_BYTES: usize = 30;

/// 400, as `transformDecodeError` in `k8s.io/apiserver/pkg/endpoints/handlers` words it.
fn refuse(body: &[u8], schema: Option<&ObjectType>, failure: Failure) -> StatusError {
    let expected = schema.map(ObjectType::short_name);
    StatusError::bad_request(match failure {
        Failure::Syntax(why) => {
            let why = format!("couldn't get version/kind; json parse error: {why}");
            schema.map_or_else(|| why.clone(), |schema| unrecognized(schema.short_name(), &why, body))
        }
        Failure::Content { type_meta, why } => {
            let version = type_meta.api_version.rsplit('/').next().unwrap_or_default();
            let kind = if type_meta.kind.is_empty() { expected.unwrap_or_default() } else { &type_meta.kind };
            let version = match (version, schema) {
                ("", Some(schema)) => schema.go_name().split('.').next().unwrap_or_default(),
                _ => version,
            };
            format!("{kind} in version {} cannot be handled as a {}: {why}", quote(version), expected.unwrap_or(kind))
        }
    })
}

/// What is said of a body that could be anything.
pub(super) fn unrecognized(kind: &str, why: &str, body: &[u8]) -> String {
    format!("the object provided is unrecognized (must be of type {kind}): {why} ({})", summarise(body))
}

fn summarise(body: &[u8]) -> String {
    let quoted = &body[..body.len().min(QUOTED_BYTES)];
    let text = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(quoted).into_owned(),
        Some(_) => quoted.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")),
    };
    if body.len() > QUOTED_BYTES { format!("{text} ...") } else { text }
}

#[cfg(test)]
mod tests;
