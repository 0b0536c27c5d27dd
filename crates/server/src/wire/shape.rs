//! The other shapes an object can be asked in: Table and partial metadata (`meta.k8s.io`).

use std::borrow::Cow;

use bytes::Bytes;
use orlop_api::kind::{Column, Kind};
use orlop_api::status::StatusError;
use orlop_api::table::{Now, Row};
use orlop_api::{Value, table};
use orlop_store::Entry;
use serde_json::json;

use super::negotiate::MetaVersion;
use super::raw;
use crate::memo::Memo;
use crate::resource::Resource;

/// What a table row carries besides its cells (`includeObject=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    pub fn parse(text: &str) -> Result<Self, StatusError> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(StatusError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// `PartialObjectMetadata` of an object's JSON, metadata copied as it stands.
pub fn partial(kind: &dyn Kind, json: &[u8], version: MetaVersion) -> Bytes {
    Bytes::from(partial_pieces(&metadata(kind, json), version).concat())
}

fn metadata<'a>(kind: &dyn Kind, json: &'a [u8]) -> Cow<'a, [u8]> {
    let whole = raw::find(json, &["metadata"]).and_then(|range| json.get(range)).unwrap_or(b"{}");
    let of_version = kind.annotations_of_version();
    if of_version.is_empty() {
        return Cow::Borrowed(whole);
    }
    let mut metadata: Value = serde_json::from_slice(whole).unwrap_or_default();
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        annotations.retain(|name, _| !of_version.contains(&name.as_str()));
        if annotations.is_empty() {
            metadata["annotations"].take();
        }
    }
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
    Cow::Owned(metadata.to_string().into_bytes())
}

fn partial_pieces(metadata: &[u8], version: MetaVersion) -> [&[u8]; 5] {
    let (kind, version) = (br#"{"kind":"PartialObjectMetadata","apiVersion":""#, version.api_version().as_bytes());
    [kind, version, br#"","metadata":"#, metadata, b"}"]
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

/// The cells of an object in its stored version, as a JSON array.
pub fn cells(kind: &dyn Kind, stored: &Value, now: i64) -> Vec<u8> {
    Value::Array(kind.row(stored, Now::At(now))).to_string().into_bytes()
}

/// The cells of an entry; what they are made of is kept with it.
pub fn cells_of(resource: &Resource, entry: &Entry, now: i64) -> Result<Vec<u8>, StatusError> {
    let kind = resource.kind();
    if resource.keeps_forms_of(entry) {
        let memo = Memo::of(entry);
        let row = memo.row(|| Ok(Row::new(kind, &resource.parse(entry)?, &entry.json)))?;
        if let Some(row) = row {
            let mut out = Vec::new();
            row.write(now, &mut out);
            return Ok(out);
        }
    }
    Ok(cells(kind, &resource.parse(entry)?, now))
}

/// One table row; `json` is the object in the version that the client sees.
pub fn row(kind: &dyn Kind, cells: &[u8], json: &[u8], include: Include, version: MetaVersion) -> Bytes {
    let (head, middle): (&[u8], &[u8]) = (br#"{"cells":"#, br#","object":"#);
    Bytes::from(match include {
        Include::None => [head, cells, middle, b"null}"].concat(),
        Include::Object => [head, cells, middle, json, b"}"].concat(),
        Include::Metadata => {
            let metadata = metadata(kind, json);
            [&[head, cells, middle][..], &partial_pieces(&metadata, version), &[b"}"]].concat().concat()
        }
    })
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
pub fn table_metadata(json: &[u8]) -> Value {
    match raw::find_str(json, &["metadata", "resourceVersion"]) {
        None | Some("") => json!({}),
        Some(version) => json!({ "resourceVersion": version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(plural: &str) -> &'static dyn Kind {
        orlop_api::kinds::by_resource("", "v1", plural).unwrap()
    }

    #[test]
    fn metadata_alone_lacks_what_stands_for_a_field() {
        let kind = orlop_api::kinds::by_resource("apps", "v1", "daemonsets").unwrap();
        let json = br#"{"metadata":{"annotations":{"deprecated.daemonset.template.generation":"1"},"name":"x"}}"#;
        let partial: Value = serde_json::from_slice(&partial(kind, json, MetaVersion::V1)).unwrap();
        assert_eq!(partial["metadata"], json!({"name": "x"}));
    }

    #[test]
    fn partial_copies_metadata() {
        let json = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","labels":{"a":"}"}},"spec":{}}"#;
        assert_eq!(
            &partial(kind("pods"), json, MetaVersion::V1)[..],
            br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"x","labels":{"a":"}"}}}"#
        );
    }

    #[test]
    fn a_row_with_and_without_its_object() {
        let kind = kind("configmaps");
        let object = json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}});
        let json = object.to_string();
        let told = |include| {
            let row = row(kind, &cells(kind, &object, 0), json.as_bytes(), include, MetaVersion::V1);
            serde_json::from_slice::<Value>(&row).unwrap()
        };
        let none = told(Include::None);
        assert_eq!(none["object"], Value::Null);
        assert_eq!(none["cells"][0], "x");
        assert_eq!(told(Include::Object)["object"], object);
        assert_eq!(told(Include::Metadata)["object"]["metadata"], object["metadata"]);
    }
}
