//! NoExecute taints keep pods out that do not tolerate them.

use orlop_api::pods::tolerates;

use super::{Verdict, predicate};
use crate::corev1::Taint;
use crate::pod::spec::NodePod;

pub fn check(pod: &NodePod, taints: &[Taint]) -> Result<(), Verdict> {
    if taints.iter().filter(|taint| taint.effect == "NoExecute").all(|taint| tolerated(pod, taint)) {
        return Ok(());
    }
    Err(predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate"))
}

pub fn tolerated(pod: &NodePod, taint: &Taint) -> bool {
    pod.spec().tolerations.iter().flatten().any(|toleration| tolerates(toleration, taint))
}
