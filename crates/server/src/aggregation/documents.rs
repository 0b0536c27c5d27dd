//! What another server publishes of its version of a group: discovery and OpenAPI
//! (`kube-aggregator/pkg/apiserver/handler_discovery.go`, `pkg/controllers/openapi*`).

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, ETAG};
use orlop_api::Value;
use serde_json::{Map, json};

use super::Remote;
use crate::connect::extension::{Answer, ExtensionServer};
use crate::discovery::AGGREGATED;

/// As of the last time it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// `APIVersionDiscovery` without its freshness.
    resources: Option<Value>,
    is_stale: bool,
    openapi_v2: Tagged,
    openapi_v3: Tagged,
}

/// A document and what its server calls this state of it; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tagged {
    etag: String,
    body: Bytes,
}

impl Published {
    /// What the server says now; fails when it does not serve what it should.
    pub async fn renewed(&self, server: &ExtensionServer, remote: &Remote) -> Result<Self, String> {
        let path = format!("/apis/{}/{}", remote.group, remote.version);
        let listed = server.get(&path, "application/json", "").await?;
        if !listed.code.is_success() {
            let (asked, code) = (listed.asked, listed.code.as_u16());
            return Err(format!("failing or missing response from {asked}: bad status from {asked}: {code}"));
        }
        Ok(Self {
            resources: Some(resources(server, remote, &listed).await),
            is_stale: false,
            openapi_v2: self.openapi_v2.renewed(server, "/openapi/v2").await,
            openapi_v3: self.openapi_v3.renewed(server, "/openapi/v3").await,
        })
    }

    /// The same of a server that does not answer.
    pub fn stale(&self) -> Self {
        Self { is_stale: true, ..self.clone() }
    }

    /// An entry of aggregated discovery.
    pub fn discovery(&self, version: &str) -> Value {
        let mut entry = self.resources.clone().unwrap_or_else(|| json!({ "version": version }));
        entry["freshness"] = if self.is_stale || self.resources.is_none() { "Stale" } else { "Current" }.into();
        entry
    }

    pub fn openapi_v2(&self) -> Option<Value> {
        serde_json::from_slice(&self.openapi_v2.body).ok()
    }

    /// Where the document at `path` is, as the server's own index says.
    pub fn openapi_v3(&self, path: &str) -> Option<Value> {
        let index: Value = serde_json::from_slice(&self.openapi_v3.body).ok()?;
        index["paths"].get(path).cloned()
    }
}

impl Tagged {
    /// Another state of it, if there is one.
    async fn renewed(&self, server: &ExtensionServer, path: &str) -> Self {
        match server.get(path, "application/json", &self.etag).await {
            Ok(answer) if answer.code == StatusCode::OK => {
                Self { etag: header(&answer, ETAG).to_owned(), body: answer.body }
            }
            Ok(answer) if answer.code == StatusCode::NOT_MODIFIED => self.clone(),
            // A server may have none.
            Ok(_) => Self::default(),
            Err(why) => {
                tracing::debug!(path, %why, "reading another API server's OpenAPI failed");
                self.clone()
            }
        }
    }
}

/// From aggregated discovery, or of servers that know none, from the old list.
async fn resources(server: &ExtensionServer, remote: &Remote, listed: &Answer) -> Value {
    if let Ok(answer) = server.get("/apis", AGGREGATED, "").await
        && answer.code == StatusCode::OK
        && header(&answer, CONTENT_TYPE).replace(' ', "") == AGGREGATED
        && let Ok(list) = serde_json::from_slice::<Value>(&answer.body)
    {
        let mut groups = list["items"].as_array().into_iter().flatten();
        let group = groups.find(|group| group["metadata"]["name"] == remote.group.as_str());
        let mut versions = group.and_then(|group| group["versions"].as_array()).into_iter().flatten();
        let version = versions.find(|version| version["version"] == remote.version.as_str());
        return version.cloned().unwrap_or_else(|| json!({ "version": remote.version }));
    }
    let list: Value = serde_json::from_slice(&listed.body).unwrap_or_default();
    json!({ "version": remote.version, "resources": converted(list["resources"].as_array().into_iter().flatten()) })
}

/// Entries of an `APIResourceList` in the form of aggregated discovery.
fn converted<'a>(listed: impl Iterator<Item = &'a Value>) -> Vec<Value> {
    let (subs, resources): (Vec<&Value>, Vec<&Value>) =
        listed.partition(|entry| entry["name"].as_str().unwrap_or_default().contains('/'));
    let of = |plural: &Value| {
        let subs = subs.iter().filter_map(|sub| {
            let (parent, name) = sub["name"].as_str()?.split_once('/')?;
            (*plural == parent)
                .then(|| json!({ "subresource": name, "responseKind": kind(sub), "verbs": sub["verbs"] }))
        });
        subs.collect::<Vec<Value>>()
    };
    let one = |entry: &&Value| {
        let mut resource = json!({
            "resource": entry["name"], "responseKind": kind(entry), "verbs": entry["verbs"],
            "scope": if entry["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "singularResource": entry["singularName"],
        });
        for list in ["shortNames", "categories"].into_iter().filter(|list| entry[*list].is_array()) {
            resource[list] = entry[list].clone();
        }
        let subs = of(&entry["name"]);
        if !subs.is_empty() {
            resource["subresources"] = subs.into();
        }
        resource
    };
    resources.iter().map(one).collect()
}

fn kind(entry: &Value) -> Map<String, Value> {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().into();
    ["group", "version", "kind"].into_iter().map(|field| (field.to_owned(), text(field))).collect()
}

fn header(answer: &Answer, name: http::HeaderName) -> &str {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_list_becomes_the_new() {
        let listed = [
            json!({"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get"]}),
            json!({"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["patch"]}),
        ];
        let kind = json!({"group": "", "version": "", "kind": "Flunder"});
        let status = json!({"subresource": "status", "responseKind": kind, "verbs": ["patch"]});
        assert_eq!(
            converted(listed.iter()),
            [json!({
                "resource": "flunders", "responseKind": kind, "verbs": ["get"], "scope": "Namespaced",
                "singularResource": "flunder", "subresources": [status],
            })]
        );
    }

    #[test]
    fn what_was_never_read_is_stale() {
        assert_eq!(Published::default().discovery("v1"), json!({"version": "v1", "freshness": "Stale"}));
    }
}
