//! From a request's body to an object of the expected kind
//! (`k8s.io/apiserver/pkg/endpoints/handlers`: create.go, rest.go).

use bytes::Bytes;
use http::HeaderMap;
use orlop_api::Value;
use orlop_api::codec::json::FieldValidation;
use orlop_api::codec::{cbor, json, protobuf, yaml};
use orlop_api::schema::{self, ObjectRef};
use orlop_api::status::StatusError;

use super::negotiate::{self, Media};
use crate::call::{Call, Warnings};
use crate::resource::Resource;

/// What a body must be.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub schema: Option<&'a ObjectRef>,
    /// Custom resources have no protobuf form.
    pub protobuf: bool,
    /// As [`crate::request::RequestInfo::cbor`] has it.
    pub cbor: bool,
}

/// Decodes and checks a body; apiVersion and kind are filled in when left out.
pub fn object(
    headers: &HeaderMap,
    body: &Bytes,
    expected: Expected<'_>,
    validation: FieldValidation,
    warnings: &Warnings,
) -> Result<Value, StatusError> {
    let media = negotiate::input(headers, expected.protobuf, expected.cbor)?;
    let (mut value, texts) = parse(media, body, expected, validation)?;
    for text in texts {
        warnings.add_strict(&text);
    }
    check_kind(&mut value, expected)?;
    Ok(value)
}

/// Decodes a body of the resource's own kind; custom resources are pruned by their schema.
pub fn of_resource(call: &Call, body: &Bytes, validation: FieldValidation) -> Result<Value, StatusError> {
    let resource = &call.resource;
    let expected = Expected {
        api_version: resource.api_version(),
        kind: &resource.info().kind,
        schema: resource.body_schema(),
        protobuf: resource.has_protobuf(),
        cbor: call.info.cbor,
    };
    if resource.has_protobuf() {
        return object(&call.head.headers, body, expected, validation, &call.warnings);
    }
    let media = negotiate::input(&call.head.headers, false, call.info.cbor)?;
    // What stands twice and what is unknown are reported together.
    let lenient = if validation == FieldValidation::Strict { FieldValidation::Warn } else { validation };
    let (mut value, mut reports) = parse(media, body, expected, lenient)?;
    check_kind(&mut value, expected)?;
    let mut unknown = prune(resource, &mut value)?;
    if media == Media::Cbor {
        // Upstream asks its JSON decoder alone for what it left out.
        unknown.clear();
    }
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => reports.into_iter().chain(unknown).for_each(|text| call.warnings.add_strict(&text)),
        FieldValidation::Strict => {
            reports.extend(unknown);
            if !reports.is_empty() {
                return Err(unfit(resource, &format!("strict decoding error: {}", reports.join(", "))));
            }
        }
    }
    Ok(value)
}

/// Removes what a custom resource's schema does not know; texts that tell of it.
pub fn prune(resource: &Resource, object: &mut Value) -> Result<Vec<String>, StatusError> {
    let paths = resource.kind().prune(object).map_err(|why| unfit(resource, &why))?;
    Ok(paths.into_iter().map(|path| format!("unknown field \"{path}\"")).collect())
}

fn unfit(resource: &Resource, why: &str) -> StatusError {
    let (kind, version) = (&resource.info().kind, resource.version());
    StatusError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

fn parse(
    media: Media,
    body: &[u8],
    expected: Expected<'_>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), StatusError> {
    let schema = expected.schema.map(ObjectRef::get);
    match media {
        Media::Json => json::decode(body, schema, validation),
        Media::Yaml => yaml::decode(body, schema, validation),
        Media::Cbor => cbor::decode(body, schema, expected.kind, validation),
        Media::Protobuf => {
            let decoded = protobuf::decode_or(body, expected.api_version, expected.kind);
            decoded.map(|(_, _, value)| (value, Vec::new()))
        }
    }
}

fn version_of(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or(api_version, |(_, version)| version)
}

/// Upstream names the place in its source where what it knows is collected.
fn unregistered(kind: &str, api_version: &str) -> String {
    format!("no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\"")
}

/// Upstream's package of a group's types.
fn package(expected: Expected<'_>) -> &str {
    expected.api_version.rsplit_once('/').map_or("core", |(group, _)| group.split('.').next().unwrap_or(group))
}

fn check_kind(value: &mut Value, expected: Expected<'_>) -> Result<(), StatusError> {
    // For Go's decoder nothing is an object without fields.
    if value.is_null() {
        *value = Value::Object(orlop_api::Map::new());
    }
    let Value::Object(object) = value else {
        return Err(StatusError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): json: cannot unmarshal into Go value (<empty>)",
            expected.kind
        )));
    };
    let text = |object: &orlop_api::Map<String, Value>, field: &str| {
        object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (kind, api_version) = (text(object, "kind"), text(object, "apiVersion"));
    if !kind.is_empty() && kind != expected.kind {
        let known =
            schema::builtin().of(if api_version.is_empty() { expected.api_version } else { &api_version }, &kind);
        let version = version_of(&api_version);
        let why = match known {
            Some(_) => {
                format!("converting (v1.{kind}) to ({}.{}): unknown conversion", package(expected), expected.kind)
            }
            None => unregistered(&kind, &api_version),
        };
        let message = format!("{kind} in version {version:?} cannot be handled as a {}: {why}", expected.kind);
        return Err(StatusError::bad_request(message));
    }
    if !api_version.is_empty() && api_version != expected.api_version {
        if expected.protobuf && schema::builtin().of(&api_version, expected.kind).is_none() {
            let (kind, version) = (expected.kind, version_of(&api_version));
            let why = unregistered(kind, &api_version);
            let message = format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}");
            return Err(StatusError::bad_request(message));
        }
        return Err(StatusError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            expected.api_version
        )));
    }
    object.insert("kind".into(), expected.kind.into());
    object.insert("apiVersion".into(), expected.api_version.into());
    Ok(())
}

/// A `DeleteOptions` body of whatever group version; empty means there is none.
pub fn delete_options(call: &Call, body: &Bytes) -> Result<Option<Value>, StatusError> {
    if body.is_empty() {
        return Ok(None);
    }
    let cbor = call.info.cbor;
    let media = negotiate::input(&call.head.headers, true, cbor)?;
    let expected = Expected { api_version: "v1", kind: "DeleteOptions", schema: None, protobuf: true, cbor };
    let (value, _) = match media {
        Media::Cbor => cbor::decode(body, None, "", FieldValidation::Ignore)?,
        _ => parse(media, body, expected, FieldValidation::Ignore)?,
    };
    match value["kind"].as_str() {
        None | Some("" | "DeleteOptions") => Ok(Some(value)),
        Some(kind) => {
            let api_version = value["apiVersion"].as_str().unwrap_or_default();
            Err(StatusError::bad_request(unregistered(kind, api_version)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(content_type: &str, body: &'static str) -> Result<Value, String> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, content_type.parse().unwrap());
        let expected = Expected { api_version: "v1", kind: "ConfigMap", schema: None, protobuf: true, cbor: false };
        object(&headers, &Bytes::from(body), expected, FieldValidation::Warn, &Warnings::default())
            .map_err(|e| e.message)
    }

    #[test]
    fn fills_in_and_refuses_by_kind() {
        let filled = decode("application/json", r#"{"metadata":{"name":"x"}}"#).unwrap();
        assert_eq!((&filled["kind"], &filled["apiVersion"]), (&"ConfigMap".into(), &"v1".into()));
        let yaml = decode("application/yaml", "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: b\n").unwrap();
        assert_eq!(yaml["data"]["a"], "b");
        let cases = [
            (
                r#"{"kind":"ConfigMap","apiVersion":"v2"}"#,
                "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for",
            ),
            ("", "couldn't get version/kind; json parse error: "),
            ("{\"a\":", "couldn't get version/kind; json parse error: "),
        ];
        for (body, want) in cases {
            let got = decode("application/json", body).unwrap_err();
            assert!(got.starts_with(want), "{got}");
        }
    }
}
