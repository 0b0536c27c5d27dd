//! What objects use up of a ResourceQuota: the one computation that admission charges by and the quota
//! controller recounts by (`k8s.io/kubernetes/pkg/quota/v1`, `k8s.io/apiserver/pkg/quota/v1`).
//!
//! An [`Evaluator`] stands for one resource. [`Evaluator::of`] finds it by the resource, [`Evaluator::by_name`] by
//! what a quota's `hard` names.

mod claims;
mod pods;
mod services;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kinds::read::Read;
use crate::quantity::{Format, Quantity};
use crate::resource_list::ResourceList;

/// Never counted: kinds that are not stored, and events, which no quota has ever held.
const IGNORED: [(&str, &str); 10] = [
    ("", "bindings"),
    ("", "componentstatuses"),
    ("", "events"),
    ("events.k8s.io", "events"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];

/// Core kinds whose plain plural counts them too, beside `count/…`.
const COUNTED_BY_PLURAL: [&str; 4] = ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];

/// How one resource is measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evaluator {
    Pods,
    Services,
    PersistentVolumeClaims,
    /// Everything else is counted.
    Count {
        group: String,
        resource: String,
    },
}

impl Evaluator {
    /// The evaluator of a resource; none for what quotas ignore.
    pub fn of(group: &str, resource: &str) -> Option<Self> {
        match (group, resource) {
            _ if IGNORED.contains(&(group, resource)) => None,
            ("", "pods") => Some(Self::Pods),
            ("", "services") => Some(Self::Services),
            ("", "persistentvolumeclaims") => Some(Self::PersistentVolumeClaims),
            _ => Some(Self::Count { group: group.to_owned(), resource: resource.to_owned() }),
        }
    }

    /// Whose usage a quota limits by this name (`cpu`, `services.nodeports`, `count/jobs.batch`).
    pub fn by_name(name: &str) -> Option<Self> {
        if let Some(counted) = name.strip_prefix("count/") {
            let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
            return Self::of(group, resource);
        }
        if COUNTED_BY_PLURAL.contains(&name) {
            return Self::of("", name);
        }
        [Self::Pods, Self::Services, Self::PersistentVolumeClaims].into_iter().find(|e| e.tracks(name))
    }

    /// Group and plural.
    pub fn resource(&self) -> (&str, &str) {
        match self {
            Self::Pods => ("", "pods"),
            Self::Services => ("", "services"),
            Self::PersistentVolumeClaims => ("", "persistentvolumeclaims"),
            Self::Count { group, resource } => (group, resource),
        }
    }

    /// Whether this name of a quota is about this resource.
    pub fn tracks(&self, name: &str) -> bool {
        if name == self.count_name() {
            return true;
        }
        match self {
            Self::Pods => pods::tracks(name),
            Self::Services => services::tracks(name),
            Self::PersistentVolumeClaims => claims::tracks(name),
            Self::Count { group, resource } => {
                group.is_empty() && resource == name && COUNTED_BY_PLURAL.contains(&name)
            }
        }
    }

    /// What one object is charged at `now` (Unix seconds).
    pub fn usage(&self, object: &Value, now: i64) -> ResourceList {
        let mut usage = match self {
            Self::Pods => pods::usage(object, now),
            Self::Services => services::usage(object),
            Self::PersistentVolumeClaims => claims::usage(object),
            Self::Count { group, resource } if group.is_empty() && COUNTED_BY_PLURAL.contains(&resource.as_str()) => {
                [(resource.clone(), one())].into_iter().collect()
            }
            Self::Count { .. } => ResourceList::default(),
        };
        usage.set(self.count_name(), one());
        usage
    }

    /// Whether the quota is about this object: it names something tracked, and all its scopes hold.
    pub fn matches(&self, quota: &Value, object: &Value) -> bool {
        quota.map("status.hard").keys().any(|name| self.tracks(name)) && self.in_scopes(quota, object)
    }

    /// All the quota's scopes hold.
    pub fn in_scopes(&self, quota: &Value, object: &Value) -> bool {
        scope_selectors(quota).iter().all(|selector| match self {
            Self::Pods => pods::in_scope(selector, object),
            Self::PersistentVolumeClaims => claims::in_scope(selector, object),
            Self::Services | Self::Count { .. } => false,
        })
    }

    /// What an object must say to be charged at all, in the words of the refusal.
    pub fn check(&self, quota: &Value, object: &Value) -> Result<(), String> {
        match self {
            Self::Pods => pods::check(quota.map("status.hard").keys().map(String::as_str), object),
            _ => Ok(()),
        }
    }

    fn count_name(&self) -> String {
        match self.resource() {
            ("", resource) => format!("count/{resource}"),
            (group, resource) => format!("count/{resource}.{group}"),
        }
    }
}

/// `status.used` of a quota, recounted: `list` yields every object of an evaluator's resource in the quota's namespace.
pub fn recount<'a, L>(quota: &Value, list: impl Fn(&Evaluator) -> L, now: i64) -> ResourceList
where
    L: IntoIterator<Item = &'a Value>,
{
    let hard = quota.map("spec.hard");
    let evaluators: BTreeSet<Evaluator> = hard.keys().filter_map(|name| Evaluator::by_name(name)).collect();
    let mut used = ResourceList::default();
    for name in hard.keys() {
        used.set(name.clone(), Quantity::ZERO);
    }
    for evaluator in &evaluators {
        for object in list(evaluator) {
            if evaluator.in_scopes(quota, object) {
                used.add(&evaluator.usage(object, now));
            }
        }
    }
    used.mask(hard.keys().map(String::as_str))
}

/// Scopes in both spellings, as `ScopedResourceSelectorRequirement`s.
fn scope_selectors(quota: &Value) -> Vec<Value> {
    let plain = quota.list("spec.scopes").iter().map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
    plain.chain(quota.list("spec.scopeSelector.matchExpressions").iter().cloned()).collect()
}

/// `In`, `NotIn`, `Exists`, `DoesNotExist` over the one value (or none) an object has for a scope.
fn selects(selector: &Value, value: Option<&str>) -> bool {
    let listed = || value.is_some_and(|value| selector.list("values").iter().any(|wanted| wanted == value));
    match selector.text("operator") {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

fn count(number: usize) -> Quantity {
    Quantity::new(number as i64, Format::DecimalSi)
}

fn one() -> Quantity {
    count(1)
}

#[cfg(test)]
mod tests;
