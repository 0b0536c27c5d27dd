//! PATCH: JSON Patch, merge patch, strategic merge patch and server-side apply
//! (`k8s.io/apiserver/pkg/endpoints/handlers/patch.go`).

use std::sync::Arc;

use http::Response;
use http::request::Parts;
use orlop_api::codec::json::FieldValidation;
use orlop_api::codec::{cbor, json, yaml};
use orlop_api::field::{ErrorList, Path};
use orlop_api::patch;
use orlop_api::schema::ObjectRef;
use orlop_api::status::StatusError;
use orlop_api::{Map, Value};
use orlop_client::transport::Body;

use super::{Change, change, fields};
use crate::Server;
use crate::call::Call;
use crate::options::{WriteKind, WriteOptions};
use crate::request::RequestInfo;
use crate::resource::Resource;
use crate::wire::{body, decode, negotiate};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
    ApplyCbor,
}

impl Format {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Json, "application/json-patch+json"),
        (Self::Merge, "application/merge-patch+json"),
        (Self::Strategic, "application/strategic-merge-patch+json"),
        (Self::Apply, "application/apply-patch+yaml"),
        (Self::ApplyCbor, "application/apply-patch+cbor"),
    ];

    /// Custom resources have no strategic merge patch.
    fn of(head: &Parts, info: &RequestInfo, resource: &Resource) -> Result<Self, StatusError> {
        let sent = negotiate::content_type(&head.headers);
        let is_offered = |format: Self| match format {
            Self::Strategic => resource.has_protobuf(),
            Self::ApplyCbor => info.cbor,
            _ => true,
        };
        let offered = || Self::ALL.iter().filter(|(format, _)| is_offered(*format));
        if let Some((format, _)) = offered().find(|(_, name)| *name == sent) {
            return Ok(*format);
        }
        // Upstream's router refuses it, in words of its own.
        let refused = StatusError::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
        Err(refused.with_details(Value::Object(Map::new())))
    }

    fn is_apply(self) -> bool {
        matches!(self, Self::Apply | Self::ApplyCbor)
    }
}

/// 415 for a patch of no known format, of which nothing else is said then.
pub(crate) fn check_format(head: &Parts, info: &RequestInfo, resource: &Resource) -> Result<(), StatusError> {
    Format::of(head, info, resource).map(drop)
}

pub(crate) async fn patch(server: &Arc<Server>, call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let patch = Patch::read(call, body, call.resource.body_schema().cloned()).await?;
    let output = call.output(false)?;
    let resource = &call.resource;
    let manager = call.manager(&patch.options.field_manager);
    let mut transform = |old: Option<&Value>| -> Result<Value, StatusError> {
        if let Some((applied, force)) = patch.applied() {
            patch.intact()?;
            let mut object = fields::apply(call, old, applied, &manager, force)?;
            patch.report(call, patch.duplicates.clone())?;
            match resource.body_schema() {
                Some(schema) => json::normalise(&mut object, schema.get()),
                None => patch.report(call, decode::prune(resource, &mut object)?)?,
            }
            resource.kind().set_defaults(resource.version(), &mut object);
            return Ok(object);
        }
        let old = old.ok_or_else(|| call.not_found())?;
        let mut object = patch.apply_to(call, old)?;
        resource.kind().set_defaults(resource.version(), &mut object);
        fields::update(call, Some(old), &mut object, &manager);
        Ok(object)
    };
    let may_create = patch.applied().is_some() && call.info.subresource.is_empty();
    let (code, content) =
        change(server, Change { call, dry_run: patch.options.dry_run, may_create, transform: &mut transform }).await?;
    call.respond(output, code, content)
}

/// What Go's decoder says of a patch that should have been an object.
fn no_object(format: Format, body: &[u8]) -> String {
    let parsed = match format {
        Format::Apply => match yaml::from_yaml(body) {
            Ok(value) => Some(value),
            Err(error) => return format!("error encoding patch: {error}"),
        },
        _ => serde_json::from_slice(body).ok(),
    };
    let found = match parsed {
        Some(Value::Array(_)) => "array",
        Some(Value::String(_)) => "string",
        Some(Value::Number(_)) => "number",
        Some(Value::Bool(_)) => "bool",
        _ => return "invalid JSON patch".to_owned(),
    };
    let prefix = if format == Format::Strategic { "" } else { "error decoding patch: " };
    format!("{prefix}json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
}

/// A patch as it was sent.
pub(super) struct Patch {
    pub options: WriteOptions,
    format: Format,
    value: Value,
    /// Why the body is no patch; said only once it is known that there is something to patch.
    broken: Option<StatusError>,
    /// Fields the patch itself names twice.
    duplicates: Vec<String>,
    /// What the patched object must be; custom resources are pruned instead.
    schema: Option<ObjectRef>,
}

impl Patch {
    pub async fn read(call: &Call, body: Body, schema: Option<ObjectRef>) -> Result<Self, StatusError> {
        let format = Format::of(&call.head, &call.info, &call.resource)?;
        let body = body::read(body).await?;
        let options = WriteOptions::parse(&call.info, WriteKind::Patch { apply: format.is_apply() })?;
        let parsed = match format {
            Format::Apply => yaml::decode(&body, None, FieldValidation::Warn)
                .map_err(|_| StatusError::bad_request(no_object(format, &body))),
            Format::ApplyCbor => cbor::from_cbor(&body)
                .map(|value| (value, Vec::new()))
                .map_err(|why| StatusError::bad_request(format!("error decoding patch: {why}"))),
            // A list of operations is no object: nothing in it can stand twice.
            Format::Json => serde_json::from_slice(&body)
                .map(|operations| (operations, Vec::new()))
                .map_err(|_| StatusError::bad_request("invalid JSON patch")),
            _ => json::decode(&body, None, FieldValidation::Warn)
                .map_err(|_| StatusError::bad_request(no_object(format, &body))),
        };
        let (parsed, broken) = parsed.map_or_else(|error| (Default::default(), Some(error)), |parsed| (parsed, None));
        let (value, duplicates) = parsed;
        if broken.is_none() {
            call.trail.request_body(&value);
        }
        Ok(Self { options, format, value, broken, duplicates, schema })
    }

    pub fn intact(&self) -> Result<(), StatusError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// The applied object and whether it may take fields from others, if this is server-side apply.
    pub fn applied(&self) -> Option<(&Value, bool)> {
        self.format.is_apply().then_some((&self.value, self.options.force == Some(true)))
    }

    /// The patched object, decoded as if a client had sent it.
    pub fn apply_to(&self, call: &Call, current: &Value) -> Result<Value, StatusError> {
        self.intact()?;
        let (current, value) = (current.clone(), &self.value);
        let patched = match (self.format, &self.schema) {
            (Format::Json, _) => {
                patch::json::apply(current, value, self.options.field_validation != FieldValidation::Ignore)?
            }
            (Format::Strategic, Some(schema)) => patch::strategic::apply(current, value.clone(), schema.get())?,
            _ => patch::merge::apply(current, value.clone())?,
        };
        let bytes = json::encode(&patched);
        let schema = self.schema.as_ref().map(ObjectRef::get);
        let decoded = json::decode(&bytes, schema, FieldValidation::Warn);
        let (mut object, mut unknown) = decoded.map_err(|error| self.undecodable(&bytes, &error.message))?;
        if schema.is_none() {
            unknown.extend(decode::prune(&call.resource, &mut object)?);
        }
        let known = schema.is_none() || self.name_type(call, &mut object);
        if !known {
            let fields = object.as_object().into_iter().flatten().filter(|(field, _)| *field != "kind");
            unknown.extend(fields.map(|(field, _)| format!("unknown field \"{field}\"")));
        }
        let mut reports = self.duplicates.clone();
        if self.format == Format::Json {
            reports.extend(patch::json::unknown_fields(value));
        }
        reports.extend(unknown);
        if self.options.field_validation == FieldValidation::Strict && !reports.is_empty() {
            return Err(self.undecodable(&bytes, &format!("strict decoding error: {}", reports.join(", "))));
        }
        self.report(call, reports)?;
        if !known {
            let name = &call.info.name;
            return Err(StatusError::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        Ok(object)
    }

    /// Gives back a kind or version that the patch took away. Without a version upstream reads a patched built-in
    /// object as its internal type, which has no field by any of these names; only a strategic patch is spared.
    fn name_type(&self, call: &Call, object: &mut Value) -> bool {
        let has = |object: &Value, field: &str| object[field].as_str().is_some_and(|text| !text.is_empty());
        if self.format != Format::Strategic && !has(object, "apiVersion") {
            return false;
        }
        let (api_version, kind) = call.body_kind();
        for (field, value) in [("apiVersion", api_version), ("kind", kind)] {
            if !has(object, field) {
                object[field] = value.into();
            }
        }
        true
    }

    /// What strict decoding found: an error or warnings, as the client asked.
    fn report(&self, call: &Call, reports: Vec<String>) -> Result<(), StatusError> {
        match self.options.field_validation {
            FieldValidation::Ignore => Ok(()),
            FieldValidation::Warn => {
                for text in reports {
                    call.warnings.add_strict(&text);
                }
                Ok(())
            }
            FieldValidation::Strict if reports.is_empty() => Ok(()),
            FieldValidation::Strict => {
                Err(StatusError::bad_request(format!("error strict decoding patch: {}", reports.join(", "))))
            }
        }
    }

    /// 422 that quotes the patched object, or the patch itself for a strategic one.
    fn undecodable(&self, patched: &[u8], why: &str) -> StatusError {
        let shown = match self.format {
            Format::Strategic => patch::go_format(&self.value),
            _ => String::from_utf8_lossy(patched).into_owned(),
        };
        // The decoder names the kind first; here the patch is what is wrong.
        let why = why
            .split_once("cannot be handled as a ")
            .map_or(why, |(_, rest)| rest.split_once(": ").map_or(rest, |(_, why)| why));
        let mut errors = ErrorList::default();
        errors.invalid(&Path::new("patch"), shown, why);
        StatusError::invalid("", "", "", &errors)
    }
}
