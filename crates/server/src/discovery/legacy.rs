//! The discovery documents of old: one per root, group and version.

use base64::Engine as _;
use orlop_api::Value;
use serde_json::json;

use super::aggregated::texts;
use super::groups::{self, Group, Version};
use crate::aggregation::Remotes;
use crate::resource::{Resource, Resources};

/// `/api`.
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": server_address }],
    })
}

/// `/apis`.
pub fn group_list(resources: &Resources, remotes: &Remotes) -> Value {
    let all = groups::all(resources, remotes);
    let groups: Vec<Value> = all.iter().filter(|group| !group.name.is_empty()).map(describe).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/G`.
pub fn group(resources: &Resources, remotes: &Remotes, name: &str) -> Option<Value> {
    let all = groups::all(resources, remotes);
    let mut group = describe(all.iter().find(|group| !name.is_empty() && group.name == name)?);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Some(group)
}

fn describe(group: &Group<'_>) -> Value {
    let one = |version: &Version<'_>| json!({ "groupVersion": format!("{}/{}", group.name, version.name), "version": version.name });
    let versions: Vec<Value> = group.versions.iter().map(one).collect();
    json!({ "name": group.name, "versions": versions, "preferredVersion": versions.first() })
}

/// `/api/V` and `/apis/G/V`.
pub fn resource_list(resources: &Resources, group: &str, version: &str) -> Value {
    let mut entries = Vec::new();
    let mut group_version = version.to_owned();
    for resource in resources.iter().filter(|r| r.info().group == group && r.version() == version) {
        resource.api_version().clone_into(&mut group_version);
        add(&mut entries, resource);
    }
    entries.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let mut list = json!({ "kind": "APIResourceList", "groupVersion": group_version, "resources": entries });
    // The core group's list has never said it.
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list
}

fn add(entries: &mut Vec<Value>, resource: &Resource) {
    let info = resource.info();
    let mut entry = json!({
        "name": &*info.plural, "singularName": &*info.singular, "namespaced": info.namespaced, "kind": &*info.kind,
        "verbs": texts(&info.verbs),
    });
    if !info.short_names.is_empty() {
        entry["shortNames"] = texts(&info.short_names);
    }
    if !info.categories.is_empty() {
        entry["categories"] = texts(&info.categories);
    }
    // What is not stored has none.
    if ["get", "create"].iter().all(|verb| info.verbs.iter().any(|v| v == verb)) {
        entry["storageVersionHash"] = storage_version_hash(resource).into();
    }
    entries.push(entry);
    for sub in info.subresources.iter() {
        let mut entry = json!({
            "name": format!("{}/{}", info.plural, sub.name), "singularName": "", "namespaced": info.namespaced,
            "kind": &*sub.kind, "verbs": texts(&sub.verbs),
        });
        if !sub.version.is_empty() {
            entry["group"] = (*sub.group).into();
            entry["version"] = (*sub.version).into();
        }
        entries.push(entry);
    }
}

/// Says when the stored form of a kind changed, and nothing else.
fn storage_version_hash(resource: &Resource) -> String {
    let info = resource.info();
    let stored = info.api_version(&info.storage_version);
    let (group, version) = stored.split_once('/').unwrap_or(("", &stored));
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{group}/{version}/{}", info.kind).as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest.as_ref()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_as_upstream_lists_them() {
        let list = resource_list(&Resources::builtin(), "", "v1");
        let find =
            |name: &str| list["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone();
        assert_eq!(
            find("pods"),
            json!({
                "categories": ["all"], "kind": "Pod", "name": "pods", "namespaced": true, "shortNames": ["po"],
                "singularName": "pod", "storageVersionHash": "xPOwRZ+Yhw8=",
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            })
        );
        assert_eq!(
            find("pods/eviction"),
            json!({
                "group": "policy", "kind": "Eviction", "name": "pods/eviction", "namespaced": true, "singularName": "",
                "verbs": ["create"], "version": "v1",
            })
        );
    }
}
