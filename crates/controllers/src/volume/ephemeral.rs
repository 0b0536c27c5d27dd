//! Claims for volumes that a pod has made for itself (`volumes[].ephemeral`).

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::Volume;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::kinds::{PersistentVolumeClaim, Pod};
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, View, Write};

use crate::common::owners::{controller_of, controller_reference};

pub fn controller() -> Controller {
    let claims = Source::of::<PersistentVolumeClaim>(|delta, _, wake| {
        if let Some(owner) = controller_of(&**delta.object()).filter(|owner| owner.kind == "Pod") {
            wake(Key::new(Typed::namespace(&**delta.object()), &owner.name));
        }
    });
    let mut grants = vec![
        Grant::new("", &["pods"], &["get", "list", "watch"]),
        Grant::new("", &["pods/finalizers"], &["update"]),
        Grant::new("", &["persistentvolumeclaims"], &["get", "list", "watch", "create"]),
    ];
    grants.extend(Grant::EVENTS);
    let mut controller = Controller::new(
        "ephemeral-volume-controller",
        "ephemeral_volume",
        vec![Source::subject::<Pod>(), claims],
        grants,
        decide,
    );
    controller.event_source = "ephemeral_volume";
    controller
}

fn decide(key: &Key, view: &View, _now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(pod) = view.subject::<Pod>(key).filter(|pod| pod.metadata.deletion_timestamp.is_none()) else {
        return plan;
    };
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    for volume in volumes.filter(|volume| volume.ephemeral.is_some()) {
        let name = format!("{}-{}", Typed::name(&**pod), volume.name);
        match view.of::<PersistentVolumeClaim>().get(Typed::namespace(&**pod), &name) {
            None => plan.write(create(pod, volume, name)),
            Some(claim) if controller_of(&**claim).is_none_or(|owner| owner.uid != Typed::uid(&**pod)) => {
                plan.retry = Some(format!("PVC {}/{name} was not created for pod {key}", key.namespace()));
            }
            Some(_) => {}
        }
    }
    plan
}

fn create(pod: &Pod, volume: &Volume, name: String) -> Write {
    let template = volume.ephemeral.as_ref().and_then(|source| source.volume_claim_template.clone());
    let made = template.as_ref().and_then(|template| template.metadata.clone()).unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: pod.metadata.namespace.clone(),
        labels: made.labels,
        annotations: made.annotations,
        owner_references: Some(vec![controller_reference(pod)]),
        ..ObjectMeta::default()
    };
    let claim = PersistentVolumeClaim { metadata, spec: template.map(|template| template.spec), status: None };
    let failed = Note::warning(pod, "FailedBinding", "ephemeral volume: create PVC: {error}");
    Write::create(&claim).failed(failed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::common::fixture::{body, decide};

    pub const CONVERGED: &str = "
kind: Pod
metadata: {name: p}
spec: {containers: [], volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}}]}
---
kind: PersistentVolumeClaim
metadata: {name: p-v, ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: p, controller: true}]}
";

    #[test]
    fn a_claim_is_made_for_the_pod_and_no_other_taken_for_it() {
        let plan = decide(&controller(), "d/p", CONVERGED.split("---").next().unwrap());
        assert_eq!(plan.lines(), ["create persistentvolumeclaims d/p-v"]);
        let claim = body(&plan, "create persistentvolumeclaims d/p-v");
        assert_eq!(claim["spec"]["accessModes"][0], "ReadWriteOnce");
        assert_eq!(claim["metadata"]["ownerReferences"][0]["kind"], "Pod");
        let foreign = decide(&controller(), "d/p", &CONVERGED.replace("uid: p,", "uid: q,"));
        assert_eq!(foreign.lines(), ["retry PVC d/p-v was not created for pod d/p"]);
    }
}
