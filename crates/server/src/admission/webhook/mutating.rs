//! Hooks that may change the object, one after the other (`webhook/mutating/dispatcher.go`).

use futures_util::future::BoxFuture;
use orlop_api::codec::json::{self, FieldValidation};
use orlop_api::patch;
use orlop_api::status::StatusError;
use orlop_api::{Value, equality};
use serde_json::json;

use super::hook::{Hook, Hooks, is_exempt};
use crate::Server;
use crate::admission::metrics::Half;
use crate::admission::versioned::{Versioned, Views};
use crate::admission::{Attributes, Plugin};
use crate::audit::Level;
use crate::resource::Resource;

pub struct MutatingAdmissionWebhook(Hooks);

impl Default for MutatingAdmissionWebhook {
    fn default() -> Self {
        Self(Hooks::new("admissionregistration.k8s.io/mutatingwebhookconfigurations"))
    }
}

impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn handles(&self, a: &Attributes) -> bool {
        !is_exempt(a)
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let hooks = self.0.all(server);
            if hooks.is_empty() {
                return Ok(());
            }
            if a.reinvocation.second && a.reinvocation.output.as_ref().is_some_and(|seen| *seen != a.object) {
                a.reinvocation.require();
            }
            let mut views = Views::default();
            for hook in hooks.iter() {
                ask(server, hook, &mut views, a).await?;
            }
            a.reinvocation.output = Some(a.object.clone());
            Ok(())
        })
    }
}

async fn ask(server: &Server, hook: &Hook, views: &mut Views, a: &mut Attributes) -> Result<(), StatusError> {
    let Some(resource) = hook.concerns(server, a) else { return Ok(()) };
    if a.reinvocation.second && !a.reinvocation.again.contains(&hook.id) {
        return Ok(());
    }
    let unseen = |error: StatusError| StatusError::internal(StatusError::internal(error.message).message);
    let seen = views.get(server, a, &resource).await.map_err(unseen)?;
    let verdict = super::ask(server, hook, &seen, a, Half::Admit).await.inspect_err(|_| note(hook, a, false))?;
    let patch = verdict.and_then(|verdict| verdict.patch).filter(|patch| *patch != json!([]));
    let mut mutated = false;
    if let Some(patch) = patch {
        if a.object.is_null() {
            let name = &hook.name;
            return Err(StatusError::internal(format!(
                "admission webhook {name:?} attempted to modify the object, which is not supported for this operation"
            )));
        }
        let changed = seen.held(server, a, apply(&seen, &patch)?).await?;
        mutated = !equality::same(&changed, &a.object);
        if mutated {
            a.reinvocation.require();
            a.reinvocation.wanted = true;
        }
        a.object = changed;
        views.clear();
        let change = json!({"configuration": hook.configuration, "webhook": hook.name, "patch": patch,
                            "patchType": "JSONPatch"});
        let key = format!("patch.{}", super::place(hook, a));
        a.trail.annotate_at(Level::Request, &key, &change.to_string());
    }
    note(hook, a, mutated);
    if hook.reinvoke_if_needed {
        a.reinvocation.seen.insert(hook.id.clone());
    }
    Ok(())
}

/// Tells the audit log whether the hook changed the object.
fn note(hook: &Hook, a: &Attributes, mutated: bool) {
    let outcome = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": mutated});
    a.trail.annotate(&format!("mutation.{}", super::place(hook, a)), &outcome.to_string());
}

/// The patched object, read and defaulted as if a client had sent it.
fn apply(seen: &Versioned, patch: &Value) -> Result<Value, StatusError> {
    let resource = &seen.resource;
    let patched = patch::json::apply(seen.object.clone(), patch, false);
    let mut object = read(resource, patched.map_err(|error| StatusError::internal(error.message))?)?;
    resource.kind().set_defaults(resource.version(), &mut object);
    Ok(object)
}

fn read(resource: &Resource, mut patched: Value) -> Result<Value, StatusError> {
    match resource.body_schema() {
        Some(schema) => json::decode(&json::encode(&patched), Some(schema.get()), FieldValidation::Ignore)
            .map(|(object, _)| object)
            .map_err(|error| StatusError::internal(error.message)),
        None => {
            resource.kind().prune(&mut patched).map_err(StatusError::internal)?;
            Ok(patched)
        }
    }
}
