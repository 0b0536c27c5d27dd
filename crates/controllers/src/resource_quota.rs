//! ResourceQuota: recounts what is used (`pkg/controller/resourcequota`).
//!
//! Admission charges a quota before an object is made. What is given back, and what was charged for an
//! object that was never made, only a recount finds: after deletions, after pods that end, and from time
//! to time.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use orlop_api::pods::is_finished;
use orlop_api::quota::{Evaluator, recount};
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::ResourceQuotaStatus;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use orlop_api::typed::kinds::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use orlop_client::Client;
use orlop_client::cache::{Delta, Factory};
use orlop_client::engine::{Controller, Grant, Key, Look, Plan, Running, Source, View, Write, start as start_engine};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::garbage_collector::Monitors;

pub const NAME: &str = "resourcequota-controller";

/// Upstream's `--resource-quota-sync-period`.
const RECOUNT: SignedDuration = SignedDuration::from_mins(5);

pub fn grants() -> Vec<Grant> {
    let mut grants =
        vec![Grant::new("*", &["*"], &["list", "watch"]), Grant::new("", &["resourcequotas/status"], &["update"])];
    grants.extend(Grant::EVENTS);
    grants
}

/// Counts what only `monitors` watch through them.
pub fn start(reader: &Factory, writer: Client, monitors: &Arc<Monitors>, shutdown: CancellationToken) -> Running {
    let mut controller = controller();
    controller.look = Some(look(monitors.clone()));
    let running = start_engine(controller, reader, writer, shutdown);
    let (queue, quotas) = (running.queue().clone(), reader.cache::<ResourceQuota>());
    monitors.on_deletion(move |resource, namespace| {
        let tracks = |quota: &ResourceQuota| {
            evaluators(quota).iter().any(|e| e.resource() == (&*resource.group, &*resource.plural))
        };
        quotas
            .snapshot()
            .namespace(namespace)
            .filter(|quota| tracks(quota))
            .for_each(|quota| queue.add(Key::of(&**quota)));
    });
    running
}

fn controller() -> Controller {
    let quotas = Source::of::<ResourceQuota>(|delta, _, wake| {
        // Charges of admission are right as they are.
        let limits =
            |quota: &Arc<ResourceQuota>| (quota.spec.clone(), quota.status.as_ref().and_then(|s| s.hard.clone()));
        if delta.old.as_ref().map(limits) != delta.new.as_ref().map(limits) {
            wake(Key::of(&**delta.object()));
        }
    });
    let sources = vec![
        quotas,
        Source::of::<Pod>(|delta, view, wake| {
            let ended = |pod: &Arc<Pod>| is_finished(pod) || pod.metadata.deletion_timestamp.is_some();
            let given_back =
                delta.new.is_none() || delta.new.as_ref().is_some_and(ended) && !delta.old.as_ref().is_some_and(ended);
            wake_quotas(delta, given_back, view, wake);
        }),
        Source::of::<Service>(|delta, view, wake| {
            let kind = |service: &Arc<Service>| service.spec.as_ref().map(|s| (s.type_.clone(), s.ports.clone()));
            let changed = delta.old.is_some() && delta.old.as_ref().map(kind) != delta.new.as_ref().map(kind);
            wake_quotas(delta, changed, view, wake);
        }),
        Source::of::<PersistentVolumeClaim>(|delta, view, wake| {
            let size = |claim: &Arc<PersistentVolumeClaim>| claim.spec.as_ref().and_then(|s| s.resources.clone());
            let changed = delta.old.is_some() && delta.old.as_ref().map(size) != delta.new.as_ref().map(size);
            wake_quotas(delta, changed, view, wake);
        }),
    ];
    Controller::new(NAME, "resourcequota", sources, grants(), decide)
}

fn wake_quotas<K: Typed>(delta: &Delta<K>, matters: bool, view: &View, wake: &mut dyn FnMut(Key)) {
    if matters {
        let quotas = view.of::<ResourceQuota>().namespace(delta.object().namespace());
        quotas.for_each(|quota| wake(Key::of(&**quota)));
    }
}

fn evaluators(quota: &ResourceQuota) -> Vec<Evaluator> {
    let hard = quota.spec.iter().flat_map(|s| s.hard.iter().flatten());
    hard.filter_map(|(name, _)| Evaluator::by_name(name)).collect()
}

/// How many objects there are of what is merely counted.
#[derive(Default)]
struct Counts(BTreeMap<Evaluator, usize>);

fn look(monitors: Arc<Monitors>) -> Look {
    Box::new(move |_, key, view| {
        let counts = view.subject::<ResourceQuota>(&key).map(|quota| {
            let counted = evaluators(quota).into_iter().filter(|e| matches!(e, Evaluator::Count { .. }));
            let count = |e: Evaluator| {
                let (group, plural) = e.resource();
                let count = monitors.count(group, plural, key.namespace());
                (e, count)
            };
            Counts(counted.map(count).collect())
        });
        Box::pin(async move { Ok(view.with(counts.unwrap_or_default())) })
    })
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(quota) = view.subject::<ResourceQuota>(key) else { return Plan::none() };
    let mut plan = Plan::none();
    let hard = quota.spec.as_ref().and_then(|s| s.hard.clone()).filter(|hard| !hard.is_empty());
    let used = hard.as_ref().map(|_| used(quota, view, now));
    let status = ResourceQuotaStatus { hard, used };
    if quota.status.as_ref() != Some(&status) {
        plan.write(Write::update_status(&ResourceQuota { status: Some(status), ..(**quota).clone() }));
    }
    plan.wake_at = now.checked_add(RECOUNT).ok();
    plan
}

fn used(quota: &ResourceQuota, view: &View, now: Timestamp) -> BTreeMap<String, Quantity> {
    let namespace = Typed::namespace(quota);
    let values = |evaluator: &Evaluator| -> Vec<Value> {
        match evaluator {
            Evaluator::Pods => of::<Pod>(view, namespace),
            Evaluator::Services => of::<Service>(view, namespace),
            Evaluator::PersistentVolumeClaims => of::<PersistentVolumeClaim>(view, namespace),
            Evaluator::Count { .. } => {
                let count = view.facts::<Counts>().and_then(|counts| counts.0.get(evaluator)).copied();
                vec![Value::Null; count.unwrap_or(0)]
            }
        }
    };
    let all: BTreeMap<Evaluator, Vec<Value>> = evaluators(quota).into_iter().map(|e| (e.clone(), values(&e))).collect();
    let value = serde_json::from_slice(&quota.encode()).unwrap_or_default();
    let used = recount(&value, |evaluator| all.get(evaluator).map(Vec::as_slice).unwrap_or_default(), now.as_second());
    used.iter().map(|(name, amount)| (name.to_owned(), Quantity(amount.to_string()))).collect()
}

fn of<K: Typed>(view: &View, namespace: &str) -> Vec<Value> {
    let objects = view.of::<K>().namespace(namespace);
    objects.filter_map(|object| serde_json::from_slice(&object.encode()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::common::fixture::{body, decide_view, objects};

    const CONVERGED: &str = "
kind: ResourceQuota
metadata: {name: q}
spec: {hard: {pods: '2', requests.cpu: '1', configmaps: '5'}}
status: {hard: {pods: '2', requests.cpu: '1', configmaps: '5'}, used: {pods: '1', requests.cpu: 100m, configmaps: '3'}}
---
kind: Pod
metadata: {name: a}
spec: {containers: [{name: c, image: i, resources: {requests: {cpu: 100m}}}]}
---
kind: Pod
metadata: {name: done}
spec: {containers: [{name: c, image: i, resources: {requests: {cpu: 100m}}}]}
status: {phase: Succeeded}
";

    fn plan(yaml: &str) -> Plan {
        let controller = controller();
        let counts = Counts([(Evaluator::by_name("configmaps").unwrap(), 3)].into());
        decide_view(&controller, "d/q", &controller.view_of(&objects(yaml)).with(counts))
    }

    #[test]
    fn what_is_used_is_what_is_there() {
        assert_eq!(plan(CONVERGED).lines(), ["wake 2026-01-01T12:05:00Z"]);
        let freed = plan(&CONVERGED.replacen("metadata: {name: a}", "metadata: {name: a, namespace: other}", 1));
        let status = &body(&freed, "update resourcequotas/status d/q")["status"];
        assert_eq!(status["used"], json!({"pods": "0", "requests.cpu": "0", "configmaps": "3"}));
        let raised = plan(&CONVERGED.replacen("hard: {pods: '2'", "hard: {pods: '9'", 1));
        assert_eq!(body(&raised, "update resourcequotas/status d/q")["status"]["hard"]["pods"], "9");
    }
}
