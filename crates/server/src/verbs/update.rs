//! PUT (`k8s.io/apiserver/pkg/endpoints/handlers/update.go`).

use std::sync::Arc;

use http::Response;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_client::transport::Body;

use super::{Change, change, etcd_key, fields, owner};
use crate::Server;
use crate::call::Call;
use crate::options::{WriteKind, WriteOptions};
use crate::wire::{body, decode};

pub(crate) async fn update(server: &Arc<Server>, call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let output = call.output(false)?;
    let body = body::read(body).await?;
    let options = WriteOptions::parse(&call.info, WriteKind::Update)?;
    let resource = &call.resource;
    let decode = || -> Result<Value, StatusError> {
        let mut object = decode::of_resource(call, &body, options.field_validation)?;
        resource.kind().set_defaults(resource.version(), &mut object);
        owner::deduplicate(&mut object, &call.warnings, false);
        Ok(object)
    };
    // Decoded again only when another writer forces a second attempt.
    let mut decoded = Some(decode()?);
    decoded.iter().for_each(|object| call.trail.request_object(object));
    let manager = call.manager(&options.field_manager);
    let mut transform = |old: Option<&Value>| -> Result<Value, StatusError> {
        let mut object = decoded.take().map_or_else(decode, Ok)?;
        check_uid(call, &object, old, options.dry_run)?;
        fields::update(call, old, &mut object, &manager);
        Ok(object)
    };
    let (code, content) = change(
        server,
        Change {
            call,
            dry_run: options.dry_run,
            may_create: call.info.subresource.is_empty() && resource.kind().create_on_update(),
            transform: &mut transform,
        },
    )
    .await?;
    call.respond(output, code, content)
}

/// A uid in the body is a precondition.
fn check_uid(call: &Call, object: &Value, old: Option<&Value>, dry_run: bool) -> Result<(), StatusError> {
    let sent = meta::uid(object);
    let Some(stored) = old.map(meta::uid) else { return Ok(()) };
    if sent.is_empty() || sent == stored {
        return Ok(());
    }
    let key = etcd_key(&call.resource, call.namespace(), &call.info.name, dry_run);
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
         failed: UID in precondition: {sent}, UID in object meta: {stored}"
    );
    Err(StatusError::conflict(call.resource.group_resource(), &call.info.name, &why))
}
