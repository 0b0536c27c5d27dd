//! Admission policies in CEL (`k8s.io/apiserver/pkg/admission/plugin/policy`): what validating and mutating
//! policies have in common. A policy says what must hold or change, a binding where, its params with which
//! values.

mod conditions;
mod environment;
mod evaluate;
mod matching;
mod mutating;
mod notes;
mod params;
mod patch;
mod validating;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_api::Value;
use orlop_api::field::ErrorList;
use orlop_store::Revision;

use super::Attributes;
use crate::Server;

pub use conditions::Conditions;
pub use evaluate::{Asker, Input};
pub use mutating::MutatingAdmissionPolicy;
pub use validating::ValidatingAdmissionPolicy;

/// Kinds that configure admission: no policy applies to them, or a bad one could not be removed.
const EXEMPT: [&str; 6] = [
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];

fn is_exempt(attributes: &Attributes) -> bool {
    let info = attributes.resource.info();
    info.group == "admissionregistration.k8s.io" && EXEMPT.contains(&&*info.plural)
}

/// A policy, compiled once per revision.
pub struct Policy<T> {
    pub name: String,
    pub object: Value,
    pub compiled: T,
}

/// The policies of a kind by name, each with the revision it was compiled from.
pub struct Policies<T>(Mutex<BTreeMap<Box<str>, (Revision, Arc<Policy<T>>)>>);

impl<T> Default for Policies<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Policies<T> {
    /// All there are now, in the order of their names.
    fn all(&self, server: &Server, storage_key: &str, compile: fn(&Value) -> T) -> Vec<Arc<Policy<T>>> {
        let snapshot = server.store.snapshot();
        if snapshot.count(storage_key, None) == 0 {
            return Vec::new();
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::take(&mut *known);
        for entry in snapshot.range(storage_key, None, None) {
            let name: Box<str> = (&*entry.key.name).into();
            let policy = match old.get(&name).filter(|(revision, _)| *revision == entry.revision) {
                Some((_, policy)) => policy.clone(),
                None => {
                    let object: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
                    let compiled = compile(&object);
                    Arc::new(Policy { name: name.to_string(), object, compiled })
                }
            };
            known.insert(name, (entry.revision, policy));
        }
        known.values().map(|(_, policy)| policy.clone()).collect()
    }
}

/// The bindings of a policy, in the order of their names.
fn bindings(server: &Server, storage_key: &str, policy: &str) -> Vec<Value> {
    let snapshot = server.store.snapshot();
    let all = snapshot.range(storage_key, None, None);
    let parsed = all.filter_map(|entry| serde_json::from_slice::<Value>(&entry.json).ok());
    parsed.filter(|binding| binding["spec"]["policyName"] == policy).collect()
}

/// What a binding evaluates its policy with; `None` where the binding does not apply.
fn params_here(
    server: &Server,
    a: &Attributes,
    policy: &Value,
    binding: &Value,
) -> Option<Result<Vec<Option<Value>>, String>> {
    let criteria = &binding["spec"]["matchResources"];
    let matched =
        if criteria.is_null() { Ok(true) } else { matching::matches(server, a, criteria).map(|m| m.is_some()) };
    match matched {
        Ok(false) => None,
        Ok(true) => Some(params::collect(server, policy, binding, &a.namespace)),
        Err(why) => Some(Err(why)),
    }
}

/// What of a policy's expressions does not compile; `old` is what an update starts from.
pub fn policy_errors(policy: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::default();
    if policy["spec"]["mutations"].is_array() {
        mutating::Mutations::compile(policy).check(policy, old, &mut errors);
    } else {
        validating::Validations::compile(policy).check(policy, old, &mut errors);
    }
    errors
}

/// `Fail` unless the policy says otherwise.
fn ignores_failures(policy: &Value) -> bool {
    policy["spec"]["failurePolicy"] == "Ignore"
}
