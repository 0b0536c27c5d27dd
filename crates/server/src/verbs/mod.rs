//! The generic verbs, one file each. They know objects, versions and hooks, but no kind by name.

mod change;
mod collection;
mod create;
mod delete;
pub mod deletion;
mod fields;
mod get;
mod list;
mod modify;
mod owner;
mod patch;
mod unsafe_delete;
mod update;
mod view;
mod watch;

use http::Response;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_client::transport::Body;
use tokio::time::Instant;

use crate::Server;
use crate::admission::metrics::{Half, METRICS};
use crate::admission::{Attributes, Operation};
use crate::call::Call;
use crate::observe::serialized;
use crate::resource::Resource;
use crate::trace;
use crate::wire::negotiate::{self, Offer, Output};
use crate::wire::respond::{self, Content};

use change::{Change, change};
pub(crate) use collection::delete_collection;
pub(crate) use create::{create, create_virtual};
pub(crate) use delete::{Target, delete, delete_one};
pub(crate) use get::get;
pub(crate) use list::list;
pub(crate) use modify::modify;
pub(crate) use patch::{check_format, patch};
pub(crate) use update::update;
pub(crate) use view::{get_view, patch_view, update_view};
pub(crate) use watch::watch;

/// Where upstream keeps an object in etcd, as its errors tell: of dry runs before the store has put its prefix there.
pub(crate) fn etcd_key(resource: &Resource, namespace: &str, name: &str, dry_run: bool) -> String {
    let info = resource.info();
    let plural = match (&*info.group, &*info.plural) {
        ("", "endpoints") => "services/endpoints",
        ("", "nodes") => "minions",
        ("", "replicationcontrollers") => "controllers",
        ("", "services") => "services/specs",
        ("networking.k8s.io", "ingresses") => "ingress",
        (_, plural) => plural,
    };
    let by_group = !resource.has_protobuf() || resource.kind().is_stored_as_json();
    let group = if by_group { &*info.group } else { "" };
    let prefix = if dry_run { "" } else { "registry" };
    let parts = [prefix, group, plural, namespace, name].into_iter().filter(|part| !part.is_empty());
    parts.fold(String::new(), |key, part| key + "/" + part)
}

impl Call {
    /// What the client accepts for one object or a list.
    pub(crate) fn output(&self, watch: bool) -> Result<Output, StatusError> {
        negotiate::output(&self.head.headers, &self.info, self.offer(watch))
    }

    /// What the client accepts for an object that is not of the resource's kind (Scale, Status).
    pub(crate) fn output_other(&self) -> Result<Output, StatusError> {
        let offer = Offer { shapes: false, ..self.offer(false) };
        negotiate::output(&self.head.headers, &self.info, offer)
    }

    fn offer(&self, watch: bool) -> Offer {
        Offer { protobuf: self.resource.has_protobuf(), cbor: self.info.cbor, shapes: true, watch }
    }

    pub(crate) fn respond(&self, output: Output, code: u16, content: Content) -> Result<Response<Body>, StatusError> {
        let head = &self.head.headers;
        self.serialize(output, || respond::object(&self.resource, &self.info, head, output, code, content))
    }

    /// `work` serializes the answer.
    fn serialize<T>(&self, output: Output, work: impl FnOnce() -> T) -> T {
        let attributes = || {
            let protocol = format!("{:?}", self.head.version);
            let (method, media) = (self.head.method.as_str(), output.media.name());
            let said = [("method", method), ("url", &self.info.path), ("protocol", &protocol), ("mediaType", media)];
            said.map(|(name, text)| (name, trace::Value::Text(text.to_owned()))).into()
        };
        serialized(attributes, work)
    }

    /// The namespace objects of this request live in; empty for cluster-scoped kinds.
    pub(crate) fn namespace(&self) -> &str {
        if self.resource.info().namespaced { &self.info.namespace } else { "" }
    }

    pub(crate) fn not_found(&self) -> StatusError {
        StatusError::not_found(self.resource.group_resource(), &self.info.name)
    }

    /// What admission sees of a write of `object`, given in the stored version.
    pub(crate) fn attributes(&self, operation: Operation, object: Value, dry_run: bool) -> Attributes {
        Attributes {
            operation,
            resource: self.resource.clone(),
            subresource: self.info.subresource.clone(),
            namespace: self.info.namespace.clone(),
            name: self.info.name.clone(),
            object,
            old_object: None,
            dry_run,
            user: self.user.clone(),
            warnings: self.warnings.clone(),
            trail: self.trail.clone(),
            patched: self.info.verb == "patch",
            field_manager: self.info.query("fieldManager").unwrap_or_default().to_owned(),
            connect_kind: None,
            reinvocation: Default::default(),
        }
    }
}

impl Server {
    /// Runs the mutating half of admission; again, once, when a webhook changed what others had already seen.
    pub(crate) async fn admit(&self, attributes: &mut Attributes) -> Result<(), StatusError> {
        let began = Instant::now();
        let mut result = self.admit_round(attributes).await;
        if result.is_ok() && std::mem::take(&mut attributes.reinvocation.wanted) {
            attributes.reinvocation.second = true;
            result = self.admit_round(attributes).await;
        }
        METRICS.step(Half::Admit, attributes.operation, began.elapsed(), result.is_err());
        result
    }

    async fn admit_round(&self, attributes: &mut Attributes) -> Result<(), StatusError> {
        for plugin in &self.admission {
            plugin.admit(self, attributes).await?;
        }
        Ok(())
    }

    /// Runs the validating half of admission.
    pub(crate) async fn validate(&self, attributes: &Attributes) -> Result<(), StatusError> {
        let began = Instant::now();
        let result = self.validate_round(attributes).await;
        METRICS.step(Half::Validate, attributes.operation, began.elapsed(), result.is_err());
        result
    }

    async fn validate_round(&self, attributes: &Attributes) -> Result<(), StatusError> {
        for plugin in &self.admission {
            plugin.validate(self, attributes).await?;
        }
        Ok(())
    }
}

/// An object's namespace must be the request's; when it has none it gets it.
fn ensure_namespace(object: &mut Value, namespace: &str) -> Result<(), StatusError> {
    match meta::namespace(object) {
        same if same == namespace => Ok(()),
        "" => {
            meta::set(object, "namespace", namespace);
            Ok(())
        }
        _ if namespace.is_empty() => {
            meta::remove(object, "namespace");
            Ok(())
        }
        _ => Err(StatusError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
    }
}

/// What a client cannot say of a new object.
fn wipe_system_fields(object: &mut Value) {
    for field in ["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        meta::remove(object, field);
    }
}
