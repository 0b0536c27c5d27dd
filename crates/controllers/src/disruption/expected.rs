//! How many pods there should be, and how many of them must stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::intstr::Rounding;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orlop_api::typed::kinds::{Deployment, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController, StatefulSet};
use orlop_client::engine::View;

use crate::common::owners::controller_of;
use crate::common::scaled;

pub struct Expected {
    pub pods: i32,
    pub healthy: i32,
    /// Some pod has no controller that says how many it wants.
    pub has_unmanaged: bool,
}

impl Expected {
    pub fn of(budget: &PodDisruptionBudget, pods: &[&Arc<Pod>], view: &View) -> Result<Self, String> {
        let spec = budget.spec.as_ref();
        if let Some(max) = spec.and_then(|s| s.max_unavailable.as_ref()) {
            let (wanted, has_unmanaged) = wanted(pods, view)?;
            let healthy = (wanted - scaled(max, wanted, Rounding::Up)).max(0);
            return Ok(Self { pods: wanted, healthy, has_unmanaged });
        }
        match spec.and_then(|s| s.min_available.as_ref()) {
            None => Ok(Self { pods: 0, healthy: 0, has_unmanaged: false }),
            Some(IntOrString::Int(healthy)) => {
                Ok(Self { pods: pods.len() as i32, healthy: *healthy, has_unmanaged: false })
            }
            Some(min) => {
                let (wanted, has_unmanaged) = wanted(pods, view)?;
                Ok(Self { pods: wanted, healthy: scaled(min, wanted, Rounding::Up), has_unmanaged })
            }
        }
    }
}

/// The sum of what the pods' controllers want, each counted once; and whether a pod has none.
fn wanted(pods: &[&Arc<Pod>], view: &View) -> Result<(i32, bool), String> {
    let mut scales = BTreeMap::<String, i32>::new();
    let mut has_unmanaged = false;
    for pod in pods {
        let Some(owner) = controller_of(&***pod) else {
            has_unmanaged = true;
            continue;
        };
        if scales.contains_key(&owner.uid) {
            continue;
        }
        let found = scale(owner, Typed::namespace(&***pod), view);
        let (uid, scale) = found.ok_or_else(|| format!("found no controllers for pod {:?}", Typed::name(&***pod)))?;
        scales.insert(uid, scale);
    }
    Ok((scales.values().sum(), has_unmanaged))
}

/// Who decides how many pods there are, and how many.
fn scale(owner: &OwnerReference, namespace: &str, view: &View) -> Option<(String, i32)> {
    fn find<'a, K: Typed>(owner: &OwnerReference, namespace: &str, view: &'a View) -> Option<&'a K> {
        let found = view.of::<K>().get(namespace, &owner.name)?;
        (owner.kind == K::KIND && found.uid() == owner.uid).then_some(&**found)
    }
    let of = |replicas: Option<i32>| Some((owner.uid.clone(), replicas.unwrap_or(1)));
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let set = find::<ReplicaSet>(owner, namespace, view)?;
            match controller_of(set).filter(|above| above.kind == Deployment::KIND) {
                Some(above) => {
                    let deployment = find::<Deployment>(above, namespace, view)?;
                    Some((above.uid.clone(), deployment.spec.replicas.unwrap_or(1)))
                }
                None => of(set.spec.replicas),
            }
        }
        "ReplicationController" => {
            let controller = find::<ReplicationController>(owner, namespace, view)?;
            of(controller.spec.as_ref().and_then(|s| s.replicas))
        }
        "StatefulSet" => of(find::<StatefulSet>(owner, namespace, view)?.spec.replicas),
        _ => None,
    }
}
