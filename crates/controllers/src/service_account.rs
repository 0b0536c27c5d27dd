//! Every active namespace has a ServiceAccount `default`: pods that name none run as it.

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::kinds::{Namespace, ServiceAccount};
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};

use crate::namespace::is_terminating;

const NAME: &str = "default";

pub fn controller() -> Controller {
    let accounts = Source::of::<ServiceAccount>(|delta, _, wake| {
        if delta.object().name() == NAME {
            wake(Key::new("", delta.object().namespace()));
        }
    });
    let mut grants = vec![Grant::new("", &["serviceaccounts"], &["create"])];
    grants.extend(Grant::EVENTS);
    let sources = vec![Source::subject::<Namespace>(), accounts];
    Controller::new("service-account-controller", "serviceaccount", sources, grants, decide)
}

fn decide(key: &Key, view: &View, _now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(namespace) = view.subject::<Namespace>(key).filter(|n| !is_terminating(n)) else { return plan };
    if view.of::<ServiceAccount>().get(namespace.name(), NAME).is_none() {
        let metadata =
            ObjectMeta { name: Some(NAME.into()), namespace: Some(namespace.name().into()), ..ObjectMeta::default() };
        plan.write(Write::create(&ServiceAccount { metadata, ..ServiceAccount::default() }));
    }
    plan
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lines(objects: &[Value]) -> Vec<String> {
        decide(&Key::new("", "shop"), &controller().view_of(objects), Timestamp::UNIX_EPOCH).lines()
    }

    #[test]
    fn active_namespaces_get_one_account() {
        let namespace = |phase: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}, "status": {"phase": phase}});
        let account = |namespace: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}});
        assert_eq!(lines(&[namespace("Active"), account("other")]), ["create serviceaccounts shop/default"]);
        assert!(lines(&[namespace("Active"), account("shop")]).is_empty());
        assert!(lines(&[namespace("Terminating")]).is_empty());
        assert!(lines(&[]).is_empty());
    }
}
