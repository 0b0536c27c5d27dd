//! `POST serviceaccounts/NAME/token`
//! (`pkg/registry/core/serviceaccount/storage/token.go`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orlop_api::field::{ErrorList, Path};
use orlop_api::managed_fields::{self, FieldManager};
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{Value, meta};
use orlop_base::{clock, id};
use orlop_store::Snapshot;
use serde_json::json;

use super::{Claims, Issuer, Reference};
use crate::Server;
use crate::call::{Call, Warnings};
use crate::extend::Creator;

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";

const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;

/// The life that kubelets ask for when a pod did not choose one. Such tokens live on for a year,
/// and their use after this time is noted, for clients that never read the renewed token.
const WARN_ONLY_SECONDS: i64 = 60 * 60 + 7;
pub(super) const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

/// The handler of `serviceaccounts/token`.
pub struct TokenRequest(pub Arc<Issuer>);

impl Creator for TokenRequest {
    fn begin(&self, call: &Call, request: &mut Value, manager: &str) {
        default_life(request);
        let now = clock::rfc3339();
        let kind = &managed_fields::TokenRequest;
        let subresource = &*call.info.subresource;
        FieldManager { kind, version: "v1", subresource, manager, now: &now }.on_create(request);
    }

    fn create<'a>(
        &'a self,
        _server: &'a Arc<Server>,
        call: &'a Call,
        object: Value,
        _dry_run: bool,
    ) -> BoxFuture<'a, Result<Value, StatusError>> {
        let (namespace, name) = (&call.info.namespace, &call.info.name);
        Box::pin(self.issue(namespace, name, object, &call.warnings))
    }
}

/// What a token is bound to, resolved.
#[derive(Default)]
struct Bound {
    pod: Option<Reference>,
    secret: Option<Reference>,
    node: Option<Reference>,
}

impl TokenRequest {
    /// Answers the request object with its status.
    pub async fn issue(
        &self,
        namespace: &str,
        name: &str,
        mut request: Value,
        warnings: &Warnings,
    ) -> Result<Value, StatusError> {
        check_names(&request, namespace, name)?;
        let snapshot = self.0.store().snapshot();
        let account = find(&snapshot, "serviceaccounts", namespace, name)?;
        let asked_uid = meta::uid(&request);
        if !asked_uid.is_empty() && asked_uid != meta::uid(&account) {
            let why = format!(
                "the UID in the token request ({asked_uid}) does not match the UID of the service account ({})",
                meta::uid(&account)
            );
            return Err(StatusError::conflict(GroupResource { group: GROUP, resource: KIND }, name, &why));
        }
        self.complete(&mut request, namespace, &account);
        let errors = validate(&request);
        if !errors.is_empty() {
            return Err(StatusError::invalid(GROUP, KIND, "", &errors));
        }
        let bound = bind(&snapshot, namespace, name, &request["spec"]["boundObjectRef"])?;
        self.limit(&mut request, warnings);
        let now = clock::unix_seconds();
        let (claims, expiry) = self.claims(&request, &account, bound, now);
        let token = self.0.sign(&claims).await;
        let token = token.map_err(|why| StatusError::internal(format!("failed to generate token: {why}")))?;
        request["status"] = json!({ "token": token, "expirationTimestamp": clock::format_seconds(expiry) });
        Ok(request)
    }

    fn complete(&self, request: &mut Value, namespace: &str, account: &Value) {
        meta::set(request, "name", meta::name(account));
        meta::set(request, "namespace", namespace);
        meta::set(request, "uid", meta::uid(account));
        meta::set(request, "creationTimestamp", clock::rfc3339());
        let spec = meta::child_mut(request, "spec");
        if spec.get("audiences").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            spec.insert("audiences".into(), json!(self.0.config().audiences));
        }
        default_life(request);
    }

    fn limit(&self, request: &mut Value, warnings: &Warnings) {
        let asked = seconds(request);
        if let Some(max) = self.0.config().max_expiration_seconds.filter(|max| *max > 0 && asked > *max) {
            warnings.add(format!("requested expiration of {asked} seconds shortened to {max} seconds"));
            request["spec"]["expirationSeconds"] = max.into();
        }
    }

    /// The claims, and the expiry that the answer tells.
    fn claims(&self, request: &Value, account: &Value, bound: Bound, now: i64) -> (Claims, i64) {
        let audiences: Vec<String> = texts(&request["spec"]["audiences"]);
        let asked = seconds(request);
        let for_us = audiences.iter().all(|audience| self.0.config().audiences.contains(audience));
        let extend = self.0.config().extend_expiration && bound.pod.is_some() && asked == WARN_ONLY_SECONDS && for_us;
        let claims = Claims {
            issuer: self.0.config().issuer.clone(),
            audiences,
            issued_at: now,
            not_before: now,
            expires_at: now + if extend { self.0.config().max_extended_seconds } else { asked },
            id: id::uuid(),
            namespace: meta::namespace(account).into(),
            service_account: Reference::to(account),
            pod: bound.pod,
            secret: bound.secret,
            node: bound.node,
            warn_after: extend.then_some(now + asked),
        };
        (claims, now + asked)
    }
}

fn default_life(request: &mut Value) {
    let spec = meta::child_mut(request, "spec");
    if spec.get("expirationSeconds").is_none_or(Value::is_null) {
        spec.insert("expirationSeconds".into(), DEFAULT_SECONDS.into());
    }
}

fn check_names(request: &Value, namespace: &str, name: &str) -> Result<(), StatusError> {
    let metadata = Path::new("metadata");
    for (field, sent, wanted) in
        [("name", meta::name(request), name), ("namespace", meta::namespace(request), namespace)]
    {
        if !sent.is_empty() && sent != wanted {
            let mut errors = ErrorList::default();
            let why = format!("must match the service account {field} if specified");
            errors.invalid(&metadata.child(field), sent, why);
            return Err(StatusError::invalid(GROUP, KIND, name, &errors));
        }
    }
    Ok(())
}

fn validate(request: &Value) -> ErrorList {
    let mut errors = ErrorList::default();
    let spec = Path::new("spec");
    let asked = seconds(request);
    if asked < MIN_SECONDS {
        errors.invalid(&spec.child("expirationSeconds"), asked, "may not specify a duration less than 10 minutes");
    }
    if asked > MAX_SECONDS {
        errors.invalid(&spec.child("expirationSeconds"), asked, "may not specify a duration larger than 2^32 seconds");
    }
    let attestations = &request["spec"]["attestations"];
    if attestations.as_object().is_some_and(|map| !map.is_empty()) {
        let why = "attestations may only be specified with a webhook bound object reference";
        errors.invalid(&spec.child("attestations"), attestations.clone(), why);
    }
    errors
}

fn bind(snapshot: &Snapshot, namespace: &str, account: &str, reference: &Value) -> Result<Bound, StatusError> {
    if reference.is_null() {
        return Ok(Bound::default());
    }
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (name, kind) = (text("name"), text("kind"));
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let mut bound = Bound::default();
    let object = match (group, kind) {
        ("", "Pod") => {
            let pod = find(snapshot, "pods", namespace, name)?;
            if pod["spec"]["serviceAccountName"] != account {
                return Err(StatusError::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            bound.pod = Some(Reference::to(&pod));
            bound.node = node_of(snapshot, &pod);
            pod
        }
        ("", "Node") => {
            let node = find(snapshot, "nodes", "", name)?;
            bound.node = Some(Reference::to(&node));
            node
        }
        ("", "Secret") => {
            let secret = find(snapshot, "secrets", namespace, name)?;
            bound.secret = Some(Reference::to(&secret));
            secret
        }
        _ => {
            let group_version = if group.is_empty() { format!("/{version}") } else { format!("{group}/{version}") };
            let text = format!("cannot bind token to object of type {group_version}, Kind={kind}");
            return Err(StatusError::bad_request(text));
        }
    };
    let (asked, found) = (text("uid"), meta::uid(&object));
    if !asked.is_empty() && asked != found {
        let why = format!(
            "the UID in the bound object reference ({asked}) does not match the UID in record. \
             The object might have been deleted and then recreated"
        );
        return Err(StatusError::conflict(GroupResource { group, resource: kind }, name, &why));
    }
    Ok(bound)
}

/// The pod's node, by name alone when the Node is not there.
fn node_of(snapshot: &Snapshot, pod: &Value) -> Option<Reference> {
    let name = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())?;
    let node = find(snapshot, "nodes", "", name).map(|node| Reference::to(&node));
    Some(node.unwrap_or_else(|_| Reference { name: name.into(), uid: String::new() }))
}

fn find(snapshot: &Snapshot, resource: &str, namespace: &str, name: &str) -> Result<Value, StatusError> {
    let entry = snapshot.get(resource, namespace, name);
    let object = entry.and_then(|entry| serde_json::from_slice(&entry.json).ok());
    object.ok_or_else(|| StatusError::not_found(GroupResource { group: "", resource }, name))
}

fn seconds(request: &Value) -> i64 {
    request["spec"]["expirationSeconds"].as_i64().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
