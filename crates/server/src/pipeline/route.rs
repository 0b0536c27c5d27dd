//! From a permitted request to its handler.

use std::sync::Arc;

use http::{Method, Response};
use orlop_api::status::StatusError;
use orlop_client::transport::{Body, UserInfo};

use super::Incoming;
use crate::audit::PassedOn;
use crate::call::Call;
use crate::extend::Handler;
use crate::observe::step;
use crate::resource::Resource;
use crate::server::store_failed;
use crate::{Server, discovery, extend, health, pages, verbs};

/// What upstream calls the step of a verb.
fn step_of(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "get" => "Get",
        "list" => "List",
        "watch" => "WatchServer.HandleHTTP",
        "create" => "Create",
        "update" => "Update",
        "patch" => "Patch",
        "delete" | "deletecollection" => "Delete",
        _ => return None,
    })
}

impl Server {
    pub(super) async fn route(
        self: &Arc<Self>,
        user: Arc<UserInfo>,
        incoming: Incoming,
    ) -> Result<Response<Body>, StatusError> {
        if let Some(remote) = self.aggregation.of_path(&incoming.info.path) {
            let mut answer = remote.serve(&user, incoming.head, incoming.body).await;
            answer.extensions_mut().insert(PassedOn);
            return Ok(answer);
        }
        if !incoming.info.is_resource {
            return self.serve_path(&incoming);
        }
        let Incoming { head, body, info, warnings, audit_id, trail } = incoming;
        let Some(resource) = self.resource(&info.api_group, &info.api_version, &info.resource) else {
            // Below `/api` and below a group that is served, upstream's router knows the place, if not the page.
            let is_known = |resource: &Resource| resource.info().group == info.api_group;
            let is_known = info.api_group.is_empty() || self.resources().iter().any(is_known);
            return if is_known { Err(StatusError::path_not_found()) } else { Ok(discovery::no_page()) };
        };
        if info.verb == "patch" && info.subresource.is_empty() {
            verbs::check_format(&head, &info, &resource)?;
        }
        if let Some(text) = resource.kind().deprecation(resource.version()) {
            trail.deprecated(&text);
            warnings.add(text);
        }
        let call = Call { info, user, resource, head, warnings, audit_id, trail };
        if !matches!(&*call.info.verb, "get" | "list" | "watch") {
            // What another server has acknowledged must not be missing for this one.
            self.store.catch_up().await.map_err(store_failed)?;
        }
        if call.info.subresource.is_empty() {
            self.serve_kind(call, body).await
        } else {
            self.serve_sub(call, body).await
        }
    }

    fn serve_path(self: &Arc<Self>, incoming: &Incoming) -> Result<Response<Body>, StatusError> {
        let (head, info) = (&incoming.head, &incoming.info);
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if let Some(response) = self.paths.iter().filter(|_| is_read).find_map(|handler| handler(head)) {
            return Ok(response);
        }
        match info.path.trim_matches('/').split('/').next().unwrap_or_default() {
            "healthz" | "livez" | "readyz" | "metrics" if !is_read => Err(method_not_allowed()),
            "healthz" | "livez" | "readyz" => health::serve(self, info),
            "metrics" if info.path.trim_end_matches('/') == "/metrics/slis" => Ok(self.health.slis.serve()),
            "metrics" => Ok(self.metrics.serve(self)),
            "flagz" | "statusz" => pages::serve(self, head, info),
            "debug" => self.flow.dump(info).ok_or_else(StatusError::path_not_found),
            // Documents are answered whatever the method, upstream's too.
            _ => discovery::serve(self, head, info),
        }
    }

    /// The resource itself.
    async fn serve_kind(self: &Arc<Self>, call: Call, body: Body) -> Result<Response<Body>, StatusError> {
        let kind = call.resource.info();
        let verb = &*call.info.verb;
        check_scope(&call)?;
        let has_verb = kind.verbs.iter().any(|v| v == verb);
        // A name more or less than the verb is about.
        let fits = match verb {
            "create" => call.info.name.is_empty(),
            "update" | "patch" => !call.info.name.is_empty(),
            _ => call.head.method != Method::HEAD,
        };
        if !has_verb || !fits {
            return Err(method_not_allowed());
        }
        if let Some(handler) = self.extensions.handler(call.resource.storage_key(), "") {
            let handler = handler.clone();
            return self.serve_handler(handler, call, body).await;
        }
        if !extend::is_stored(kind) {
            return Err(StatusError::path_not_found());
        }
        let Some(name) = step_of(verb) else { return Err(method_not_allowed()) };
        step(name, || call.trace_attributes(), self.serve_verb(&call, body)).await
    }

    async fn serve_verb(self: &Arc<Self>, call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
        match &*call.info.verb {
            "get" => verbs::get(self, call).await,
            "list" => verbs::list(self, call).await,
            "watch" => verbs::watch(self, call).await,
            "create" => verbs::create(self, call, body).await,
            "update" => verbs::update(self, call, body).await,
            "patch" => verbs::patch(self, call, body).await,
            "delete" => verbs::delete(self, call, body).await,
            "deletecollection" => verbs::delete_collection(self, call, body).await,
            _ => Err(method_not_allowed()),
        }
    }

    async fn serve_sub(self: &Arc<Self>, call: Call, body: Body) -> Result<Response<Body>, StatusError> {
        let Some(sub) = call.resource.info().subresource(&call.info.subresource) else {
            return Err(StatusError::path_not_found());
        };
        let namespaced = call.resource.info().namespaced;
        if call.info.name.is_empty() || (namespaced && call.info.namespace.is_empty()) {
            return Err(StatusError::path_not_found());
        }
        // A proxy passes OPTIONS on, which is no verb of ours.
        let passed_on = call.head.method == Method::OPTIONS && call.info.subresource == "proxy";
        if !passed_on && !sub.verbs.contains(&call.info.verb.as_str().into()) {
            return Err(method_not_allowed());
        }
        if let Some(handler) = self.handler(&call.resource, &call.info.subresource) {
            return self.serve_handler(handler, call, body).await;
        }
        match &*call.info.verb {
            _ if !extend::GENERIC.contains(&&*call.info.subresource) => Err(StatusError::path_not_found()),
            "get" => verbs::get(self, &call).await,
            "update" => verbs::update(self, &call, body).await,
            "patch" => verbs::patch(self, &call, body).await,
            _ => Err(method_not_allowed()),
        }
    }

    async fn serve_handler(
        self: &Arc<Self>,
        handler: Handler,
        call: Call,
        body: Body,
    ) -> Result<Response<Body>, StatusError> {
        match (handler, &*call.info.verb) {
            (Handler::Connect(connector), _) => {
                // A log is read, not connected to.
                if call.info.subresource != "log" {
                    self.admit_connection(&call).await?;
                }
                connector.serve(self, call, body).await
            }
            (Handler::Create(creator), "create") => verbs::create_virtual(self, &call, &*creator, body).await,
            (Handler::View(view), "get") => verbs::get_view(self, &call, &*view).await,
            (Handler::View(view), "update") => verbs::update_view(self, &call, &*view, body).await,
            (Handler::View(view), "patch") => verbs::patch_view(self, &call, &*view, body).await,
            _ => Err(method_not_allowed()),
        }
    }
}

/// The path must name a namespace where the kind lives in one, and none where it does not.
fn check_scope(call: &Call) -> Result<(), StatusError> {
    let info = &call.info;
    if !call.resource.info().namespaced {
        // A namespace's own name also stands where namespaces stand.
        let fits = info.namespace.is_empty() || info.namespace == info.name;
        return if fits { Ok(()) } else { Err(StatusError::path_not_found()) };
    }
    match &*info.verb {
        _ if !info.namespace.is_empty() => Ok(()),
        "list" | "watch" => Ok(()),
        "create" | "deletecollection" => Err(method_not_allowed()),
        _ => Err(StatusError::path_not_found()),
    }
}

pub fn method_not_allowed() -> StatusError {
    StatusError::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        .with_details(serde_json::json!({}))
}
