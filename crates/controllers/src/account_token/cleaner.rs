//! Tokens that were once made for every account and that nobody uses: after a year they are marked, after another
//! they go (KEP-2799, `legacy_serviceaccount_token_cleaner.go`).

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{ConfigMap, Pod, Secret, ServiceAccount};
use orlop_client::cache::Index;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};
use orlop_client::params::DeleteOptions;
use serde_json::{Value, json};

use super::{ACCOUNT_NAME, annotation, is_of, is_token, refers_to};

const NAME: &str = "legacy-service-account-token-cleaner";
const TRACKING_NAMESPACE: &str = "kube-system";
/// Says since when the use of tokens is noted.
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// `--legacy-service-account-token-clean-up-period`
const PERIOD: SignedDuration = SignedDuration::from_hours(365 * 24);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Tokens, by where they are.
const OF_NAMESPACE: Index<Secret> = Index {
    name: "token's namespace",
    values: |secret| is_token(secret).then(|| secret.namespace().to_owned()).into_iter().collect(),
};

pub fn controller() -> Controller {
    let secrets = Source::indexed::<Secret>(vec![OF_NAMESPACE], |delta, _, wake| {
        if is_token(delta.object()) {
            wake(Key::of(&**delta.object()));
        }
    });
    let accounts = Source::of::<ServiceAccount>(|delta, _, wake| {
        let account = delta.object();
        let names = account.secrets.iter().flatten().filter_map(|reference| reference.name.as_deref());
        names.for_each(|name| wake(Key::new(account.namespace(), name)));
    });
    let pods = Source::of::<Pod>(|delta, view, wake| {
        let pod = delta.object();
        // Pods change all the time, and few namespaces have such tokens.
        if view.of::<Secret>().indexed(OF_NAMESPACE.name, pod.namespace()).next().is_some() {
            mounted(pod).iter().for_each(|name| wake(Key::new(pod.namespace(), name)));
        }
    });
    let maps = Source::of::<ConfigMap>(|delta, view, wake| {
        if delta.object().name() == TRACKING {
            view.of::<Secret>().iter().filter(|secret| is_token(secret)).for_each(|secret| wake(Key::of(&**secret)));
        }
    });
    let grants = vec![Grant::new("", &["secrets"], &["delete", "patch"])];
    Controller::new(NAME, "legacy_service_account_token_cleaner", vec![secrets, accounts, pods, maps], grants, decide)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(secret) = view.subject::<Secret>(key).filter(|s| is_token(s) && s.metadata.deletion_timestamp.is_none())
    else {
        return plan;
    };
    let tracked = view.of::<ConfigMap>().get(TRACKING_NAMESPACE, TRACKING);
    let tracked = tracked.and_then(|map| map.data.as_ref()?.get("since")?.parse::<Date>().ok());
    let (Some(tracked), Some(unused)) = (tracked, unused_since(secret)) else { return plan };
    let due = unused.max(end_of(tracked)) + PERIOD;
    if now <= due {
        return Plan::wake_at(due + SignedDuration::from_secs(1));
    }
    if !is_generated(secret, view)
        || view.of::<Pod>().namespace(secret.namespace()).any(|p| mounted(p).contains(secret.name()))
    {
        return plan;
    }
    let today = now.to_zoned(TimeZone::UTC).date();
    match label(secret, INVALID_SINCE).and_then(|text| text.parse::<Date>().ok()) {
        None => plan.write(Write::patch(
            &**secret,
            "",
            json!({ "metadata": { "labels": { INVALID_SINCE: today.to_string() } } }),
        )),
        Some(invalid) if now < end_of(invalid) + PERIOD => plan.wake_by(end_of(invalid) + PERIOD),
        Some(_) => {
            let resource_version = secret.metadata.resource_version.clone();
            plan.write(Write::delete_with(&**secret, DeleteOptions { resource_version, ..DeleteOptions::default() }));
        }
    }
    plan
}

fn label<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    Some(secret.metadata.labels.as_ref()?.get(key)?.as_str())
}

/// Since when nobody has used it, as far as is known; `None` where that cannot be read.
fn unused_since(secret: &Secret) -> Option<Timestamp> {
    let created = secret.metadata.creation_timestamp.as_ref()?.0;
    match label(secret, LAST_USED) {
        None => Some(created),
        Some(date) => Some(created.max(end_of(date.parse().ok()?))),
    }
}

fn end_of(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |midnight| midnight.timestamp() + DAY)
}

/// What somebody made by hand is not listed in its account.
fn is_generated(secret: &Secret, view: &View) -> bool {
    let account = view.of::<ServiceAccount>().get(secret.namespace(), annotation(secret, ACCOUNT_NAME));
    account.is_some_and(|account| is_of(account, secret) && refers_to(account, secret.name()))
}

/// Every secret a pod names (`VisitPodSecretNames`).
fn mounted(pod: &Pod) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let spec = pod.spec.as_ref().and_then(|spec| serde_json::to_value(spec).ok()).unwrap_or_default();
    collect(&spec, "", &mut names);
    names
}

/// In a pod's spec secrets are named by references, by `secretName`, and by `secret` in a projection.
fn collect(value: &Value, under: &str, names: &mut BTreeSet<String>) {
    const REFERENCES: [&str; 5] = ["secretRef", "secretKeyRef", "secret", "nodePublishSecretRef", "imagePullSecrets"];
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let names_one = key == "secretName" || key == "name" && REFERENCES.contains(&under);
                match field.as_str().filter(|name| names_one && !name.is_empty()) {
                    Some(name) => drop(names.insert(name.to_owned())),
                    None => collect(field, key, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, under, names)),
        _ => {}
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::common::fixture::decide;

    /// Made before the world's beginning, its use tracked since, and marked a day ago.
    pub const CONVERGED: &str = "
kind: ConfigMap
metadata: {name: kube-apiserver-legacy-service-account-token-tracking, namespace: kube-system}
data: {since: '2024-01-01'}
---
kind: ServiceAccount
metadata: {name: sa}
secrets: [{name: t}]
---
kind: Secret
metadata:
  name: t
  creationTimestamp: '2023-01-01T00:00:00Z'
  labels: {kubernetes.io/legacy-token-invalid-since: '2025-12-31'}
  annotations: {kubernetes.io/service-account.name: sa}
type: kubernetes.io/service-account-token
";

    #[test]
    fn unused_tokens_are_marked_and_go() {
        let lines = |from: &str, to: &str| {
            let world = CONVERGED.replace(from, to);
            assert!(world != CONVERGED || from.is_empty(), "{from} is in the fixture");
            decide(&controller(), "d/t", &world).lines()
        };
        let marked = "kubernetes.io/legacy-token-invalid-since: '2025-12-31'";
        assert_eq!(lines("", ""), ["wake 2027-01-01T00:00:00Z"]);
        assert_eq!(lines(marked, ""), ["patch secrets d/t"]);
        assert_eq!(lines("'2025-12-31'", "yesterday"), ["patch secrets d/t"]);
        assert_eq!(lines("'2025-12-31'", "'2024-12-30'"), ["delete secrets d/t"]);
        assert_eq!(lines(marked, "kubernetes.io/legacy-token-last-used: '2025-12-31'"), ["wake 2027-01-01T00:00:01Z"]);
        assert!(lines(marked, "kubernetes.io/legacy-token-last-used: once").is_empty());
        assert_eq!(lines("2024-01-01", "2025-01-02"), ["wake 2026-01-03T00:00:01Z"]);
        assert!(lines("data: {since: '2024-01-01'}", "").is_empty(), "nobody tracks");
        assert!(lines("secrets: [{name: t}]", "").is_empty(), "made by hand");
        assert!(lines("account.name: sa", "account.name: other").is_empty());
        let pod =
            "kind: Pod\nmetadata: {name: p}\nspec: {containers: [], volumes: [{name: v, secret: {secretName: t}}]}";
        let world = format!("{}---\n{pod}\n", CONVERGED.trim_start().replace(marked, ""));
        assert!(decide(&controller(), "d/t", &world).is_converged(), "mounted");
    }

    #[test]
    fn a_pods_secrets_are_found_wherever_it_names_them() {
        let pod = serde_json::json!({"spec": {
            "imagePullSecrets": [{"name": "a"}],
            "containers": [{"name": "no", "env": [{"name": "no", "valueFrom": {"secretKeyRef": {"name": "b", "key": "k"}}}],
                "envFrom": [{"secretRef": {"name": "c"}}, {"configMapRef": {"name": "no"}}]}],
            "volumes": [{"name": "no", "projected": {"sources": [{"secret": {"name": "d"}}]}},
                {"name": "no", "secret": {"secretName": "e", "items": [{"key": "no", "path": "no"}]}},
                {"name": "no", "csi": {"driver": "no", "nodePublishSecretRef": {"name": "f"}}}],
        }});
        let pod = Pod::decode(pod.to_string().as_bytes()).unwrap();
        assert_eq!(mounted(&pod).into_iter().collect::<String>(), "abcdef");
    }
}
