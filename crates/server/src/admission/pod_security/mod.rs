//! Pods keep to the level of security their namespace's labels ask for
//! (`k8s.io/pod-security-admission/admission`; KEP 2579).

mod checks;
mod containers;
mod level;
mod pod;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use orlop_api::field::ErrorList;
use orlop_api::status::StatusError;
use orlop_api::{Value, equality, meta};

use super::cluster::find;
use super::{Attributes, Operation, Plugin};
use crate::Server;
use checks::violations;
use level::{Bound, Level, Policy};

pub struct PodSecurity;

/// Existing pods that are looked at when a namespace gets stricter.
const MAX_PODS: usize = 3000;

/// Writes that change nothing a level is about.
const IGNORED: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, a: &Attributes) -> bool {
        let writes = matches!(a.operation, Operation::Create | Operation::Update);
        let subject = if a.is("", "pods") {
            !IGNORED.contains(&&*a.subresource)
        } else {
            a.subresource.is_empty() && (a.is("", "namespaces") || template_path(a).is_some())
        };
        writes && subject
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(std::future::ready(if a.is("", "namespaces") { namespace(server, a) } else { subject(server, a) }))
    }
}

/// Where a workload keeps its pods' template.
fn template_path(a: &Attributes) -> Option<&'static str> {
    let info = a.resource.info();
    Some(match (&*info.group, &*info.plural) {
        ("", "podtemplates") => "/template",
        ("", "replicationcontrollers") | ("batch", "jobs") => "/spec/template",
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => "/spec/template",
        ("batch", "cronjobs") => "/spec/jobTemplate/spec/template",
        _ => return None,
    })
}

/// A pod is refused, a workload only warned of.
fn subject(server: &Server, a: &Attributes) -> Result<(), StatusError> {
    let Some(namespace) = find(server, "namespaces", "", &a.namespace) else {
        return Err(StatusError::internal(format!("failed to lookup namespace {:?}", a.namespace)));
    };
    let (policy, errors) = Policy::of(&namespace);
    let (pod, enforced) = match template_path(a) {
        None => (&a.object, true),
        Some(path) => match a.object.pointer(path) {
            Some(template) => (template, false),
            None => return Ok(()),
        },
    };
    if policy.is_privileged() && enforced {
        note(a, "enforce-policy", "privileged:latest");
    }
    let untouched = |old: &Value| enforced && !is_significant(&a.object, old);
    if policy.is_privileged() || a.old_object.as_deref().is_some_and(untouched) {
        return Ok(());
    }
    if !errors.is_empty() {
        note(a, "error", &format!("Failed to parse policy: {}", errors.aggregate()));
    }
    let audited = violations(policy.audit, pod);
    if !audited.is_empty() {
        note(a, "audit-violations", &format!("would violate PodSecurity \"{}\": {}", policy.audit, list(&audited)));
    }
    if enforced {
        note(a, "enforce-policy", &policy.enforce.to_string());
        let found = violations(policy.enforce, pod);
        if !found.is_empty() {
            return Err(a.forbidden(&format!("violates PodSecurity \"{}\": {}", policy.enforce, list(&found))));
        }
    }
    let found = violations(policy.warn, pod);
    if !found.is_empty() {
        a.warnings.add(format!("would violate PodSecurity \"{}\": {}", policy.warn, list(&found)));
    }
    Ok(())
}

/// For the audit log.
fn note(a: &Attributes, key: &str, value: &str) {
    a.trail.annotate(&format!("pod-security.kubernetes.io/{key}"), value);
}

/// `reason (detail), reason`
fn list(found: &[checks::Violation]) -> String {
    let texts = found.iter().map(|(reason, detail)| match detail.as_str() {
        "" => reason.clone(),
        detail => format!("{reason} ({detail})"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Of a pod's spec an update may change little that levels are about: images, and ephemeral containers.
fn is_significant(pod: &Value, old: &Value) -> bool {
    let without = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Value::Object(fields) = container {
                    fields.retain(|field, _| matches!(field.as_str(), "name" | "image" | "securityContext"));
                }
            }
        }
        let kept = ["containers", "initContainers", "ephemeralContainers"].map(|list| spec[list].clone());
        (Value::from(kept.to_vec()), pod["metadata"]["annotations"].clone())
    };
    let (new, old) = (without(pod), without(old));
    !equality::same(&new.0, &old.0) || !equality::same(&new.1, &old.1)
}

/// Labels must make sense; pods that a stricter level would not let in are warned of.
fn namespace(server: &Server, a: &Attributes) -> Result<(), StatusError> {
    let (policy, errors) = Policy::of(&a.object);
    let Some(old) = a.old_object.as_deref() else { return refuse(a, &errors) };
    let (before, old_errors) = Policy::of(old);
    if errors != old_errors {
        refuse(a, &errors)?;
    }
    let (new, old) = (policy.enforce, before.enforce);
    if new == old || new.level == Level::Privileged || (new.version == old.version && new.level <= old.level) {
        return Ok(());
    }
    warn_of_existing(server, a, new);
    Ok(())
}

fn refuse(a: &Attributes, errors: &ErrorList) -> Result<(), StatusError> {
    if errors.is_empty() {
        return Ok(());
    }
    let info = a.resource.info();
    Err(StatusError::invalid(&info.group, &info.kind, meta::name(&a.object), errors))
}

fn warn_of_existing(server: &Server, a: &Attributes, bound: Bound) {
    let name = meta::name(&a.object);
    let snapshot = server.store.snapshot();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let pods = snapshot.range("pods", Some(name), None).take(MAX_PODS);
    for pod in pods.filter_map(|entry| serde_json::from_slice::<Value>(&entry.json).ok()) {
        let broken = violations(bound, &pod);
        if !broken.is_empty() {
            let reasons: Vec<String> = broken.into_iter().map(|(reason, _)| reason).collect();
            found.entry(reasons.join(", ")).or_default().push(meta::name(&pod).to_owned());
        }
    }
    if found.is_empty() {
        return;
    }
    a.warnings
        .add(format!("existing pods in namespace {name:?} violate the new PodSecurity enforce level \"{bound}\""));
    let mut texts: Vec<String> = found
        .into_iter()
        .map(|(reasons, mut pods)| {
            pods.sort();
            match pods.len() {
                1 => format!("{}: {reasons}", pods[0]),
                2 => format!("{} (and 1 other pod): {reasons}", pods[0]),
                many => format!("{} (and {} other pods): {reasons}", pods[0], many - 1),
            }
        })
        .collect();
    texts.sort();
    texts.into_iter().for_each(|text| a.warnings.add(text));
}
