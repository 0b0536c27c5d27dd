//! Changing a stored object: read the newest, transform, check, write, again if somebody was faster
//! (`registry/generic/registry/store.go`, `registry/rest/update.go`).

use std::sync::Arc;

use orlop_api::field::{ErrorList, Path};
use orlop_api::status::StatusError;
use orlop_api::{Value, meta, object_meta};
use orlop_store::{Action, Draft, Entry, Revision, StoreError};

use super::{create, deletion, ensure_namespace, fields, owner, wipe_system_fields};
use crate::Server;
use crate::admission::{Attributes, Operation};
use crate::call::Call;
use crate::extend::Undo;
use crate::observe::in_store;
use crate::options;
use crate::request::RequestInfo;
use crate::resource::Resource;
use crate::server::store_failed;
use crate::wire::draft;
use crate::wire::respond::Content;

/// Makes the new object from the old one (`None`: there is none yet), both in the request's version.
pub(crate) type Transform<'a> = dyn FnMut(Option<&Value>) -> Result<Value, StatusError> + Send + 'a;

/// One change to one object.
pub(crate) struct Change<'a> {
    pub call: &'a Call,
    pub dry_run: bool,
    /// Create what is missing instead of answering 404.
    pub may_create: bool,
    pub transform: &'a mut Transform<'a>,
}

/// Carries the change out; the code is 201 when it created the object.
pub(crate) async fn change(server: &Server, mut change: Change<'_>) -> Result<(u16, Content), StatusError> {
    let call = change.call;
    let key = call.resource.key(call.namespace(), &call.info.name);
    loop {
        let Some(existing) = server.store.newest(&key) else {
            if !change.may_create {
                return Err(call.not_found());
            }
            match create_missing(server, &mut change).await {
                Err(error) if error.is_already_exists() && server.store.newest(&key).is_some() => continue,
                other => return Ok((201, server.present_content(&call.resource, other?).await?)),
            }
        };
        if let Some(content) = attempt(server, &mut change, &existing).await? {
            return Ok((200, server.present_content(&call.resource, content).await?));
        }
    }
}

async fn create_missing(server: &Server, change: &mut Change<'_>) -> Result<Content, StatusError> {
    let call = change.call;
    let mut object = (change.transform)(None)?;
    check_identity(call, &mut object)?;
    if !meta::uid(&object).is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            meta::uid(&object)
        );
        return Err(StatusError::conflict(call.resource.group_resource(), &call.info.name, &why));
    }
    server.permit(&call.user, &RequestInfo { verb: "create".into(), ..RequestInfo::clone(&call.info) }).await?;
    wipe_system_fields(&mut object);
    meta::remove(&mut object, "resourceVersion");
    call.resource.to_stored(&mut object);
    let mut attributes = call.attributes(Operation::Create, object, change.dry_run);
    server.admit(&mut attributes).await?;
    create::insert(server, attributes).await
}

/// `None`: somebody else wrote in between.
async fn attempt(
    server: &Server,
    change: &mut Change<'_>,
    existing: &Arc<Entry>,
) -> Result<Option<Content>, StatusError> {
    let call = change.call;
    let resource = &call.resource;
    let old = Arc::new(resource.parse(&*server.present_one(resource, existing.clone()).await?)?);
    let mut object = (change.transform)(Some(&*resource.versioned(&old)))?;
    check_identity(call, &mut object)?;
    resource.to_stored(&mut object);
    let mut attributes = call.attributes(Operation::Update, object, change.dry_run);
    attributes.old_object = Some(old.clone());
    server.admit(&mut attributes).await?;
    owner::deduplicate(&mut attributes.object, &attributes.warnings, true);
    check_version(resource, &mut attributes.object, existing)?;
    let turn = match &*attributes.subresource {
        "" => Some(server.allocators.turn(server, resource).await?),
        _ => None,
    };
    let undo = begin(server, &mut attributes, &old)?;
    prepare(server, &mut attributes, &old)?;
    server.validate(&attributes).await?;
    resource.settle(&mut attributes.object);
    fields::keep_times_of_noop(&old, &mut attributes.object);
    let unless_newer = turn.as_ref().and_then(|turn| turn.unless_newer);
    let written = write(server, &attributes, existing, &old, unless_newer).await?;
    if written.is_some() {
        undo.into_iter().for_each(Undo::committed);
    }
    Ok(written)
}

/// Name and namespace must be those of the URL.
fn check_identity(call: &Call, object: &mut Value) -> Result<(), StatusError> {
    ensure_namespace(object, call.namespace())?;
    match meta::name(object) {
        name if name == call.info.name => Ok(()),
        "" => Err(StatusError::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.info.name
        ))),
        name => Err(StatusError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.info.name
        ))),
    }
}

/// The version the client saw must be the newest, unless it named none and the kind allows that.
fn check_version(resource: &Resource, object: &mut Value, existing: &Entry) -> Result<(), StatusError> {
    let gr = resource.group_resource();
    let invalid = |value: Value, why: &str| {
        let mut errors = ErrorList::default();
        errors.invalid(&Path::new("metadata").child("resourceVersion"), value, why);
        StatusError::invalid(gr.group, gr.resource, &existing.key.name, &errors)
    };
    let sent = meta::resource_version(object);
    match options::parse_revision(sent) {
        Err(_) => Err(StatusError::new(500, "", super::get::no_number(sent))),
        Ok(0) if resource.kind().unconditional_update() => {
            meta::set(object, "resourceVersion", existing.revision.to_string());
            Ok(())
        }
        Ok(0) => Err(invalid(0.into(), "must be specified for an update")),
        Ok(version) if version == existing.revision => Ok(()),
        Ok(_) => Err(StatusError::conflict(
            gr,
            &existing.key.name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )),
    }
}

/// Allocations follow changes of the resource itself, never of its subresources.
fn begin(server: &Server, attributes: &mut Attributes, old: &Value) -> Result<Vec<Undo>, StatusError> {
    if !attributes.subresource.is_empty() {
        return Ok(Vec::new());
    }
    let hooks = server.extensions.hooks(attributes.resource.storage_key());
    hooks.map(|hook| hook.begin_update(server, &mut attributes.object, old, attributes.dry_run)).collect()
}

/// The kind's preparation and validation, around what holds for all kinds.
fn prepare(server: &Server, attributes: &mut Attributes, old: &Value) -> Result<(), StatusError> {
    let resource = attributes.resource.clone();
    let (kind, info) = (resource.kind(), resource.info());
    let (object, subresource) = (&mut attributes.object, &*attributes.subresource);
    keep(object, old, "generation");
    let counts = info.has_generation && subresource.is_empty() && kind.generation_changes_as_sent(object, old);
    match subresource {
        "" => {
            kind.prepare_update(object, old);
            kind.drop_disabled(object, old);
        }
        sub => kind.prepare_subresource(sub, object, old),
    }
    resource.complete(object);
    keep(object, old, "generation");
    if counts || info.has_generation && subresource != "status" && kind.generation_changed(object, old) {
        meta::set(object, "generation", old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
    }
    restore_system_fields(object, old);
    let mut errors = object_meta::validate(object, info.namespaced, object_meta::path_segment_rule);
    errors.extend(object_meta::validate_update(object, old));
    let (found, warnings) = kind.check_update(subresource, object, old);
    errors.extend(found);
    if subresource.is_empty() {
        server.extensions.validate(server, resource.storage_key(), object, Some(old), &mut errors);
    }
    errors.once();
    if !errors.is_empty() {
        return Err(StatusError::invalid(info.error_group(), &info.kind, meta::name(object), &errors));
    }
    for text in kind.warnings(subresource, object, Some(old)).into_iter().chain(warnings) {
        attributes.warnings.add(text);
    }
    Ok(())
}

fn keep(object: &mut Value, old: &Value, field: &str) {
    match old["metadata"].get(field) {
        Some(value) => meta::set(object, field, value.clone()),
        None => meta::remove(object, field),
    }
}

/// What an update cannot change even when it tries.
fn restore_system_fields(object: &mut Value, old: &Value) {
    if meta::uid(object).is_empty() {
        keep(object, old, "uid");
    }
    if old["metadata"]["creationTimestamp"].is_string() {
        keep(object, old, "creationTimestamp");
    }
    if meta::is_terminating(old) {
        keep(object, old, "deletionTimestamp");
    }
    if object["metadata"]["deletionGracePeriodSeconds"].is_null() {
        keep(object, old, "deletionGracePeriodSeconds");
    }
}

async fn write(
    server: &Server,
    attributes: &Attributes,
    existing: &Arc<Entry>,
    old: &Value,
    unless_newer: Option<Revision>,
) -> Result<Option<Content>, StatusError> {
    let (resource, key) = (&attributes.resource, &existing.key);
    let new = Draft::encode(&attributes.object);
    let durability = Server::durability(resource);
    let may_go = server.extensions.hooks(resource.storage_key()).all(|hook| hook.may_remove(&attributes.object));
    if may_go && deletion::removes(&attributes.object, old) {
        let answer = Content::Stored(draft::fill(&new, &existing.revision.to_string()));
        if attributes.dry_run {
            return Ok(Some(answer));
        }
        let last = draft::reopen(&existing.json);
        let removing = server.store.delete(key, existing.revision, last, durability);
        let removed = in_store("Delete etcd3", resource, Some(key), removing).await;
        return Ok(unless_overtaken(removed)?.map(|_| {
            after_delete(server, resource, &attributes.object);
            answer
        }));
    }
    let stored = server.stored_draft(resource, &attributes.object).await?;
    let unchanged = draft::is_unchanged(stored.as_ref().unwrap_or(&new), &existing.json, existing.revision);
    if unchanged && !server.store.is_stale(existing) {
        // Nobody may hear of a write before it is safe, not even of one that changes nothing.
        until_safe(server, existing).await?;
        return Ok(Some(Content::Entry(existing.clone())));
    }
    if attributes.dry_run {
        return Ok(Some(Content::Stored(draft::fill(&new, &existing.revision.to_string()))));
    }
    let update = Action::Update { expected: existing.revision, draft: stored.unwrap_or(new) };
    let writing = server.store.write(key.clone(), update, durability, unless_newer);
    let written = in_store("GuaranteedUpdate etcd3", resource, Some(key), writing).await;
    Ok(unless_overtaken(written)?.map(Content::Entry))
}

pub(super) fn after_delete(server: &Server, resource: &Resource, object: &Value) {
    server.extensions.hooks(resource.storage_key()).for_each(|hook| hook.after_delete(server, object));
}

/// `None` when another writer was first.
pub(super) fn unless_overtaken(result: Result<Arc<Entry>, StoreError>) -> Result<Option<Arc<Entry>>, StatusError> {
    match result {
        Ok(entry) => Ok(Some(entry)),
        Err(StoreError::Conflict(_) | StoreError::NotFound | StoreError::Overtaken) => Ok(None),
        Err(error) => Err(store_failed(error)),
    }
}

/// Nobody may hear of a state before it is durable.
pub(super) async fn until_safe(server: &Server, entry: &Entry) -> Result<(), StatusError> {
    server.store.wait_for(entry.revision).await.map_err(store_failed)
}
