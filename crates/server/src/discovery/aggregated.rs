//! Everything in one document per root (KEP 3352).

use orlop_api::Value;
use orlop_api::kind::Subresource;
use serde_json::json;

use super::groups::{self, Group, Source, Version};
use crate::aggregation::Remotes;
use crate::resource::{Resource, Resources};
use crate::wire::negotiate::Media;

/// Without the parameters clients take the body for the old form.
pub const CONTENT_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
pub const CBOR_CONTENT_TYPE: &str = "application/cbor;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// What of two forms the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Aggregated,
    Legacy,
}

/// The first that `Accept` names, and in what; `None` when it names neither. Upstream serves v2beta1 no more.
pub fn wanted(accept: &str, cbor: bool) -> Option<(Form, Media)> {
    if accept.is_empty() {
        return Some((Form::Legacy, Media::Json));
    }
    accept.split(',').find_map(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        let media = match parts.next() {
            Some("application/json" | "application/*" | "*/*") => Media::Json,
            Some("application/cbor") if cbor => Media::Cbor,
            _ => return None,
        };
        let params: Vec<&str> = parts.collect();
        let aggregated = ["g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"];
        if aggregated.iter().all(|param| params.contains(param)) {
            return Some((Form::Aggregated, media));
        }
        (!params.iter().any(|param| param.starts_with("as="))).then_some((Form::Legacy, media))
    })
}

/// `APIGroupDiscoveryList` of the core group or of all others.
pub fn list(resources: &Resources, remotes: &Remotes, core: bool) -> Value {
    let groups = groups::all(resources, remotes);
    let items: Vec<Value> = groups.iter().filter(|group| group.name.is_empty() == core).map(group).collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    })
}

fn group(group: &Group<'_>) -> Value {
    let one = |version: &Version<'_>| match &version.source {
        Source::Remote(remote) => remote.published.discovery(&version.name),
        Source::Own(members) => {
            let served: Vec<Value> = members.iter().map(resource).collect();
            json!({ "version": version.name, "resources": served, "freshness": "Current" })
        }
    };
    let metadata = if group.name.is_empty() { json!({}) } else { json!({ "name": group.name }) };
    json!({ "metadata": metadata, "versions": group.versions.iter().map(one).collect::<Vec<_>>() })
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
            (format!("{v2},{beta},application/json"), Some(Form::Aggregated)),
            (format!("{beta},application/json"), Some(Form::Legacy)),
            (beta.into(), None),
            (format!("{v2};profile=nopeer,{v2}"), Some(Form::Aggregated)),
            ("application/json".into(), Some(Form::Legacy)),
            ("*/*".into(), Some(Form::Legacy)),
            (format!("application/json,{v2}"), Some(Form::Legacy)),
            ("text/html".into(), None),
            (String::new(), Some(Form::Legacy)),
        ];
        for (accept, want) in cases {
            assert_eq!(wanted(&accept, false), want.map(|form| (form, Media::Json)), "{accept}");
        }
        assert_eq!(wanted(CBOR_CONTENT_TYPE, true), Some((Form::Aggregated, Media::Cbor)));
        assert_eq!(wanted("application/cbor,application/json", true), Some((Form::Legacy, Media::Cbor)));
        assert_eq!(wanted("application/cbor", false), None);
    }

    #[test]
    fn lists_every_kind_once() {
        let resources = Resources::builtin();
        let core = list(&resources, &Remotes::new(), true);
        let pods = core["items"][0]["versions"][0]["resources"].as_array().unwrap().iter();
        assert_eq!(pods.filter(|r| r["resource"] == "pods").count(), 1);
        let apps = list(&resources, &Remotes::new(), false);
        let names: Vec<&str> =
            apps["items"].as_array().unwrap().iter().filter_map(|g| g["metadata"]["name"].as_str()).collect();
        assert_eq!(names[..2], ["apiregistration.k8s.io", "apps"]);
        let autoscaling =
            apps["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "autoscaling").unwrap();
        assert_eq!(autoscaling["versions"][0]["version"], "v2");
    }
}
