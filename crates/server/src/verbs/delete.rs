//! DELETE of one object (`k8s.io/apiserver/pkg/endpoints/handlers/delete.go`).

use std::sync::Arc;

use http::Response;
use orlop_api::status::StatusError;
use orlop_api::{Map, Value, meta};
use orlop_base::clock;
use orlop_client::transport::Body;
use orlop_store::{Draft, Entry, Key};
use serde_json::json;

use super::change::{after_delete, unless_overtaken, until_safe};
use super::deletion::{self, Step};
use super::unsafe_delete::unsafe_delete;
use crate::Server;
use crate::admission::Operation;
use crate::call::Call;
use crate::observe::in_store;
use crate::options::DeleteOptions;
use crate::resource::{Resource, parse_stored};
use crate::wire::respond::Content;
use crate::wire::{body, decode, draft};

pub(crate) async fn delete(server: &Arc<Server>, call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let output = call.output(false)?;
    let options = read_options(call, body).await?;
    if options.orphan_dependents.is_none()
        && options.propagation.is_none()
        && let Some(text) = call.resource.kind().unsaid_propagation()
    {
        call.warnings.add(text);
    }
    if options.ignore_store_read_error == Some(true) {
        let content = unsafe_delete(server, call, &options).await?;
        return call.respond(output, 200, content);
    }
    let target =
        Target { resource: &call.resource, namespace: call.namespace(), name: &call.info.name, admission: Some(call) };
    let deleted = delete_one(server, target, &options).await?;
    // Clients that asked for cascading deletion the old way are told that it goes on.
    let code = if !deleted.gone && options.orphan_dependents == Some(false) { 202 } else { 200 };
    call.respond(output, code, deleted.content)
}

/// Options come in the body, or in the query when there is none.
pub(super) async fn read_options(call: &Call, body: Body) -> Result<DeleteOptions, StatusError> {
    let body = body::read(body).await?;
    match decode::delete_options(call, &body)? {
        Some(object) => {
            call.trail.request_body(&object);
            DeleteOptions::from_object(&object)
        }
        None => DeleteOptions::from_query(&call.info),
    }
}

/// What became of a DELETE.
pub(crate) struct Deleted {
    /// False: the object stays for now, marked.
    pub gone: bool,
    pub content: Content,
}

/// What to delete.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub resource: &'a Resource,
    pub namespace: &'a str,
    pub name: &'a str,
    /// The request whose admission the deletion must pass; none when it passed another already.
    pub admission: Option<&'a Call>,
}

pub(crate) async fn delete_one(
    server: &Server,
    target: Target<'_>,
    options: &DeleteOptions,
) -> Result<Deleted, StatusError> {
    let key = target.resource.key(target.namespace, target.name);
    loop {
        let not_found = || StatusError::not_found(target.resource.group_resource(), target.name);
        let existing = server.store.newest(&key).ok_or_else(not_found)?;
        if let Some(Deleted { gone, content }) = attempt(server, target, options, &key, &existing).await? {
            return Ok(Deleted { gone, content: server.present_content(target.resource, content).await? });
        }
    }
}

/// `None`: somebody else wrote in between.
async fn attempt(
    server: &Server,
    target: Target<'_>,
    options: &DeleteOptions,
    key: &Key,
    existing: &Arc<Entry>,
) -> Result<Option<Deleted>, StatusError> {
    let resource = target.resource;
    let old = Arc::new(resource.parse(&*server.present_one(resource, existing.clone()).await?)?);
    if is_held(server, resource, &old) {
        deletion::check_preconditions(resource.kind(), &old, options)?;
        until_safe(server, existing).await?;
        return Ok(Some(Deleted { gone: false, content: Content::Entry(existing.clone()) }));
    }
    let step = decide(server, resource, &old, options)?;
    if step == Step::Pending {
        until_safe(server, existing).await?;
        return Ok(Some(Deleted { gone: false, content: farewell(resource, existing, &old) }));
    }
    if let Some(call) = target.admission {
        let mut attributes = call.attributes(Operation::Delete, Value::Null, options.dry_run);
        target.name.clone_into(&mut attributes.name);
        attributes.old_object = Some(old.clone());
        server.admit(&mut attributes).await?;
        server.validate(&attributes).await?;
    }
    let durability = Server::durability(resource);
    let marked = match step {
        Step::Mark { object, remove } => {
            let draft = Draft::encode(&object);
            if options.dry_run {
                let content = Content::Stored(draft::fill(&draft, &existing.revision.to_string()));
                return Ok(Some(Deleted { gone: remove, content }));
            }
            let draft = server.stored_draft(resource, &object).await?.unwrap_or(draft);
            let marked = if draft::is_unchanged(&draft, &existing.json, existing.revision) {
                until_safe(server, existing).await?;
                existing.clone()
            } else {
                let writing = server.store.update(key, existing.revision, draft, durability);
                match unless_overtaken(in_store("GuaranteedUpdate etcd3", resource, Some(key), writing).await)? {
                    Some(marked) => marked,
                    None => return Ok(None),
                }
            };
            if !remove {
                return Ok(Some(Deleted { gone: false, content: Content::Entry(marked) }));
            }
            marked
        }
        _ => existing.clone(),
    };
    if options.dry_run {
        return Ok(Some(Deleted { gone: true, content: farewell(resource, existing, &old) }));
    }
    let last = draft::reopen(&marked.json);
    let removing = server.store.delete(key, marked.revision, last, durability);
    let removed = unless_overtaken(in_store("Delete etcd3", resource, Some(key), removing).await)?;
    Ok(match removed {
        Some(last) => {
            after_delete(server, resource, &old);
            Some(Deleted { gone: true, content: farewell(resource, &last, &old) })
        }
        // The mark told a kubelet to remove the object, and it was faster than we are.
        None if marked.revision != existing.revision && is_gone(server, key, meta::uid(&old))? => {
            Some(Deleted { gone: true, content: farewell(resource, &marked, &old) })
        }
        None => None,
    })
}

/// Nothing has the key, or another object by now.
fn is_gone(server: &Server, key: &Key, uid: &str) -> Result<bool, StatusError> {
    let Some(newest) = server.store.newest(key) else { return Ok(true) };
    Ok(meta::uid(&parse_stored(&newest)?) != uid)
}

/// A deletion is under way and the kind's own rule still holds the object.
fn is_held(server: &Server, resource: &Resource, old: &Value) -> bool {
    meta::is_terminating(old) && !server.extensions.hooks(resource.storage_key()).all(|hook| hook.may_remove(old))
}

/// The kind's own first step (a Namespace becomes Terminating) comes before the generic one.
fn decide(server: &Server, resource: &Resource, old: &Value, options: &DeleteOptions) -> Result<Step, StatusError> {
    if !meta::is_terminating(old) {
        let mut object = old.clone();
        if server.extensions.hooks(resource.storage_key()).any(|hook| hook.begin_delete(&mut object)) {
            deletion::check_held_preconditions(resource.kind(), old, options)?;
            let object = deletion::mark_held(resource.kind(), object, options, clock::unix_seconds());
            return Ok(Step::Mark { object, remove: false });
        }
    }
    deletion::decide(resource.kind(), old, options, clock::unix_seconds())
}

/// The object itself for kinds that return it, else a Status that names it.
fn farewell(resource: &Resource, last: &Arc<Entry>, old: &Value) -> Content {
    if resource.kind().returns_deleted() {
        return Content::Entry(last.clone());
    }
    let info = resource.info();
    let mut details = Map::new();
    details.insert("name".into(), meta::name(old).into());
    if !info.group.is_empty() {
        details.insert("group".into(), (*info.group).into());
    }
    details.insert("kind".into(), (*info.plural).into());
    details.insert("uid".into(), meta::uid(old).into());
    Content::Value(
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
    )
}
