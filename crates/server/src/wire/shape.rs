//! The other shapes an object can be asked in: Table and partial metadata (`meta.k8s.io`).

use bytes::Bytes;
use orlop_api::kind::{Column, Kind};
use orlop_api::{Value, meta, table};
use serde_json::json;

use super::negotiate::MetaVersion;
use super::raw;

/// What a table row carries besides its cells (`includeObject=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    pub fn parse(text: &str) -> Result<Self, orlop_api::status::StatusError> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(orlop_api::status::StatusError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// `PartialObjectMetadata` of an object's JSON, metadata copied as it stands.
pub fn partial(json: &[u8], version: MetaVersion) -> Bytes {
    let metadata = raw::find(json, &["metadata"]).and_then(|range| json.get(range)).unwrap_or(b"{}");
    let head = format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"{}","metadata":"#, version.api_version());
    Bytes::from([head.as_bytes(), metadata, b"}"].concat())
}

/// `columnDefinitions` of a kind's table.
pub fn columns(kind: &dyn Kind) -> Value {
    let definition = |c: &Column| {
        // Names, ages and columns of custom resources say themselves what they are for.
        let own = Some(&*c.description).filter(|text| !text.is_empty());
        let description = own.unwrap_or_else(|| table::description(kind.info(), &c.name));
        json!({"name": &*c.name, "type": &*c.ty, "format": &*c.format,
               "description": description, "priority": c.priority})
    };
    kind.columns().iter().map(definition).collect()
}

/// One table row. `stored` is for the kind's eyes, `json` for the client's.
pub fn row(kind: &dyn Kind, stored: &Value, json: &[u8], include: Include, version: MetaVersion, now: i64) -> Bytes {
    let cells = Value::Array(kind.row(stored, now)).to_string();
    let object: Bytes = match include {
        Include::None => Bytes::from_static(b"null"),
        Include::Metadata => partial(json, version),
        Include::Object => Bytes::copy_from_slice(json),
    };
    Bytes::from([br#"{"cells":"#, cells.as_bytes(), br#","object":"#, &object, b"}"].concat())
}

/// The head of a Table up to its first row; `columns` may be left out of later watch events.
pub fn table_head(version: MetaVersion, list_metadata: &Value, columns: Option<&Value>) -> Bytes {
    let columns = columns.unwrap_or(&Value::Null);
    Bytes::from(format!(
        r#"{{"kind":"Table","apiVersion":"{}","metadata":{list_metadata},"columnDefinitions":{columns},"rows":["#,
        version.api_version()
    ))
}

pub const TABLE_TAIL: &[u8] = b"]}";

/// List metadata of a one-object table: its own resourceVersion.
pub fn table_metadata(object: &Value) -> Value {
    match meta::resource_version(object) {
        "" => json!({}),
        version => json!({ "resourceVersion": version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_copies_metadata() {
        let json = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","labels":{"a":"}"}},"spec":{}}"#;
        assert_eq!(
            &partial(json, MetaVersion::V1)[..],
            br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"x","labels":{"a":"}"}}}"#
        );
    }

    #[test]
    fn a_row_with_and_without_its_object() {
        let kind = orlop_api::kinds::by_resource("", "v1", "configmaps").unwrap();
        let object = json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}});
        let json = object.to_string();
        let none: Value =
            serde_json::from_slice(&row(kind, &object, json.as_bytes(), Include::None, MetaVersion::V1, 0)).unwrap();
        assert_eq!(none["object"], Value::Null);
        assert_eq!(none["cells"][0], "x");
        let whole: Value =
            serde_json::from_slice(&row(kind, &object, json.as_bytes(), Include::Object, MetaVersion::V1, 0)).unwrap();
        assert_eq!(whole["object"], object);
    }
}
