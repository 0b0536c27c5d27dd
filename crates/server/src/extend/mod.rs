//! What a kind needs from the server beyond the generic verbs, one file per kind.
//!
//! Keyed by the kind's `storage_key`. Built-in extensions stand in [`builtin`]; those that carry
//! state of their own (token signer, authorizer) come in through `ServerConfig::extensions`.

mod binding;
mod component_statuses;
mod conditions;
mod devices;
mod eviction;
mod expressions;
mod namespaces;
mod pod_certificates;
mod pods;
mod scale;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Response;
use orlop_api::Value;
use orlop_api::field::ErrorList;
use orlop_api::kind::KindInfo;
use orlop_api::status::StatusError;
use orlop_client::transport::Body;

use crate::Server;
use crate::call::Call;
use crate::resource::Resource;
use crate::services::{Allocators, ServiceHooks};

/// Everything one kind adds.
#[derive(Clone)]
pub struct Extension {
    /// `pods`, `apps/deployments`, `authentication.k8s.io/tokenreviews`.
    pub storage_key: &'static str,
    pub hooks: Option<Arc<dyn Hooks>>,
    /// By subresource name; the empty name is the kind itself, for kinds that are never stored.
    pub handlers: Vec<(&'static str, Handler)>,
}

impl Extension {
    pub fn new(storage_key: &'static str) -> Self {
        Self { storage_key, hooks: None, handlers: Vec::new() }
    }

    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Some(Arc::new(hooks));
        self
    }

    /// Serves `subresource` by reading and answering HTTP itself: every method, streams, upgrades.
    #[must_use]
    pub fn connect(mut self, subresource: &'static str, connector: impl Connector) -> Self {
        self.handlers.push((subresource, Handler::Connect(Arc::new(connector))));
        self
    }

    /// Serves POST to `subresource` as object in, object out.
    #[must_use]
    pub fn create(mut self, subresource: &'static str, creator: impl Creator) -> Self {
        self.handlers.push((subresource, Handler::Create(Arc::new(creator))));
        self
    }

    /// Serves GET, PUT and PATCH of `subresource` as a view of the parent object.
    #[must_use]
    pub fn view(mut self, subresource: &'static str, view: impl View) -> Self {
        self.handlers.push((subresource, Handler::View(Arc::new(view))));
        self
    }
}

#[derive(Clone)]
pub enum Handler {
    Connect(Arc<dyn Connector>),
    Create(Arc<dyn Creator>),
    View(Arc<dyn View>),
}

/// Answers HTTP itself: exec, attach, port-forward, proxy, log.
pub trait Connector: Send + Sync + 'static {
    fn serve(
        &self,
        server: &Arc<Server>,
        call: Call,
        body: Body,
    ) -> BoxFuture<'static, Result<Response<Body>, StatusError>>;
}

/// Object in, object out: reviews, tokens, bindings, evictions. The server has decoded the body
/// (JSON, YAML or protobuf, field validation), defaulted it and run admission; it encodes the
/// answer as the client accepts it, with status 201.
pub trait Creator: Send + Sync + 'static {
    /// Before admission: defaults and managedFields of a subresource's own kind.
    fn begin(&self, _call: &Call, _object: &mut Value, _manager: &str) {}

    fn create<'a>(
        &'a self,
        server: &'a Arc<Server>,
        call: &'a Call,
        object: Value,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<Value, StatusError>>;
}

/// A subresource whose body is not the parent's kind, kept inside the parent (scale).
pub trait View: Send + Sync + 'static {
    /// The subresource's object as seen in `parent`.
    fn read(&self, parent: &Value) -> Result<Value, StatusError>;
    /// Checks `view` and writes it into `parent`.
    fn write(&self, view: &Value, parent: &mut Value) -> Result<(), StatusError>;
    /// By apiVersion of the parent: the field that is the view's `spec.replicas`, for managedFields.
    fn replicas(&self) -> Vec<(&str, &str)>;
}

/// Runs around the writes of a stored kind: allocate, release. Not called for reads.
pub trait Hooks: Send + Sync + 'static {
    /// After admission, before validation. What is returned is told whether the write happened.
    fn begin_create(&self, _server: &Server, _object: &mut Value, _dry_run: bool) -> Result<Undo, StatusError> {
        Ok(Undo::none())
    }

    /// The same for updates and patches of the resource itself.
    fn begin_update(
        &self,
        _server: &Server,
        _object: &mut Value,
        _old: &Value,
        _dry_run: bool,
    ) -> Result<Undo, StatusError> {
        Ok(Undo::none())
    }

    /// Rules that the object model alone cannot check; `old` is what an update starts from.
    fn validate(&self, _server: &Server, _object: &Value, _old: Option<&Value>) -> ErrorList {
        ErrorList::default()
    }

    /// Whether `validate` is asked even of an object that broke the kind's own rules.
    fn judges_broken(&self) -> bool {
        false
    }

    /// What a new object asks for and may not have: told before the kind's own rules are.
    fn permit(&self, _server: &Server, _object: &Value) -> ErrorList {
        ErrorList::default()
    }

    /// At the first DELETE: true keeps the object, as changed here (a Namespace becomes Terminating).
    fn begin_delete(&self, _object: &mut Value) -> bool {
        false
    }

    /// Whether nothing besides finalizers keeps a deleted object.
    fn may_remove(&self, _object: &Value) -> bool {
        true
    }

    /// After the object is gone.
    fn after_delete(&self, _server: &Server, _object: &Value) {}
}

/// What to do once it is known whether a write went through; dropped unfinished means it did not.
#[must_use = "dropping it at once takes the reservation back"]
pub struct Undo(Option<Box<dyn FnOnce(bool) + Send>>);

impl Undo {
    pub fn none() -> Self {
        Self(None)
    }

    /// `finish(true)` runs after the commit, `finish(false)` after a failure.
    pub fn new(finish: impl FnOnce(bool) + Send + 'static) -> Self {
        Self(Some(Box::new(finish)))
    }

    pub fn committed(mut self) {
        if let Some(finish) = self.0.take() {
            finish(true);
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(finish) = self.0.take() {
            finish(false);
        }
    }
}

/// All extensions by storage key.
#[derive(Clone, Default)]
pub struct Extensions(BTreeMap<&'static str, Vec<Extension>>);

impl Extensions {
    pub fn new(list: impl IntoIterator<Item = Extension>) -> Self {
        let mut by_key: BTreeMap<&'static str, Vec<Extension>> = BTreeMap::new();
        for extension in list {
            by_key.entry(extension.storage_key).or_default().push(extension);
        }
        Self(by_key)
    }

    pub fn handler(&self, storage_key: &str, subresource: &str) -> Option<&Handler> {
        let all = self.0.get(storage_key)?;
        all.iter().flat_map(|e| &e.handlers).find(|(name, _)| *name == subresource).map(|(_, handler)| handler)
    }

    /// Adds what breaks the rules of all that a kind has to what broke the kind's own.
    pub fn validate(
        &self,
        server: &Server,
        storage_key: &str,
        object: &Value,
        old: Option<&Value>,
        errors: &mut ErrorList,
    ) {
        let broken = !errors.is_empty();
        let hooks = self.hooks(storage_key).filter(|hooks| !broken || hooks.judges_broken());
        hooks.for_each(|hooks| errors.extend(hooks.validate(server, object, old)));
    }

    /// What a new object may not have.
    pub fn permit(&self, server: &Server, storage_key: &str, object: &Value) -> ErrorList {
        let mut errors = ErrorList::default();
        self.hooks(storage_key).for_each(|hooks| errors.extend(hooks.permit(server, object)));
        errors
    }

    pub fn hooks(&self, storage_key: &str) -> impl Iterator<Item = &Arc<dyn Hooks>> {
        self.0.get(storage_key).into_iter().flatten().filter_map(|e| e.hooks.as_ref())
    }
}

impl Server {
    /// Who serves a subresource that the generic verbs do not.
    pub(crate) fn handler(&self, resource: &Resource, subresource: &str) -> Option<Handler> {
        let known = self.extensions.handler(resource.storage_key(), subresource).cloned();
        known.or_else(|| (subresource == "scale").then(|| scale::of_custom(resource)).flatten())
    }
}

/// Subresources that are the parent itself, written through the kind's own hooks. All others need a
/// handler.
pub const GENERIC: [&str; 5] = ["status", "ephemeralcontainers", "resize", "finalize", "approval"];

/// Kinds that are only ever created (reviews, tokens) or looked at are not stored; they need a handler.
pub fn is_stored(info: &KindInfo) -> bool {
    ["get", "update"].iter().all(|verb| info.verbs.iter().any(|v| v == verb))
}

/// The extensions that need nothing but the server.
pub fn builtin(allocators: &Arc<Allocators>) -> Vec<Extension> {
    let mut all = vec![
        Extension::new("bindings").create("", binding::Bind),
        component_statuses::extension(),
        crate::custom::hooks::extension(),
        namespaces::extension(),
        pod_certificates::extension(),
        pods::extension(),
        Extension::new("services").hooks(ServiceHooks(allocators.clone())),
    ];
    all.extend(devices::extensions());
    all.extend(expressions::extensions());
    all.extend(scale::extensions());
    all
}

#[cfg(test)]
mod tests {
    use orlop_api::kinds;

    use super::*;
    use crate::services::ServiceConfig;

    /// Served by what is given to [`crate::ServerConfig`]: they hold keys, connections or the policy.
    const FROM_OUTSIDE: [&str; 14] = [
        "authentication.k8s.io/selfsubjectreviews",
        "authentication.k8s.io/tokenreviews",
        "authorization.k8s.io/localsubjectaccessreviews",
        "authorization.k8s.io/selfsubjectaccessreviews",
        "authorization.k8s.io/selfsubjectrulesreviews",
        "authorization.k8s.io/subjectaccessreviews",
        "nodes/proxy",
        "pods/attach",
        "pods/exec",
        "pods/log",
        "pods/portforward",
        "pods/proxy",
        "serviceaccounts/token",
        "services/proxy",
    ];

    fn list() -> Extensions {
        Extensions::new(builtin(&Arc::new(Allocators::new(ServiceConfig::default()))))
    }

    #[test]
    fn extensions_name_kinds_that_exist() {
        for (key, extensions) in &list().0 {
            let kind = kinds::all().iter().find(|kind| kind.info().storage_key == *key);
            let info = kind.unwrap_or_else(|| panic!("no kind is stored as {key}")).info();
            for (name, _) in extensions.iter().flat_map(|e| &e.handlers) {
                assert!(name.is_empty() || info.subresource(name).is_some(), "{key} has no {name}");
            }
        }
    }

    #[test]
    fn everything_served_has_somebody_to_serve_it() {
        let list = list();
        let mut unserved = Vec::new();
        for kind in kinds::all() {
            let info = kind.info();
            if !is_stored(info) && list.handler(&info.storage_key, "").is_none() {
                unserved.push(info.storage_key.to_string());
            }
            for sub in info.subresources.iter().filter(|sub| !GENERIC.contains(&&*sub.name)) {
                if list.handler(&info.storage_key, &sub.name).is_none() {
                    unserved.push(format!("{}/{}", info.storage_key, sub.name));
                }
            }
        }
        unserved.sort();
        assert_eq!(unserved, FROM_OUTSIDE);
    }
}
