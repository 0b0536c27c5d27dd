//! A small API server in memory, for tests of what stands on this crate.
//!
//! It knows no kinds: every path that looks like a resource is one. It keeps revisions, uids,
//! preconditions, finalizers and watches honest, and fails on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use orlop_api::patch::strategic;
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{meta, schema};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::object::Resource;
use crate::transport::{Body, BoxError, Transport, full};

/// What goes wrong with the next matching request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request never arrives.
    LostRequest,
    /// It is done, but nobody hears of it.
    LostReply,
    /// It is refused.
    Refused(StatusError),
}

/// The server; clones share it.
#[derive(Clone)]
pub struct MemoryApi(Arc<Mutex<State>>);

struct State {
    revision: u64,
    /// By collection path, then `namespace/name`.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    /// `(revision, collection, type, object)`.
    log: Vec<(u64, String, &'static str, Value)>,
    faults: VecDeque<(Method, String, Fault)>,
    /// `METHOD path` of every request.
    requests: Vec<String>,
    refuse_watch_list: bool,
    compacted: u64,
    /// What discovery tells.
    served: Vec<Resource>,
    /// Changes at every event; a change of `.1` ends all watches.
    changed: watch::Sender<(u64, u64)>,
}

impl Default for MemoryApi {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            revision: 1,
            objects: BTreeMap::new(),
            log: Vec::new(),
            faults: VecDeque::new(),
            requests: Vec::new(),
            refuse_watch_list: false,
            compacted: 0,
            served: Vec::new(),
            changed: watch::Sender::default(),
        })))
    }
}

impl MemoryApi {
    /// The next request of this method whose path contains `part` fails so.
    pub fn fail_next(&self, method: Method, part: &str, fault: Fault) {
        self.state().faults.push_back((method, part.to_owned(), fault));
    }

    /// Ends every running watch.
    pub fn break_watches(&self) {
        self.state().changed.send_modify(|c| c.1 += 1);
    }

    /// Watches from before now get 410.
    pub fn compact(&self) {
        let mut state = self.state();
        state.compacted = state.revision;
    }

    /// Behaves like a server without WatchList.
    pub fn refuse_watch_list(&self) {
        self.state().refuse_watch_list = true;
    }

    /// Tells of these resources at `/api` and `/apis`.
    pub fn serve(&self, resources: &[Resource]) {
        self.state().served = resources.to_vec();
    }

    /// `METHOD path?query` of every request since the last call.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    /// Every object of a collection (`/api/v1/pods`), in order.
    pub fn objects(&self, collection: &str) -> Vec<Value> {
        self.state().objects.get(collection).map(|c| c.values().cloned().collect()).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (head, body) = request.into_parts();
        let uri = head.uri.to_string();
        let body = body.collect().await?.to_bytes();
        let target = Target::parse(&uri);
        let mut state = self.state();
        state.requests.push(format!("{} {uri}", head.method));
        let fault = state.faults.iter().position(|(m, part, _)| *m == head.method && uri.contains(part.as_str()));
        let fault = fault.and_then(|at| state.faults.remove(at)).map(|(_, _, fault)| fault);
        match fault {
            Some(Fault::LostRequest) => return Err("lost on the way".into()),
            Some(Fault::Refused(status)) => return Ok(respond(Err(status))),
            _ => {}
        }
        let content_type = head.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let answer = match head.method {
            Method::GET if matches!(head.uri.path(), "/api" | "/apis") => {
                Ok(state.discovery(head.uri.path() == "/api"))
            }
            Method::GET if target.query("watch") == "true" => return Ok(state.watch(&self, &target)),
            Method::GET => state.get(&target),
            Method::POST => state.create(&target, &body),
            Method::PUT => state.put(&target, &body, None),
            Method::PATCH => state.put(&target, &body, Some(content_type)),
            Method::DELETE => state.delete(&target, &body),
            _ => Err(StatusError::bad_request("unknown method")),
        };
        if matches!(fault, Some(Fault::LostReply)) {
            return Err("the answer was lost".into());
        }
        Ok(respond(answer))
    }
}

impl Transport for MemoryApi {
    fn send(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        Box::pin(self.clone().handle(request))
    }
}

fn respond(answer: Result<Value, StatusError>) -> Response<Body> {
    let (code, value) = match answer {
        Ok(value) => (200, value),
        Err(status) => (status.code, status.to_value()),
    };
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}

struct Target {
    /// `/api/v1/pods`: the path without namespace and name.
    collection: String,
    group: String,
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
    query: Vec<(String, String)>,
}

impl Target {
    fn parse(uri: &str) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = query.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let mut parts: VecDeque<&str> = path.split('/').skip(1).collect();
        let mut next = || parts.pop_front().unwrap_or_default().to_owned();
        let root = next();
        let group = if root == "api" { String::new() } else { next() };
        let version = next();
        let (mut namespace, mut resource) = (String::new(), next());
        let mut name = next();
        let mut subresource = next();
        if resource == "namespaces" && !subresource.is_empty() && !matches!(&*subresource, "status" | "finalize") {
            namespace = std::mem::replace(&mut name, next());
            resource = std::mem::replace(&mut subresource, next());
        }
        let slash = if group.is_empty() { "" } else { "/" };
        let collection = format!("/{root}/{group}{slash}{version}/{resource}");
        Self { collection, group, resource, namespace, name, subresource, query }
    }

    fn key(&self) -> String {
        super::cache::key_of(&self.namespace, &self.name).to_string()
    }

    fn query(&self, key: &str) -> &str {
        self.query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).unwrap_or_default()
    }

    fn gr(&self) -> GroupResource<'_> {
        GroupResource { group: &self.group, resource: &self.resource }
    }

    fn holds(&self, collection: &str, object: &Value) -> bool {
        collection == self.collection && (self.namespace.is_empty() || meta::namespace(object) == self.namespace)
    }
}

impl State {
    fn discovery(&self, core: bool) -> Value {
        let mine = self.served.iter().filter(|r| r.group.is_empty() == core);
        let group = |r: &Resource| {
            json!({ "metadata": { "name": r.group }, "versions": [{ "version": r.version, "resources": [{
                "resource": r.plural, "responseKind": { "kind": r.kind },
                "scope": if r.namespaced { "Namespaced" } else { "Cluster" },
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            }] }] })
        };
        json!({ "kind": "APIGroupDiscoveryList", "items": mine.map(group).collect::<Vec<_>>() })
    }

    fn get(&self, target: &Target) -> Result<Value, StatusError> {
        if !target.name.is_empty() {
            return self.find(target).cloned();
        }
        let items: Vec<Value> = self.matching(target).cloned().collect();
        Ok(json!({ "kind": "List", "metadata": { "resourceVersion": self.revision.to_string() }, "items": items }))
    }

    fn matching<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a Value> {
        let all = self.objects.get(&target.collection).into_iter().flat_map(BTreeMap::values);
        all.filter(|object| target.holds(&target.collection, object))
    }

    fn find(&self, target: &Target) -> Result<&Value, StatusError> {
        let found = self.objects.get(&target.collection).and_then(|c| c.get(&target.key()));
        found.ok_or_else(|| StatusError::not_found(target.gr(), &target.name))
    }

    fn create(&mut self, target: &Target, body: &[u8]) -> Result<Value, StatusError> {
        if !target.subresource.is_empty() {
            return self.find(target).cloned();
        }
        let mut object = parse(body)?;
        if meta::name(&object).is_empty() {
            let name = format!("{}{}", meta::get(&object, "generateName"), orlop_base::id::suffix(5));
            meta::set(&mut object, "name", name);
        }
        if !target.namespace.is_empty() {
            meta::set(&mut object, "namespace", target.namespace.clone());
        }
        let key = super::cache::key_of(&target.namespace, meta::name(&object)).to_string();
        if self.objects.get(&target.collection).is_some_and(|c| c.contains_key(&key)) {
            return Err(StatusError::already_exists(target.gr(), meta::name(&object)));
        }
        meta::set(&mut object, "uid", orlop_base::id::uuid());
        meta::set(&mut object, "creationTimestamp", orlop_base::clock::rfc3339());
        meta::set(&mut object, "generation", 1);
        Ok(self.commit(&target.collection, key, object, "ADDED"))
    }

    fn put(&mut self, target: &Target, body: &[u8], patch: Option<&str>) -> Result<Value, StatusError> {
        let old = self.find(target)?.clone();
        let sent = parse(body)?;
        let mut new = match patch {
            None => sent,
            Some("application/json-patch+json") => {
                return Err(StatusError::bad_request("JSON patches are not known here"));
            }
            Some(content_type) => {
                let mut merged = old.clone();
                let version = meta::resource_version(&sent).to_owned();
                if !meta::uid(&sent).is_empty() && meta::uid(&sent) != meta::uid(&old) {
                    return Err(StatusError::conflict(target.gr(), &target.name, "Precondition failed: UID"));
                }
                let text = |field: &str| old[field].as_str().unwrap_or_default();
                match schema::builtin().of(text("apiVersion"), text("kind")) {
                    Some(ty) if content_type == "application/strategic-merge-patch+json" => {
                        merged = strategic::apply(merged, sent, ty.get())?;
                    }
                    _ => merge(&mut merged, sent),
                }
                meta::set(&mut merged, "resourceVersion", version);
                merged
            }
        };
        let version = meta::resource_version(&new);
        if !version.is_empty() && version != meta::resource_version(&old) {
            let why = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(StatusError::conflict(target.gr(), &target.name, why));
        }
        if target.subresource == "status" {
            let status = new["status"].take();
            new = old.clone();
            new["status"] = status;
        } else if new["spec"] != old["spec"] {
            meta::set(&mut new, "generation", old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"]
        {
            match old["metadata"].get(field) {
                Some(kept) => meta::set(&mut new, field, kept.clone()),
                None => meta::remove(&mut new, field),
            }
        }
        if new == old {
            return Ok(old);
        }
        let gone = meta::is_terminating(&new) && finalizers(&new) == 0 && finalizers(&old) > 0;
        Ok(self.commit(&target.collection, target.key(), new, if gone { "DELETED" } else { "MODIFIED" }))
    }

    fn delete(&mut self, target: &Target, body: &[u8]) -> Result<Value, StatusError> {
        let options = parse(body).unwrap_or_default();
        if target.name.is_empty() {
            let keys: Vec<String> = self
                .matching(target)
                .map(|o| super::cache::key_of(meta::namespace(o), meta::name(o)).to_string())
                .collect();
            for key in keys {
                let object = self.objects[&target.collection][&key].clone();
                self.remove(&target.collection, key, object);
            }
            return Ok(json!({ "kind": "Status", "status": "Success" }));
        }
        let object = self.find(target)?.clone();
        for (field, name) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let wanted = &options["preconditions"][field];
            if wanted.is_string() && *wanted != object["metadata"][field] {
                let why = format!("Precondition failed: {name} in precondition: {wanted}");
                return Err(StatusError::conflict(target.gr(), &target.name, &why));
            }
        }
        let mut object = object;
        let finalizer = match options["propagationPolicy"].as_str() {
            Some("Foreground") => Some("foregroundDeletion"),
            Some("Orphan") => Some("orphan"),
            _ => None,
        };
        if let Some(finalizer) = finalizer {
            let mut all = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            all.push(finalizer.into());
            meta::set(&mut object, "finalizers", all);
        }
        match options["gracePeriodSeconds"].as_i64().filter(|seconds| *seconds > 0) {
            Some(seconds) => Ok(self.mark(target, object, seconds)),
            None => Ok(self.remove(&target.collection, target.key(), object)),
        }
    }

    /// A grace period leaves the object, marked, to whoever ends it (as pods are left to their node).
    fn mark(&mut self, target: &Target, mut object: Value, grace_seconds: i64) -> Value {
        if !meta::is_terminating(&object) {
            meta::set(&mut object, "deletionTimestamp", orlop_base::clock::rfc3339());
        }
        meta::set(&mut object, "deletionGracePeriodSeconds", grace_seconds);
        self.commit(&target.collection, target.key(), object, "MODIFIED")
    }

    fn remove(&mut self, collection: &str, key: String, mut object: Value) -> Value {
        if finalizers(&object) == 0 {
            self.commit(collection, key, object, "DELETED");
            return json!({ "kind": "Status", "status": "Success" });
        }
        if meta::is_terminating(&object) {
            return object;
        }
        meta::set(&mut object, "deletionTimestamp", orlop_base::clock::rfc3339());
        self.commit(collection, key, object, "MODIFIED")
    }

    fn commit(&mut self, collection: &str, key: String, mut object: Value, what: &'static str) -> Value {
        self.revision += 1;
        meta::set(&mut object, "resourceVersion", self.revision.to_string());
        let objects = self.objects.entry(collection.to_owned()).or_default();
        if what == "DELETED" {
            objects.remove(&key);
        } else {
            objects.insert(key, object.clone());
        }
        self.log.push((self.revision, collection.to_owned(), what, object.clone()));
        let revision = self.revision;
        self.changed.send_modify(|c| c.0 = revision);
        object
    }

    fn watch(&mut self, api: &MemoryApi, target: &Target) -> Response<Body> {
        let send_initial = target.query("sendInitialEvents") == "true";
        if send_initial && self.refuse_watch_list {
            return respond(Err(StatusError::new(422, "Invalid", "sendInitialEvents is forbidden for watch")));
        }
        let mut lines = String::new();
        let mut from = self.revision;
        if send_initial {
            for object in self.matching(target) {
                lines += &line("ADDED", object);
            }
            let end = json!({ "metadata": {
                "resourceVersion": self.revision.to_string(), "annotations": { "k8s.io/initial-events-end": "true" },
            }});
            lines += &line("BOOKMARK", &end);
        } else if let Ok(revision) = target.query("resourceVersion").parse() {
            from = revision;
        }
        if from < self.compacted {
            return respond(Err(StatusError::expired("too old resource version")));
        }
        let target = Target::parse(&format!("{}?", target.path()));
        let changed = self.changed.subscribe();
        let epoch = changed.borrow().1;
        let seed = (api.clone(), target, changed, epoch, from, lines);
        let stream =
            futures_util::stream::unfold(seed, |(api, target, mut changed, epoch, mut from, lines)| async move {
                if !lines.is_empty() {
                    let frame = http_body::Frame::data(Bytes::from(lines));
                    return Some((Ok(frame), (api, target, changed, epoch, from, String::new())));
                }
                let (revision, now) = *changed.wait_for(|c| c.0 > from || c.1 != epoch).await.ok()?;
                if now != epoch {
                    return None;
                }
                let mut lines = String::from("\n");
                for (at, collection, what, object) in &api.state().log {
                    if *at > from && target.holds(collection, object) {
                        lines += &line(what, object);
                    }
                }
                from = revision;
                Some((
                    Ok(http_body::Frame::data(Bytes::from(lines))),
                    (api, target, changed, epoch, from, String::new()),
                ))
            });
        Response::new(StreamBody::new(stream).boxed_unsync())
    }
}

impl Target {
    fn path(&self) -> String {
        match (self.namespace.is_empty(), self.collection.rsplit_once('/')) {
            (false, Some((root, resource))) => format!("{root}/namespaces/{}/{resource}", self.namespace),
            _ => self.collection.clone(),
        }
    }
}

fn line(what: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": what, "object": object }))
}

fn parse(body: &[u8]) -> Result<Value, StatusError> {
    serde_json::from_slice(body).map_err(|e| StatusError::bad_request(e.to_string()))
}

fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

/// RFC 7396.
fn merge(into: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().map(|o| o.remove(&key));
        } else {
            merge(&mut into[&key], value);
        }
    }
}
