//! A request's objects as a webhook or policy sees them: in the version its rule names, a subresource's own kind
//! where it has one (`k8s.io/apiserver/pkg/admission/conversion.go`).

use std::sync::Arc;

use orlop_api::Value;
use orlop_api::status::StatusError;
use serde_json::json;

use super::Attributes;
use crate::Server;
use crate::extend::{Handler, View};
use crate::resource::Resource;

pub struct Versioned {
    /// What the rule names.
    pub resource: Resource,
    /// `Null` where there is none.
    pub object: Value,
    pub old_object: Value,
}

impl Versioned {
    pub async fn of(server: &Server, a: &Attributes, resource: &Resource) -> Result<Self, StatusError> {
        let object = seen(server, a, resource, &a.object).await?;
        let old_object = seen(server, a, resource, a.old_object.as_deref().unwrap_or(&Value::Null)).await?;
        Ok(Self { resource: resource.clone(), object, old_object })
    }

    /// What was made of the object, as admission holds it.
    pub async fn held(&self, server: &Server, a: &Attributes, mut object: Value) -> Result<Value, StatusError> {
        if let Some(view) = view(server, a) {
            let mut parent = a.object.clone();
            view.write(&object, &mut parent)?;
            return Ok(parent);
        }
        if self.resource.conversion().is_some() {
            return server.in_version(&a.resource, object).await;
        }
        self.resource.to_stored(&mut object);
        Ok(object)
    }
}

/// `GroupVersionKind` of what requests for `resource` carry, as reviews tell it.
pub fn kind(a: &Attributes, resource: &Resource) -> Value {
    if let Some((api_version, kind)) = &a.connect_kind {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        return json!({ "group": group, "version": version, "kind": kind });
    }
    let info = resource.info();
    let own = |kind: &str| json!({ "group": &*info.group, "version": resource.version(), "kind": kind });
    match info.subresource(&a.subresource) {
        Some(sub) if !sub.kind.is_empty() && !sub.version.is_empty() => {
            json!({ "group": sub.group, "version": sub.version, "kind": sub.kind })
        }
        Some(sub) if !sub.kind.is_empty() => own(&sub.kind),
        _ => own(&info.kind),
    }
}

/// `GroupVersionResource`, as reviews tell it.
pub fn resource(resource: &Resource) -> Value {
    let info = resource.info();
    json!({ "group": &*info.group, "version": resource.version(), "resource": &*info.plural })
}

/// What of one request was made for several that ask for the same version.
#[derive(Default)]
pub struct Views(Vec<Arc<Versioned>>);

impl Views {
    pub async fn get(
        &mut self,
        server: &Server,
        a: &Attributes,
        resource: &Resource,
    ) -> Result<Arc<Versioned>, StatusError> {
        if let Some(known) = self.0.iter().find(|known| known.resource.api_version() == resource.api_version()) {
            return Ok(known.clone());
        }
        let made = Arc::new(Versioned::of(server, a, resource).await?);
        self.0.push(made.clone());
        Ok(made)
    }

    /// The object has changed.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

async fn seen(server: &Server, a: &Attributes, resource: &Resource, held: &Value) -> Result<Value, StatusError> {
    if !held.is_object() {
        return Ok(Value::Null);
    }
    if a.connect_kind.is_some() {
        return Ok(held.clone());
    }
    if let Some(view) = view(server, a) {
        return view.read(held);
    }
    if resource.conversion().is_some() {
        return server.in_version(resource, held.clone()).await;
    }
    Ok(resource.versioned(held).into_owned())
}

/// How a subresource's object is kept inside what admission holds.
fn view(server: &Server, a: &Attributes) -> Option<Arc<dyn View>> {
    if a.subresource.is_empty() {
        return None;
    }
    match server.handler(&a.resource, &a.subresource)? {
        Handler::View(view) => Some(view),
        _ => None,
    }
}
