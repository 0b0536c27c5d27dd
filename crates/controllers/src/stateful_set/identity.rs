//! Who a pod of a set is: its ordinal, names and labels.

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{Pod, StatefulSet};

use super::claims;
use super::revision::Revision;
use crate::common::pods::from_template;

pub const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// The set's name and the ordinal that a pod's name is made of.
fn parts(pod: &Pod) -> Option<(&str, i32)> {
    let (parent, digits) = Typed::name(pod).rsplit_once('-')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    Some((parent, digits.parse().ok().filter(|_| is_number)?))
}

pub fn ordinal(pod: &Pod) -> Option<i32> {
    parts(pod).map(|(_, ordinal)| ordinal)
}

pub fn is_member(set: &StatefulSet, pod: &Pod) -> bool {
    parts(pod).is_some_and(|(parent, _)| parent == Typed::name(set))
}

/// First ordinal and the one after the last.
pub fn range(set: &StatefulSet) -> std::ops::Range<i32> {
    let start = set.spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
    start..start.saturating_add(set.spec.replicas.unwrap_or(1))
}

pub fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION_LABEL)).map_or("", String::as_str)
}

/// A pod of `revision` for this ordinal.
pub fn new_pod(set: &StatefulSet, revision: &Revision, ordinal: i32) -> Pod {
    let mut pod = from_template(set, &revision.template);
    pod.metadata.name = Some(format!("{}-{ordinal}", Typed::name(set)));
    label(&mut pod, ordinal);
    pod.metadata.labels.get_or_insert_default().insert(REVISION_LABEL.to_owned(), revision.name.clone());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname.clone_from(&pod.metadata.name);
    spec.subdomain.clone_from(&set.spec.service_name);
    claims::mount(set, &mut pod, ordinal);
    pod
}

/// The labels that name a pod and its ordinal.
pub fn label(pod: &mut Pod, ordinal: i32) {
    let name = Typed::name(pod).to_owned();
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME_LABEL.to_owned(), name);
    labels.insert(POD_INDEX_LABEL.to_owned(), ordinal.to_string());
}

/// Named and labelled as its ordinal asks.
pub fn matches(pod: &Pod) -> bool {
    let labelled = pod.metadata.labels.as_ref().and_then(|labels| labels.get(POD_NAME_LABEL));
    labelled.map(String::as_str) == pod.metadata.name.as_deref()
}
