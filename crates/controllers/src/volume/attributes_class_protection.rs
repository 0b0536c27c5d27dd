//! VolumeAttributesClasses stay while a claim or a volume has, or is to get, their attributes
//! (`kubernetes.io/vac-protection`).

use jiff::Timestamp;
use orlop_api::typed::kinds::{PersistentVolume, PersistentVolumeClaim, VolumeAttributesClass};
use orlop_client::cache::Index;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};

use super::protection::protected;

const FINALIZER: &str = "kubernetes.io/vac-protection";

/// Files claims under every class that they have, want, or are being given.
const OF_CLAIM: Index<PersistentVolumeClaim> = Index { name: "attributes class", values: classes_of_claim };
const OF_VOLUME: Index<PersistentVolume> = Index { name: "attributes class", values: classes_of_volume };

fn classes_of_claim(claim: &PersistentVolumeClaim) -> Vec<String> {
    let wanted = claim.spec.as_ref().and_then(|s| s.volume_attributes_class_name.clone());
    let status = claim.status.as_ref();
    let current = status.and_then(|s| s.current_volume_attributes_class_name.clone());
    let target = status.and_then(|s| s.modify_volume_status.as_ref()?.target_volume_attributes_class_name.clone());
    let mut all: Vec<String> = [wanted, current, target].into_iter().flatten().collect();
    all.sort();
    all.dedup();
    all
}

fn classes_of_volume(volume: &PersistentVolume) -> Vec<String> {
    volume.spec.as_ref().and_then(|s| s.volume_attributes_class_name.clone()).into_iter().collect()
}

pub fn controller() -> Controller {
    let claims = Source::indexed::<PersistentVolumeClaim>(vec![OF_CLAIM], |delta, _, wake| {
        delta.sides().flat_map(|claim| classes_of_claim(claim)).for_each(|class| wake(Key::new("", &class)));
    });
    let volumes = Source::indexed::<PersistentVolume>(vec![OF_VOLUME], |delta, _, wake| {
        delta.sides().flat_map(|volume| classes_of_volume(volume)).for_each(|class| wake(Key::new("", &class)));
    });
    let mut grants = vec![
        Grant::new("", &["persistentvolumeclaims", "persistentvolumes"], &["list", "watch", "get"]),
        Grant::new("storage.k8s.io", &["volumeattributesclasses"], &["get", "list", "watch", "update"]),
    ];
    grants.extend(Grant::EVENTS);
    let sources = vec![Source::subject::<VolumeAttributesClass>(), claims, volumes];
    let name = "volumeattributesclass-protection-controller";
    Controller::new(name, "vacprotection", sources, grants, decide)
}

fn decide(key: &Key, view: &View, _now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(class) = view.subject::<VolumeAttributesClass>(key) else { return plan };
    let is_used = view.of::<PersistentVolumeClaim>().indexed(OF_CLAIM.name, key.name()).next().is_some()
        || view.of::<PersistentVolume>().indexed(OF_VOLUME.name, key.name()).next().is_some();
    if let Some(changed) = protected(&**class, FINALIZER, is_used) {
        plan.write(Write::update(&changed));
    }
    plan
}

#[cfg(test)]
pub(crate) mod tests {
    use super::controller;
    use crate::common::fixture::decide;

    pub const CONVERGED: &str = "
kind: VolumeAttributesClass
metadata: {name: fast, finalizers: [kubernetes.io/vac-protection]}
driverName: d
---
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {volumeAttributesClassName: fast}
";

    #[test]
    fn a_class_goes_once_nobody_has_its_attributes() {
        let lines = |yaml: &str| decide(&controller(), "fast", yaml).lines();
        let leaving = CONVERGED.replace("name: fast,", "name: fast, deletionTimestamp: '2026-01-01T11:00:00Z',");
        assert!(lines(&leaving).is_empty());
        let update = ["update volumeattributesclasses fast"];
        assert_eq!(
            lines(&leaving.replace("volumeAttributesClassName: fast", "volumeAttributesClassName: slow")),
            update
        );
        assert_eq!(lines(&CONVERGED.replace(", finalizers: [kubernetes.io/vac-protection]", "")), update);
    }
}
