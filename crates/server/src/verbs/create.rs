//! POST (`k8s.io/apiserver/pkg/endpoints/handlers/create.go`, `registry/rest/create.go`).

use std::sync::Arc;

use http::Response;
use orlop_api::codec::json as codec;
use orlop_api::kind::Kind;
use orlop_api::schema::{ObjectRef, Type};
use orlop_api::status::StatusError;
use orlop_api::{Value, meta, object_meta};
use orlop_base::{clock, id};
use orlop_client::transport::{Body, UserInfo};
use orlop_store::{Action, Draft, Entry, Revision, StoreError};
use serde_json::json;

use super::{ensure_namespace, fields, owner, wipe_system_fields};
use crate::Server;
use crate::admission::{Attributes, Operation};
use crate::call::{Call, Warnings};
use crate::extend::{Creator, Undo};
use crate::observe::in_store;
use crate::options::{WriteKind, WriteOptions};
use crate::resource::Resource;
use crate::review::user_info;
use crate::server::store_failed;
use crate::wire::decode::{self, Expected};
use crate::wire::respond::Content;
use crate::wire::{body, raw};

/// How many generated names are tried. Eight keep the chance of failing under 0.1 % at a million
/// names per prefix.
const NAME_ATTEMPTS: usize = 8;
/// Generated names fit in a DNS label: a prefix of at most 58 and five random characters.
const GENERATED_PREFIX_LENGTH: usize = 58;
const GENERATED_SUFFIX_LENGTH: usize = 5;

pub(crate) async fn create(server: &Arc<Server>, call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let output = call.output(false)?;
    let options = WriteOptions::parse(&call.info, WriteKind::Create)?;
    let resource = &call.resource;
    let body = body::read(body).await?;
    let mut object = decode::of_resource(call, &body, options.field_validation)?;
    drop(body);
    resource.kind().set_defaults(resource.version(), &mut object);
    wipe_system_fields(&mut object);
    ensure_namespace(&mut object, call.namespace())?;
    call.trail.request_object(&object);
    owner::deduplicate(&mut object, &call.warnings, false);
    fields::update(call, None, &mut object, &call.manager(&options.field_manager));
    resource.to_stored(&mut object);
    let mut attributes = call.attributes(Operation::Create, object, options.dry_run);
    name_attributes(&mut attributes);
    server.admit(&mut attributes).await?;
    let content = insert(server, attributes).await?;
    call.respond(output, 201, server.present_content(resource, content).await?)
}

/// On create the name comes from the object, and a namespace is its own namespace.
fn name_attributes(attributes: &mut Attributes) {
    meta::name(&attributes.object).clone_into(&mut attributes.name);
    if attributes.is("", "namespaces") {
        attributes.namespace.clone_from(&attributes.name);
    }
}

/// Stores a new object that has passed mutating admission; fills in what the system sets.
pub(crate) async fn insert(server: &Server, mut attributes: Attributes) -> Result<Content, StatusError> {
    let object = &mut attributes.object;
    owner::deduplicate(object, &attributes.warnings, true);
    // The store's rule, which a dry run does not reach.
    if !attributes.dry_run && !meta::resource_version(object).is_empty() {
        let text = "resourceVersion should not be set on objects to be created";
        return Err(StatusError::new(500, "", text));
    }
    meta::set(object, "creationTimestamp", clock::rfc3339());
    meta::set(object, "uid", id::uuid());
    let generated = meta::name(object).is_empty() && !meta::get(object, "generateName").is_empty();
    if generated {
        let name = generate_name(meta::get(object, "generateName"));
        meta::set(object, "name", name);
    }
    let given = server.store.is_shared().then(|| object.clone());
    loop {
        if let Some(content) = attempt(server, &mut attributes, generated).await? {
            return Ok(content);
        }
        // What was drawn for it may be somebody else's by now.
        attributes.object = given.clone().expect("only where a store is shared are writers overtaken");
    }
}

/// `None`: another server drew from the same ranges in between.
async fn attempt(
    server: &Server,
    attributes: &mut Attributes,
    generated: bool,
) -> Result<Option<Content>, StatusError> {
    let resource = attributes.resource.clone();
    let turn = server.allocators.turn(server, &resource).await?;
    let object = &mut attributes.object;
    let undo = begin(server, &resource, object, attributes.dry_run)?;
    prepare(server, &resource, object, &attributes.user, &attributes.warnings)?;
    for attempt in 1.. {
        meta::name(&attributes.object).clone_into(&mut attributes.name);
        server.validate(attributes).await?;
        resource.settle(&mut attributes.object);
        match store(server, attributes, turn.unless_newer).await {
            Ok(Some(content)) => {
                undo.into_iter().for_each(Undo::committed);
                return Ok(Some(content));
            }
            Ok(None) => return Ok(None),
            Err(error) if generated && error.is_already_exists() => {
                if attempt == NAME_ATTEMPTS {
                    return Err(name_conflict(&resource, &attributes.name));
                }
                let name = generate_name(meta::get(&attributes.object, "generateName"));
                meta::set(&mut attributes.object, "name", name);
            }
            Err(error) => return Err(error),
        }
    }
    unreachable!("the loop ends by returning")
}

fn generate_name(prefix: &str) -> String {
    let end = (0..=prefix.len().min(GENERATED_PREFIX_LENGTH)).rev().find(|at| prefix.is_char_boundary(*at));
    format!("{}{}", &prefix[..end.unwrap_or(0)], id::suffix(GENERATED_SUFFIX_LENGTH))
}

fn begin(server: &Server, resource: &Resource, object: &mut Value, dry_run: bool) -> Result<Vec<Undo>, StatusError> {
    let hooks = server.extensions.hooks(resource.storage_key());
    hooks.map(|hook| hook.begin_create(server, object, dry_run)).collect()
}

/// The kind's own preparation and validation, then what holds for all kinds.
fn prepare(
    server: &Server,
    resource: &Resource,
    object: &mut Value,
    user: &UserInfo,
    warnings: &Warnings,
) -> Result<(), StatusError> {
    let (kind, info) = (resource.kind(), resource.info());
    kind.warnings_as_sent(object).into_iter().for_each(|text| warnings.add(text));
    kind.prepare_create(object);
    kind.drop_disabled(object, &Value::Null);
    // A status that was dropped is an empty one, where Go writes it.
    if let (Some(schema), Value::Object(fields)) = (kind.schema(&info.storage_version), &mut *object) {
        codec::fill(fields, schema.get());
    }
    if kind.always_has_status() && object["status"].is_null() {
        object["status"] = json!({});
    }
    complete_status(kind, object);
    resource.complete(object);
    kind.record_requester(object, &user_info(user));
    if info.has_generation && kind.generation_from_creation() {
        meta::set(object, "generation", 1);
    }
    let mut errors = server.extensions.permit(server, resource.storage_key(), object);
    errors.extend(kind.validate(object));
    server.extensions.validate(server, resource.storage_key(), object, None, &mut errors);
    if errors.is_empty() {
        errors = object_meta::validate(object, info.namespaced, object_meta::path_segment_rule);
    }
    errors.once();
    if !errors.is_empty() {
        return Err(StatusError::invalid(info.error_group(), &info.kind, meta::name(object), &errors));
    }
    for text in kind.warnings("", object, None) {
        warnings.add(text);
    }
    Ok(())
}

/// A status that the kind began has the fields that Go always writes.
fn complete_status(kind: &dyn Kind, object: &mut Value) {
    let schema = kind.schema(&kind.info().storage_version);
    let field = schema.as_ref().and_then(|schema| schema.get().field("status"));
    if let Some(Type::Object(status)) = field.map(|field| &field.ty)
        && let Some(value) = object.get_mut("status")
    {
        codec::complete(value, status.get());
    }
}

async fn store(
    server: &Server,
    attributes: &Attributes,
    unless_newer: Option<Revision>,
) -> Result<Option<Content>, StatusError> {
    let resource = &attributes.resource;
    let object = &attributes.object;
    let key = resource.key(meta::namespace(object), meta::name(object));
    if attributes.dry_run {
        return match server.store.newest(&key) {
            Some(existing) => Err(exists(resource, &existing)),
            None => Ok(Some(Content::Stored(orlop_api::codec::json::encode(object).into()))),
        };
    }
    let draft = server.stored_draft(resource, object).await?.unwrap_or_else(|| Draft::encode(object));
    let create = Action::Create(draft);
    let writing = server.store.write(key.clone(), create, Server::durability(resource), unless_newer);
    match in_store("Create etcd3", resource, Some(&key), writing).await {
        Ok(entry) => Ok(Some(Content::Entry(entry))),
        Err(StoreError::Overtaken) => Ok(None),
        Err(StoreError::Exists) => Err(match server.store.newest(&key) {
            Some(existing) => exists(resource, &existing),
            None => StatusError::already_exists(resource.group_resource(), &key.name),
        }),
        Err(error) => Err(store_failed(error)),
    }
}

fn exists(resource: &Resource, existing: &Entry) -> StatusError {
    let mut status = StatusError::already_exists(resource.group_resource(), &existing.key.name);
    if raw::find(&existing.json, &["metadata", "deletionTimestamp"]).is_some() {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}

fn name_conflict(resource: &Resource, name: &str) -> StatusError {
    let mut status = StatusError::already_exists(resource.group_resource(), name);
    status.message.push_str(", the server was not able to generate a unique name for the object");
    if let Some(Value::Object(details)) = status.details.as_deref_mut() {
        details.insert("retryAfterSeconds".into(), 1.into());
    }
    status
}

/// POST to a handler that takes an object and answers with one: reviews, tokens, bindings.
pub(crate) async fn create_virtual(
    server: &Arc<Server>,
    call: &Call,
    creator: &dyn Creator,
    body: Body,
) -> Result<Response<Body>, StatusError> {
    let output = call.output_other()?;
    let options = WriteOptions::parse(&call.info, WriteKind::Create)?;
    let (api_version, kind) = call.body_kind();
    let schema = orlop_api::schema::builtin().of(&api_version, &kind);
    let expected = call.expects(&api_version, &kind, schema.as_ref());
    let body = body::read(body).await?;
    let mut object = decode::object(&call.head.headers, &body, expected, options.field_validation, &call.warnings)?;
    if call.info.subresource.is_empty() {
        call.resource.kind().set_defaults(call.resource.version(), &mut object);
    }
    ensure_namespace(&mut object, call.namespace())?;
    call.trail.request_object(&object);
    let manager = call.manager(&options.field_manager);
    if call.info.subresource.is_empty() {
        fields::update(call, None, &mut object, &manager);
    }
    creator.begin(call, &mut object, &manager);
    let mut attributes = call.attributes(Operation::Create, object, options.dry_run);
    server.admit(&mut attributes).await?;
    server.validate(&attributes).await?;
    let answer = creator.create(server, call, attributes.object, options.dry_run).await?;
    call.respond(output, 201, Content::Value(answer))
}

impl Call {
    /// A body of a built-in kind.
    pub(crate) fn expects<'a>(
        &self,
        api_version: &'a str,
        kind: &'a str,
        schema: Option<&'a ObjectRef>,
    ) -> Expected<'a> {
        Expected { api_version, kind, schema, protobuf: true, cbor: self.info.cbor }
    }

    /// apiVersion and kind of this request's body: the subresource's own or the resource's.
    pub(crate) fn body_kind(&self) -> (String, String) {
        let resource = &self.resource;
        let Some(sub) = resource.info().subresource(&self.info.subresource) else {
            return (resource.api_version().to_owned(), resource.info().kind.to_string());
        };
        let api_version = match (&*sub.group, &*sub.version) {
            (_, "") => resource.api_version().to_owned(),
            ("", version) => version.to_owned(),
            (group, version) => format!("{group}/{version}"),
        };
        (api_version, sub.kind.to_string())
    }
}
