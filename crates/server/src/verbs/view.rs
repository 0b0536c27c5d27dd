//! Subresources with a body of another kind, kept inside their parent (scale).

use std::sync::Arc;

use http::Response;
use orlop_api::managed_fields::FieldManager;
use orlop_api::managed_fields::scale::{Replicas, Scale};
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_base::clock;
use orlop_client::transport::Body;

use super::{Change, change, get, patch};
use crate::Server;
use crate::call::Call;
use crate::extend::View;
use crate::options::{WriteKind, WriteOptions};
use crate::wire::body;
use crate::wire::decode;
use crate::wire::respond::Content;

pub(crate) async fn get_view(
    server: &Arc<Server>,
    call: &Call,
    view: &dyn View,
) -> Result<Response<Body>, StatusError> {
    let output = call.output_other()?;
    let entry = get::read(server, call).await?;
    let parent = call.resource.parse(&entry)?;
    call.respond(output, 200, Content::Value(view.read(&parent)?))
}

pub(crate) async fn update_view(
    server: &Arc<Server>,
    call: &Call,
    view: &dyn View,
    body: Body,
) -> Result<Response<Body>, StatusError> {
    let options = WriteOptions::parse(&call.info, WriteKind::Update)?;
    let (api_version, kind) = call.body_kind();
    let schema = orlop_api::schema::builtin().of(&api_version, &kind);
    let expected = call.expects(&api_version, &kind, schema.as_ref());
    let body = body::read(body).await?;
    let sent = decode::object(&call.head.headers, &body, expected, options.field_validation, &call.warnings)?;
    call.trail.request_object(&sent);
    write(server, call, view, &options, &mut |current, fields| {
        let mut changed = sent.clone();
        fields.on_update(Some(current), &mut changed);
        Ok(changed)
    })
    .await
}

pub(crate) async fn patch_view(
    server: &Arc<Server>,
    call: &Call,
    view: &dyn View,
    body: Body,
) -> Result<Response<Body>, StatusError> {
    let (api_version, kind) = call.body_kind();
    let schema = orlop_api::schema::builtin().of(&api_version, &kind);
    let patch = patch::Patch::read(call, body, schema).await?;
    write(server, call, view, &patch.options, &mut |current, fields| {
        if let Some((applied, force)) = patch.applied() {
            patch.intact()?;
            return fields.on_apply(Some(current), applied, force);
        }
        let mut changed = patch.apply_to(call, current)?;
        fields.on_update(Some(current), &mut changed);
        Ok(changed)
    })
    .await
}

/// The view after a write, with managedFields as the view has them.
type Make<'a> = dyn FnMut(&Value, FieldManager<'_>) -> Result<Value, StatusError> + Send + 'a;

/// Writes what `make` makes of the current view.
async fn write(
    server: &Server,
    call: &Call,
    view: &dyn View,
    options: &WriteOptions,
    make: &mut Make<'_>,
) -> Result<Response<Body>, StatusError> {
    let output = call.output_other()?;
    let manager = call.manager(&options.field_manager);
    let paths = view.replicas();
    let replicas = Replicas { paths: &paths, api_version: call.resource.api_version() };
    let mut transform = |old: Option<&Value>| -> Result<Value, StatusError> {
        let old = old.ok_or_else(|| call.not_found())?;
        let entries = &old["metadata"]["managedFields"];
        let mut current = view.read(old)?;
        meta::set(&mut current, "managedFields", replicas.to_scale(entries).map_err(StatusError::internal)?);
        let now = clock::rfc3339();
        let subresource = &*call.info.subresource;
        let fields = FieldManager { kind: &Scale, version: "v1", subresource, manager: &manager, now: &now };
        let changed = make(&current, fields)?;
        check_name(call, &changed)?;
        let mut parent = old.clone();
        view.write(&changed, &mut parent)?;
        match meta::resource_version(&changed) {
            "" => meta::remove(&mut parent, "resourceVersion"),
            version => meta::set(&mut parent, "resourceVersion", version),
        }
        let owners = replicas.to_parent(entries, &changed["metadata"]["managedFields"]);
        meta::set(&mut parent, "managedFields", owners.map_err(StatusError::internal)?);
        Ok(parent)
    };
    let (code, content) =
        change(server, Change { call, dry_run: options.dry_run, may_create: false, transform: &mut transform }).await?;
    let parent: Value = match &content {
        Content::Entry(entry) => call.resource.parse(entry)?,
        Content::Stored(json) => serde_json::from_slice(json).map_err(StatusError::internal)?,
        Content::Value(value) => value.clone(),
    };
    call.respond(output, code, Content::Value(view.read(&parent)?))
}

fn check_name(call: &Call, object: &Value) -> Result<(), StatusError> {
    let name = meta::name(object);
    if name == call.info.name {
        return Ok(());
    }
    Err(StatusError::bad_request(format!(
        "the name of the object ({name}) does not match the name on the URL ({})",
        call.info.name
    )))
}
