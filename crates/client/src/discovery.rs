//! What a server serves, from aggregated discovery (KEP-3352).

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::object::Resource;

const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// One resource as discovery shows it, in its group's preferred version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub resource: Resource,
    pub verbs: Vec<String>,
}

impl Served {
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// Every resource, and the group versions that could not be asked (an aggregated server is down).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    pub resources: Vec<Served>,
    pub stale: Vec<String>,
}

/// Asks for all groups.
pub async fn discover(client: &Client) -> Result<Discovery> {
    let mut found = Discovery::default();
    for path in ["/api", "/apis"] {
        let bytes = fetch(client, path).await?;
        let document: Value = serde_json::from_slice(&bytes).map_err(|source| Error::Decode {
            method: http::Method::GET,
            path: path.to_owned(),
            source,
        })?;
        for group in document["items"].as_array().into_iter().flatten() {
            read_group(group, &mut found);
        }
    }
    Ok(found)
}

async fn fetch(client: &Client, path: &str) -> Result<Bytes> {
    let response = client.stream(http::Method::GET, path, ACCEPT).await?;
    let body = response.into_body().collect().await;
    let lost = |source| Error::Transport { method: http::Method::GET, path: path.to_owned(), source };
    Ok(body.map_err(lost)?.to_bytes())
}

/// A resource counts in the first version that has it: versions come preferred first.
fn read_group(group: &Value, found: &mut Discovery) {
    let name = group["metadata"]["name"].as_str().unwrap_or_default();
    let first = found.resources.len();
    for version in group["versions"].as_array().into_iter().flatten() {
        let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let version_name = text(version, "version");
        if version["freshness"] == "Stale" {
            found.stale.push(format!("{name}/{version_name}"));
            continue;
        }
        for resource in version["resources"].as_array().into_iter().flatten() {
            let plural = text(resource, "resource");
            if found.resources[first..].iter().any(|s| s.resource.plural == plural.as_str()) {
                continue;
            }
            let verbs = resource["verbs"].as_array().into_iter().flatten();
            found.resources.push(Served {
                verbs: verbs.filter_map(|v| v.as_str().map(str::to_owned)).collect(),
                resource: Resource {
                    group: name.to_owned().into(),
                    version: version_name.clone().into(),
                    plural: plural.into(),
                    kind: text(&resource["responseKind"], "kind").into(),
                    namespaced: resource["scope"] == "Namespaced",
                },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_preferred_version_counts_and_stale_groups_are_named() {
        let hpa = json!({"resource": "hpas", "scope": "Namespaced", "responseKind": {"kind": "HPA"}, "verbs": ["list", "delete"]});
        let group = json!({"metadata": {"name": "autoscaling"}, "versions": [
            {"version": "v2", "resources": [hpa]}, {"version": "v1", "resources": [hpa]}, {"version": "v3", "freshness": "Stale"}]});
        let mut found = Discovery::default();
        read_group(&group, &mut found);
        assert_eq!((found.resources.len(), found.stale), (1, vec!["autoscaling/v3".to_owned()]));
        assert_eq!(found.resources[0].resource.api_version(), "autoscaling/v2");
        assert!(
            found.resources[0].can("list")
                && !found.resources[0].can("watch")
                && found.resources[0].resource.namespaced
        );
    }
}
