//! A namespace says what its pods tolerate, and may tolerate at most
//! (`plugin/pkg/admission/podtolerationrestriction`).

use futures_util::future::BoxFuture;
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{Value, meta};
use serde::Deserialize;
use serde_json::json;

use super::{Attributes, Operation, Plugin, cluster};
use crate::Server;

const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const WHITELIST: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

/// What counts where a namespace says nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodTolerationRestriction {
    default: Vec<Value>,
    whitelist: Vec<Value>,
}

impl Plugin for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    fn handles(&self, a: &Attributes) -> bool {
        matches!(a.operation, Operation::Create | Operation::Update) && a.is("", "pods") && a.subresource.is_empty()
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let namespace = namespace(server, a)?;
            let mut extra = Vec::new();
            if a.operation == Operation::Create {
                extra = annotated(&namespace, DEFAULTS)?.unwrap_or_else(|| self.default.clone());
            }
            if !is_best_effort(&a.object) {
                let key = "node.kubernetes.io/memory-pressure";
                extra.push(json!({ "key": key, "operator": "Exists", "effect": "NoSchedule" }));
            }
            if !extra.is_empty() {
                let merged = merge([tolerations(&a.object), extra].concat());
                meta::child_mut(&mut a.object, "spec").insert("tolerations".into(), merged.into());
            }
            self.check(&namespace, &a.object)
        })
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move { self.check(&namespace(server, a)?, &a.object) })
    }
}

impl PodTolerationRestriction {
    fn check(&self, namespace: &Value, pod: &Value) -> Result<(), StatusError> {
        let asked = tolerations(pod);
        let (most, scope) = match annotated(namespace, WHITELIST)? {
            Some(most) => (most, "namespace"),
            None => (self.whitelist.clone(), "cluster"),
        };
        if most.is_empty() || asked.iter().all(|one| most.iter().any(|wide| covers(wide, one))) {
            return Ok(());
        }
        Err(StatusError::internal(format!(
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its {scope} whitelist"
        )))
    }
}

fn namespace(server: &Server, a: &Attributes) -> Result<Value, StatusError> {
    let missing = || StatusError::not_found(GroupResource { group: "", resource: "namespaces" }, &a.namespace);
    cluster::find(server, "namespaces", "", &a.namespace).ok_or_else(missing)
}

/// The list in an annotation; `None` without it.
fn annotated(namespace: &Value, annotation: &str) -> Result<Option<Vec<Value>>, StatusError> {
    match namespace["metadata"]["annotations"][annotation].as_str() {
        None => Ok(None),
        Some("") => Ok(Some(Vec::new())),
        Some(text) => serde_json::from_str(text).map(Some).map_err(StatusError::internal),
    }
}

fn tolerations(pod: &Value) -> Vec<Value> {
    pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default()
}

/// Without what others cover.
fn merge(all: Vec<Value>) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::new();
    for (i, one) in all.iter().enumerate() {
        let known = merged.iter().any(|wide| covers(wide, one));
        let later = all[i + 1..].iter().any(|wide| wide != one && covers(wide, one));
        if !known && !later {
            merged.push(one.clone());
        }
    }
    merged
}

/// Whether `wide` tolerates whatever `one` does.
fn covers(wide: &Value, one: &Value) -> bool {
    fn text<'a>(value: &'a Value, field: &str) -> &'a str {
        value[field].as_str().unwrap_or_default()
    }
    if wide == one {
        return true;
    }
    let everything = text(wide, "key").is_empty() && text(wide, "operator") == "Exists";
    if text(one, "key") != text(wide, "key") && !everything {
        return false;
    }
    if text(one, "effect") != text(wide, "effect") && !text(wide, "effect").is_empty() {
        return false;
    }
    let seconds = |value: &Value| value["tolerationSeconds"].as_i64();
    if text(wide, "effect") == "NoExecute"
        && let Some(most) = seconds(wide)
        && seconds(one).is_none_or(|asked| asked > most)
    {
        return false;
    }
    match text(wide, "operator") {
        "Exists" => true,
        "" | "Equal" => text(one, "operator") == "Equal" && text(one, "value") == text(wide, "value"),
        _ => false,
    }
}

/// Nothing in it asks for time or memory.
fn is_best_effort(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let lists = ["containers", "initContainers"];
    let mut all = lists.iter().flat_map(|list| spec[*list].as_array().into_iter().flatten()).chain([spec]);
    !all.any(|place| {
        let amounts = ["requests", "limits"].into_iter().flat_map(|kind| ["cpu", "memory"].map(|name| (kind, name)));
        amounts.map(|(kind, name)| &place["resources"][kind][name]).any(|amount| !amount.is_null() && amount != "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_tolerations_cover_narrower_ones() {
        let t = |text: &str| {
            let parts: Vec<&str> = text.split(' ').collect();
            let mut value = json!({});
            for (field, part) in ["key", "operator", "effect", "value"].into_iter().zip(parts) {
                if part != "-" {
                    value[field] = part.into();
                }
            }
            value
        };
        for (wide, one, expected) in [
            ("a Exists", "a Equal NoSchedule x", true),
            ("- Exists", "a Equal NoSchedule x", true),
            ("a Exists NoExecute", "a Equal NoSchedule x", false),
            ("a Equal - x", "a Equal NoSchedule x", true),
            ("a Equal - y", "a Equal NoSchedule x", false),
            ("b Exists", "a Equal NoSchedule x", false),
        ] {
            assert_eq!(covers(&t(wide), &t(one)), expected, "{wide} | {one}");
        }
        assert_eq!(merge(vec![t("a Equal NoSchedule x"), t("a Exists"), t("a Exists")]), [t("a Exists")]);
        let plugin = PodTolerationRestriction { default: Vec::new(), whitelist: vec![t("a Exists")] };
        let pod = json!({"spec": {"tolerations": [t("b Exists")]}});
        let error = plugin.check(&json!({}), &pod).expect_err("refused").message;
        assert!(error.ends_with("conflict with its cluster whitelist"), "{error}");
        let open = json!({"metadata": {"annotations": {WHITELIST: ""}}});
        assert!(plugin.check(&open, &pod).is_ok());
        assert!(
            is_best_effort(&pod)
                && !is_best_effort(&json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}}))
        );
    }
}
