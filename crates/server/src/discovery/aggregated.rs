//! Everything in one document per root (KEP 3352).

use orlop_api::Value;
use orlop_api::kind::Subresource;
use serde_json::json;

use super::{groups, versions};
use crate::resource::{Resource, Resources};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V2,
    V2Beta1,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }

    /// Without the parameters clients take the body for the old form.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }
}

/// The version the first usable clause of `Accept` names; `None` for the old form.
pub fn wanted(accept: &str) -> Option<Version> {
    for clause in accept.split(',') {
        let mut parts = clause.split(';').map(str::trim);
        if !matches!(parts.next(), Some("application/json" | "application/*" | "*/*")) {
            continue;
        }
        let params: Vec<&str> = parts.collect();
        let has = |param: &str| params.contains(&param);
        if has("g=apidiscovery.k8s.io") && has("as=APIGroupDiscoveryList") {
            for version in [Version::V2, Version::V2Beta1] {
                if has(&format!("v={}", version.name())) {
                    return Some(version);
                }
            }
        } else if !params.iter().any(|p| p.starts_with("as=")) {
            return None;
        }
    }
    None
}

/// `APIGroupDiscoveryList` of the core group or of all others.
pub fn list(resources: &Resources, core: bool, version: Version) -> Value {
    let groups = groups(resources).into_iter().filter(|(name, _)| name.is_empty() == core);
    let items: Vec<Value> = groups.map(|(name, members)| group(&name, &members)).collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{}", version.name()),
        "metadata": {}, "items": items,
    })
}

fn group(name: &str, members: &[Resource]) -> Value {
    let versions: Vec<Value> = versions(members)
        .iter()
        .map(|version| {
            let served: Vec<Value> = members.iter().filter(|r| r.version() == version).map(resource).collect();
            json!({ "version": version, "resources": served, "freshness": "Current" })
        })
        .collect();
    let metadata = if name.is_empty() { json!({}) } else { json!({ "name": name }) };
    json!({ "metadata": metadata, "versions": versions })
}

fn resource(resource: &Resource) -> Value {
    let info = resource.info();
    let mut entry = json!({
        "resource": &*info.plural,
        "responseKind": { "group": "", "version": "", "kind": &*info.kind },
        "scope": if info.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": &*info.singular,
        "verbs": texts(&info.verbs),
    });
    if !info.short_names.is_empty() {
        entry["shortNames"] = texts(&info.short_names);
    }
    if !info.categories.is_empty() {
        entry["categories"] = texts(&info.categories);
    }
    if !info.subresources.is_empty() {
        entry["subresources"] = info.subresources.iter().map(subresource).collect();
    }
    entry
}

fn subresource(sub: &Subresource) -> Value {
    json!({
        "subresource": &*sub.name,
        "responseKind": { "group": &*sub.group, "version": &*sub.version, "kind": &*sub.kind },
        "verbs": texts(&sub.verbs),
    })
}

pub fn texts(list: &[orlop_api::kind::Text]) -> Value {
    list.iter().map(|text| Value::from(&**text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        let cases = [
            (format!("{v2},{beta},application/json"), Some(Version::V2)),
            (
                format!("application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList,{beta}"),
                Some(Version::V2Beta1),
            ),
            (format!("{v2};profile=nopeer,{v2}"), Some(Version::V2)),
            ("application/json".into(), None),
            ("*/*".into(), None),
            (format!("application/json,{v2}"), None),
            (String::new(), None),
        ];
        for (accept, want) in cases {
            assert_eq!(wanted(&accept), want, "{accept}");
        }
    }

    #[test]
    fn lists_every_kind_once() {
        let resources = Resources::builtin();
        let core = list(&resources, true, Version::V2);
        let pods = core["items"][0]["versions"][0]["resources"].as_array().unwrap().iter();
        assert_eq!(pods.filter(|r| r["resource"] == "pods").count(), 1);
        let apps = list(&resources, false, Version::V2);
        let names: Vec<&str> =
            apps["items"].as_array().unwrap().iter().filter_map(|g| g["metadata"]["name"].as_str()).collect();
        assert_eq!(names[..2], ["apiregistration.k8s.io", "apps"]);
        let autoscaling =
            apps["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "autoscaling").unwrap();
        assert_eq!(autoscaling["versions"][0]["version"], "v2");
    }
}
