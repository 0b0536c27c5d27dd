//! Mirror pods: what the API shows of static pods (`pkg/kubelet/pod/mirror_client.go`).

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orlop_client::{Client, DeleteOptions};

use crate::corev1::{Node, Pod};
use crate::pod::spec::NodePod;

pub const MIRROR: &str = "kubernetes.io/config.mirror";
const HASH: &str = "kubernetes.io/config.hash";

pub fn is_mirror(pod: &Pod) -> bool {
    mirrored_hash(pod).is_some()
}

fn mirrored_hash(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.as_ref()?.get(MIRROR).map(String::as_str)
}

/// Does this mirror show this very static pod?
pub fn shows(mirror: &Pod, pod: &NodePod) -> bool {
    mirrored_hash(mirror) == pod.annotation(HASH) && mirror.metadata.deletion_timestamp.is_none()
}

/// The object to create for a static pod.
pub fn object(pod: &NodePod, node: &Node) -> Pod {
    let mut mirror = (*pod.object).clone();
    let hash = pod.annotation(HASH).unwrap_or_default().to_owned();
    mirror.metadata.annotations.get_or_insert_default().insert(MIRROR.to_owned(), hash);
    mirror.metadata.uid = None;
    mirror.metadata.resource_version = None;
    mirror.metadata.owner_references = Some(vec![OwnerReference {
        api_version: Node::API_VERSION.to_owned(),
        kind: Node::KIND.to_owned(),
        name: Typed::name(node).to_owned(),
        uid: Typed::uid(node).to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    mirror
}

/// A mirror that shows something else, or nothing that runs, goes at once.
pub async fn delete(client: &Client, mirror: &Pod) -> Result<(), orlop_client::Error> {
    let pods = client.api::<Pod>(Typed::namespace(mirror));
    match pods.delete(Typed::name(mirror), &DeleteOptions::uid(Typed::uid(mirror)).grace(0)).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}
