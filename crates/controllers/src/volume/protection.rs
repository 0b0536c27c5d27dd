//! PersistentVolumes stay while a claim is bound to them (`kubernetes.io/pv-protection`).

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::PersistentVolume;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};

const FINALIZER: &str = "kubernetes.io/pv-protection";

pub fn controller() -> Controller {
    let mut grants = vec![Grant::new("", &["persistentvolumes"], &["get", "list", "watch", "update"])];
    grants.extend(Grant::EVENTS);
    let sources = vec![Source::subject::<PersistentVolume>()];
    Controller::new("pv-protection-controller", "pvprotection", sources, grants, decide)
}

fn decide(key: &Key, view: &View, _now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(volume) = view.subject::<PersistentVolume>(key) else { return plan };
    let is_bound = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    if let Some(changed) = protected(&**volume, FINALIZER, is_bound) {
        plan.write(Write::update(&changed));
    }
    plan
}

/// The object with `finalizer` as it should be: on what stays, and on what goes while it is used.
/// `None` when it is so already.
pub fn protected<K: Typed>(object: &K, finalizer: &str, is_used: bool) -> Option<K> {
    let meta = object.meta();
    let has = meta.finalizers.iter().flatten().any(|known| known == finalizer);
    let wants = meta.deletion_timestamp.is_none();
    if has == wants || has && is_used || !has && !wants {
        return None;
    }
    let mut changed = object.clone();
    let finalizers = changed.meta_mut().finalizers.get_or_insert_default();
    if wants {
        finalizers.push(finalizer.to_owned());
    } else {
        finalizers.retain(|known| known != finalizer);
    }
    Some(changed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::controller;
    use crate::common::fixture::{body, decide};

    pub const CONVERGED: &str = "
kind: PersistentVolume
metadata: {name: v, finalizers: [kubernetes.io/pv-protection]}
status: {phase: Bound}
";

    #[test]
    fn a_volume_goes_once_it_is_not_bound() {
        let lines = |yaml: &str| decide(&controller(), "v", yaml).lines();
        assert!(lines(CONVERGED).is_empty());
        let plan = decide(&controller(), "v", &CONVERGED.replace(", finalizers: [kubernetes.io/pv-protection]", ""));
        assert_eq!(
            body(&plan, "update persistentvolumes v")["metadata"]["finalizers"][0],
            "kubernetes.io/pv-protection"
        );
        let leaving = CONVERGED.replace("name: v,", "name: v, deletionTimestamp: '2026-01-01T11:00:00Z',");
        assert!(lines(&leaving).is_empty());
        assert_eq!(lines(&leaving.replace("Bound", "Released")), ["update persistentvolumes v"]);
    }
}
