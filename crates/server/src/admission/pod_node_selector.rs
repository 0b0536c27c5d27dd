//! A namespace says on which nodes its pods may run (`plugin/pkg/admission/podnodeselector`).

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{Value, meta};
use serde::Deserialize;
use serde_json::json;

use super::{Attributes, Operation, Plugin, cluster};
use crate::Server;

const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";
const DEFAULT: &str = "clusterDefaultNodeSelector";

type Labels = BTreeMap<String, String>;

/// Selectors by namespace: what its pods may ask for at most; and the default of all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodNodeSelector {
    #[serde(rename = "podNodeSelectorPluginConfig")]
    selectors: BTreeMap<String, String>,
}

impl Plugin for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Create && a.is("", "pods") && a.subresource.is_empty()
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let wanted = self.of_namespace(server, a)?;
            let asked = node_selector(&a.object);
            if conflict(&wanted, &asked) {
                return Err(a.forbidden("pod node label selector conflicts with its namespace node label selector"));
            }
            let merged: Labels = wanted.into_iter().chain(asked).collect();
            if !merged.is_empty() {
                meta::child_mut(&mut a.object, "spec").insert("nodeSelector".into(), json!(merged));
            }
            self.check(server, a)
        })
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move { self.check(server, a) })
    }
}

impl PodNodeSelector {
    fn check(&self, server: &Server, a: &Attributes) -> Result<(), StatusError> {
        let asked = node_selector(&a.object);
        if conflict(&self.of_namespace(server, a)?, &asked) {
            return Err(a.forbidden("pod node label selector conflicts with its namespace node label selector"));
        }
        let most = parse(self.selectors.get(&a.namespace).map_or("", String::as_str))?;
        let within = most.is_empty() || asked.iter().all(|(key, value)| most.get(key) == Some(value));
        if within {
            Ok(())
        } else {
            Err(a.forbidden("pod node label selector labels conflict with its namespace whitelist"))
        }
    }

    fn of_namespace(&self, server: &Server, a: &Attributes) -> Result<Labels, StatusError> {
        let missing = || StatusError::not_found(GroupResource { group: "", resource: "namespaces" }, &a.namespace);
        let namespace = cluster::find(server, "namespaces", "", &a.namespace).ok_or_else(missing)?;
        self.wanted(&namespace)
    }

    fn wanted(&self, namespace: &Value) -> Result<Labels, StatusError> {
        match namespace["metadata"]["annotations"][ANNOTATION].as_str() {
            Some(selector) => parse(selector),
            None => parse(self.selectors.get(DEFAULT).map_or("", String::as_str)),
        }
    }
}

fn node_selector(pod: &Value) -> Labels {
    let fields = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    fields.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn conflict(a: &Labels, b: &Labels) -> bool {
    a.iter().any(|(key, value)| b.get(key).is_some_and(|other| other != value))
}

/// `a=b,c=d`, as `labels.ConvertSelectorToLabelsMap` reads it.
fn parse(selector: &str) -> Result<Labels, StatusError> {
    let pairs = selector.split(',').filter(|_| !selector.is_empty());
    let pair = |text: &str| {
        let mut parts = text.split('=');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(key), Some(value), None) => Ok((key.trim().to_owned(), value.trim().to_owned())),
            _ => Err(StatusError::internal(format!("invalid selector: [{text}]"))),
        }
    };
    pairs.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespaces_selector_counts_more_than_the_clusters() {
        let selectors = BTreeMap::from([(DEFAULT.to_owned(), "zone=a".to_owned())]);
        let plugin = PodNodeSelector { selectors };
        let wanted =
            |namespace: Value| plugin.wanted(&namespace).map(|labels| json!(labels)).map_err(|error| error.message);
        let annotated = |text: &str| json!({"metadata": {"annotations": {ANNOTATION: text}}});
        assert_eq!(wanted(json!({})), Ok(json!({"zone": "a"})));
        assert_eq!(wanted(annotated("zone=b, disk = ssd")), Ok(json!({"zone": "b", "disk": "ssd"})));
        assert_eq!(wanted(annotated("")), Ok(json!({})));
        assert!(wanted(annotated("zone")).is_err());
        let labels = |text: &str| parse(text).expect("labels");
        assert!(conflict(&labels("a=b"), &labels("a=c,d=e")) && !conflict(&labels("a=b"), &labels("d=e,a=b")));
    }
}
