//! From what people type (`po`, `deploy/web`, `pods,services`) to resources.

use anyhow::{Result, anyhow, bail};
use orlop_client::{Client, Resource};
use serde_json::Value;

const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// One resource with all the names it goes by.
#[derive(Clone, Debug)]
pub struct Entry {
    pub resource: Resource,
    singular: String,
    short_names: Vec<String>,
    categories: Vec<String>,
}

/// Everything served, in discovery's order.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

impl Catalogue {
    pub async fn load(client: &Client) -> Result<Self> {
        let mut catalogue = Self::default();
        for path in ["/api", "/apis"] {
            let response = client.stream(http::Method::GET, path, ACCEPT).await?;
            let body = http_body_util::BodyExt::collect(response.into_body()).await.map_err(|e| anyhow!("{e}"))?;
            catalogue.add(&serde_json::from_slice(&body.to_bytes())?);
        }
        Ok(catalogue)
    }

    fn add(&mut self, document: &Value) {
        for group in document["items"].as_array().into_iter().flatten() {
            let group_name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in group["versions"].as_array().into_iter().flatten() {
                for resource in version["resources"].as_array().into_iter().flatten() {
                    self.entries.push(Entry::read(group_name, version, resource));
                }
            }
        }
    }

    /// `po`, `pod`, `pods`, `deployments.apps`, `deployments.v1.apps`.
    pub fn find(&self, name: &str) -> Result<&Entry> {
        let lower = name.to_lowercase();
        let (plain, rest) = lower.split_once('.').unwrap_or((&lower, ""));
        let in_group = |e: &&Entry| {
            let versioned = format!("{}.{}", e.resource.version, e.resource.group);
            rest.is_empty() || e.resource.group == rest || versioned.trim_end_matches('.') == rest
        };
        let by = |matches: fn(&Entry, &str) -> bool| self.entries.iter().filter(in_group).find(|e| matches(e, plain));
        by(|e, n| e.resource.plural == n)
            .or_else(|| by(|e, n| e.singular == n || e.resource.kind.to_lowercase() == n))
            .or_else(|| by(|e, n| e.short_names.iter().any(|s| s == n)))
            .ok_or_else(|| anyhow!("the server doesn't have a resource type \"{name}\""))
    }

    /// The resource of a manifest's apiVersion and kind.
    pub fn of_object(&self, object: &Value) -> Result<&Resource> {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let found = self.entries.iter().find(|e| e.resource.api_version() == api_version && e.resource.kind == kind);
        found.map(|e| &e.resource).ok_or_else(|| anyhow!("no matches for kind \"{kind}\" in version \"{api_version}\""))
    }

    fn category(&self, name: &str) -> Vec<&Entry> {
        let mut seen: Vec<&Entry> = Vec::new();
        for entry in self.entries.iter().filter(|e| e.categories.iter().any(|c| c == name)) {
            let known = seen
                .iter()
                .any(|e| e.resource.group == entry.resource.group && e.resource.plural == entry.resource.plural);
            if !known {
                seen.push(entry);
            }
        }
        seen
    }

    /// `pods`, `pods,svc`, `all`.
    pub fn types(&self, text: &str) -> Result<Vec<&Entry>> {
        let mut found = Vec::new();
        for name in text.split(',').filter(|n| !n.is_empty()) {
            let category = self.category(name);
            if category.is_empty() { found.push(self.find(name)?) } else { found.extend(category) }
        }
        Ok(found)
    }
}

impl Entry {
    fn read(group: &str, version: &Value, resource: &Value) -> Self {
        let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let texts = |field: &str| -> Vec<String> {
            resource[field].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        Self {
            resource: Resource {
                group: group.to_owned().into(),
                version: text(version, "version").into(),
                plural: text(resource, "resource").into(),
                kind: text(&resource["responseKind"], "kind").into(),
                namespaced: resource["scope"] == "Namespaced",
            },
            singular: text(resource, "singularResource"),
            short_names: texts("shortNames"),
            categories: texts("categories"),
        }
    }
}

/// What a verb is to act on.
#[derive(Clone, Debug)]
pub struct Target {
    pub resource: Resource,
    /// `None`: all of the resource that the selectors let through.
    pub name: Option<String>,
}

/// `TYPE`, `TYPE NAME...`, `TYPE/NAME...`, `TYPE,TYPE`.
pub fn targets(catalogue: &Catalogue, words: &[String]) -> Result<Vec<Target>> {
    let Some(first) = words.first() else { bail!("you must specify the type of resource, e.g. pods") };
    if words.iter().any(|w| w.contains('/')) {
        return words.iter().map(|word| one(catalogue, word)).collect();
    }
    let types = catalogue.types(first)?;
    let names = &words[1..];
    let mut targets = Vec::new();
    for entry in types {
        if names.is_empty() {
            targets.push(Target { resource: entry.resource.clone(), name: None });
        }
        targets.extend(names.iter().map(|name| Target { resource: entry.resource.clone(), name: Some(name.clone()) }));
    }
    Ok(targets)
}

/// `TYPE/NAME`.
pub fn one(catalogue: &Catalogue, word: &str) -> Result<Target> {
    match word.split_once('/') {
        Some((ty, name)) if !ty.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(Target { resource: catalogue.find(ty)?.resource.clone(), name: Some(name.to_owned()) })
        }
        _ => bail!("arguments in resource/name form must have a single resource and name"),
    }
}

/// `deployment.apps/web`, `pod/web`.
pub fn display(resource: &Resource, name: &str) -> String {
    let kind = resource.kind.to_lowercase();
    if resource.group.is_empty() { format!("{kind}/{name}") } else { format!("{kind}.{}/{name}", resource.group) }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    pub fn catalogue() -> Catalogue {
        let resource = |plural: &str, singular: &str, kind: &str, short: &str, all: bool| {
            json!({"resource": plural, "singularResource": singular, "responseKind": {"kind": kind}, "scope": "Namespaced",
                "shortNames": [short], "categories": if all { json!(["all"]) } else { json!([]) }})
        };
        let mut catalogue = Catalogue::default();
        catalogue.add(&json!({"items": [
            {"metadata": {}, "versions": [{"version": "v1", "resources": [
                resource("pods", "pod", "Pod", "po", true), resource("configmaps", "configmap", "ConfigMap", "cm", false)]}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [resource("deployments", "deployment", "Deployment", "deploy", true)]}]}]}));
        catalogue
    }

    #[test]
    fn every_way_to_name_a_resource_finds_it() {
        let catalogue = catalogue();
        for name in ["deployments", "deployment", "deploy", "Deployment", "deployments.apps", "deploy.v1.apps"] {
            assert_eq!(catalogue.find(name).unwrap().resource.kind, "Deployment", "{name}");
        }
        assert_eq!(
            catalogue.find("nothing").unwrap_err().to_string(),
            "the server doesn't have a resource type \"nothing\""
        );
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let shown = |given: &[&str]| -> Vec<String> {
            let targets = targets(&catalogue, &words(given)).unwrap();
            targets.iter().map(|t| display(&t.resource, t.name.as_deref().unwrap_or("*"))).collect()
        };
        assert_eq!(shown(&["all"]), ["pod/*", "deployment.apps/*"]);
        assert_eq!(shown(&["po,cm"]), ["pod/*", "configmap/*"]);
        assert_eq!(shown(&["po", "a", "b"]), ["pod/a", "pod/b"]);
        assert_eq!(shown(&["po/a", "deploy/b"]), ["pod/a", "deployment.apps/b"]);
        assert!(targets(&catalogue, &words(&["po/a/b"])).is_err());
    }
}
