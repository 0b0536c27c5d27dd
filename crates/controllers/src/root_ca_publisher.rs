//! Every active namespace has a ConfigMap `kube-root-ca.crt` with the certificate that pods verify
//! the API server by. What others change in it is put right.

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::kinds::{ConfigMap, Namespace};
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};

use crate::namespace::is_terminating;

const NAME: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIPTION_TEXT: &str = "The certificate authority of this cluster's API server, for clients that reach it by \
     its names and addresses inside the cluster.";

/// `ca` is the bundle in PEM.
pub fn controller(ca: String) -> Controller {
    let maps = Source::of::<ConfigMap>(|delta, _, wake| {
        if delta.object().name() == NAME {
            wake(Key::new("", delta.object().namespace()));
        }
    });
    let mut grants = vec![Grant::new("", &["configmaps"], &["create", "update"])];
    grants.extend(Grant::EVENTS);
    let sources = vec![Source::subject::<Namespace>(), maps];
    Controller::new("root-ca-cert-publisher", "root_ca_cert_publisher", sources, grants, move |key, view, _| {
        decide(key, view, &ca)
    })
}

fn decide(key: &Key, view: &View, ca: &str) -> Plan {
    let mut plan = Plan::none();
    let Some(namespace) = view.subject::<Namespace>(key).filter(|n| !is_terminating(n)) else { return plan };
    let known = view.of::<ConfigMap>().get(namespace.name(), NAME);
    let wanted_data = [(FILE.to_owned(), ca.to_owned())].into();
    let described = |map: &ConfigMap| map.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(DESCRIPTION));
    let right = known.is_some_and(|map| map.data.as_ref() == Some(&wanted_data) && described(map));
    if right {
        return plan;
    }
    let unborn = || ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.into()),
            namespace: Some(namespace.name().into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let mut map = known.map_or_else(unborn, |map| (**map).clone());
    map.data = Some(wanted_data);
    let annotations = map.metadata.annotations.get_or_insert_default();
    annotations.entry(DESCRIPTION.into()).or_insert_with(|| DESCRIPTION_TEXT.into());
    plan.write(if known.is_some() { Write::update(&map) } else { Write::create(&map) });
    plan
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn lines(objects: &[Value]) -> Vec<String> {
        let controller = controller("CA".into());
        (controller.decide)(&Key::new("", "shop"), &controller.view_of(objects), Timestamp::UNIX_EPOCH).lines()
    }

    #[test]
    fn the_bundle_is_published_and_kept() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        let map = |data: Value| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data, "metadata": {"name": NAME, "namespace": "shop",
            "uid": "u", "resourceVersion": "1", "annotations": {DESCRIPTION: "by somebody else"}}})
        };
        assert_eq!(lines(std::slice::from_ref(&namespace)), ["create configmaps shop/kube-root-ca.crt"]);
        assert!(lines(&[namespace.clone(), map(json!({"ca.crt": "CA"}))]).is_empty());
        for spoiled in [json!({}), json!({"ca.crt": "other"}), json!({"ca.crt": "CA", "more": "x"})] {
            assert_eq!(lines(&[namespace.clone(), map(spoiled)]), ["update configmaps shop/kube-root-ca.crt"]);
        }
    }
}
