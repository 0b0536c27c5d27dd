//! ConfigMap `cluster-info`, which anybody may read, is signed by every token that may sign: who knows one can tell
//! the cluster's authority from a forgery (`pkg/controller/bootstrap/bootstrapsigner.go`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{ConfigMap, Secret};
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};

use super::{NAMESPACE, expiration, is_token, signature, text};

const MAP_NAMESPACE: &str = "kube-public";
const MAP_NAME: &str = "cluster-info";
const SIGNED: &str = "kubeconfig";
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";
const SECRET_PREFIX: &str = "bootstrap-token-";

pub fn controller() -> Controller {
    let maps = Source::of::<ConfigMap>(|delta, _, wake| {
        let map = delta.object();
        if (map.namespace(), map.name()) == (MAP_NAMESPACE, MAP_NAME) {
            wake(Key::of(&**map));
        }
    });
    let secrets = Source::of::<Secret>(|delta, _, wake| {
        if is_token(delta.object()) {
            wake(Key::new(MAP_NAMESPACE, MAP_NAME));
        }
    });
    let mut grants = vec![Grant::new("", &["configmaps"], &["update"])];
    grants.extend(Grant::EVENTS);
    Controller::new("bootstrap-signer", "bootstrap_signer_queue", vec![maps, secrets], grants, decide)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(map) = view.subject::<ConfigMap>(key) else { return plan };
    let data = map.data.clone().unwrap_or_default();
    let Some(content) = data.get(SIGNED) else { return plan };
    let mut wanted: BTreeMap<String, String> = data.clone();
    wanted.retain(|key, _| !key.starts_with(SIGNATURE_PREFIX));
    for secret in view.of::<Secret>().namespace(NAMESPACE).filter(|secret| is_token(secret)) {
        if let Some((id, passphrase)) = may_sign(secret, now) {
            wanted.insert(format!("{SIGNATURE_PREFIX}{id}"), signature::of(content, id, passphrase));
        }
    }
    if wanted != data {
        let mut map = (**map).clone();
        map.data = Some(wanted);
        plan.write(Write::update(&map).gone_is_fine());
    }
    plan
}

/// Id and secret of a token that may sign.
fn may_sign(secret: &Secret, now: Timestamp) -> Option<(&str, &str)> {
    let (id, passphrase) = (text(secret, "token-id"), text(secret, "token-secret"));
    let named = secret.name().strip_prefix(SECRET_PREFIX) == Some(id) && is_id(id);
    let lives = expiration(secret).is_none_or(|end| end > now);
    let may = named && lives && !passphrase.is_empty() && text(secret, "usage-bootstrap-signing") == "true";
    may.then_some((id, passphrase))
}

fn is_id(id: &str) -> bool {
    id.len() == 6 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::common::fixture::{at, body};

    pub const CONVERGED: &str = "
kind: ConfigMap
metadata: {name: cluster-info, namespace: kube-public}
data: {kubeconfig: x}
";

    fn token(name: &str, data: Value) -> Value {
        use base64::Engine as _;
        let encode = |value: &Value| base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap());
        let data: BTreeMap<_, _> = data.as_object().unwrap().iter().map(|(k, v)| (k.clone(), encode(v))).collect();
        json!({"apiVersion": "v1", "kind": "Secret", "type": super::super::TYPE, "data": data,
            "metadata": {"name": name, "namespace": "kube-system"}})
    }

    fn plan(data: Value, tokens: &[Value]) -> Plan {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data, "metadata":
            {"name": MAP_NAME, "namespace": MAP_NAMESPACE, "uid": "u", "resourceVersion": "1"}});
        let objects = [&[map], tokens].concat();
        let now = at("2026-01-01T12:00:00Z");
        (controller().decide)(&Key::new(MAP_NAMESPACE, MAP_NAME), &controller().view_of(&objects), now)
    }

    #[test]
    fn the_map_has_the_signatures_of_those_who_may() {
        let good = |id: &str| json!({"token-id": id, "token-secret": "s", "usage-bootstrap-signing": "true"});
        let signed = |id: &str| signature::of("x", id, "s");
        let plan_of =
            |tokens: &[Value]| plan(json!({"kubeconfig": "x", "other": "y", "jws-kubeconfig-zzzzzz": "old"}), tokens);
        let changed = plan_of(&[token("bootstrap-token-abcdef", good("abcdef"))]);
        let line = "update configmaps kube-public/cluster-info";
        let expected = json!({"kubeconfig": "x", "other": "y", "jws-kubeconfig-abcdef": signed("abcdef")});
        assert_eq!(body(&changed, line)["data"], expected);
        assert!(plan(expected, &[token("bootstrap-token-abcdef", good("abcdef"))]).is_converged());
        let mut expired = good("abcdef");
        expired["expiration"] = "2026-01-01T11:00:00Z".into();
        let mut silent = good("abcdef");
        silent["usage-bootstrap-signing"] = "yes".into();
        for useless in [
            token("bootstrap-token-abcdef", expired),
            token("bootstrap-token-abcdef", silent),
            token("bootstrap-token-abcdef", good("123456")),
            token("token-abcdef", good("abcdef")),
            token("bootstrap-token-ABCDEF", good("ABCDEF")),
        ] {
            assert_eq!(body(&plan_of(&[useless]), line)["data"], json!({"kubeconfig": "x", "other": "y"}));
        }
        assert!(plan(json!({"jws-kubeconfig-zzzzzz": "old"}), &[]).is_converged(), "nothing to sign");
    }
}
