//! What tests of this crate share.

pub mod fakes;
pub mod node;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use orlop_api::typed::Typed;
use orlop_runtime::{Container, ContainerState, Sandbox};
use serde_json::{Value, json};

use crate::corev1::Pod;
use crate::pod::spec::{NodePod, Origin, fingerprint};
use crate::pod::view::Instance;

/// A pod `default/p` with this spec.
pub fn pod(spec: Value) -> NodePod {
    pod_from(json!({"metadata": {"name": "p", "namespace": "default", "uid": "u1"}, "spec": spec}))
}

/// A pod from a whole object.
pub fn pod_from(object: Value) -> NodePod {
    let pod = Pod::decode(object.to_string().as_bytes()).expect("a pod");
    NodePod::new(Arc::new(pod), Origin::Api)
}

/// Instance number `attempt` of a container, running in the pod's first sandbox; id `<name>-<attempt>`.
pub fn instance(pod: &NodePod, name: &str, attempt: u32) -> Instance {
    let fingerprint = pod.container(name).map(|(_, c)| fingerprint(c)).unwrap_or_default();
    let runtime = Container {
        id: format!("{name}-{attempt}"),
        sandbox_id: "s-0".into(),
        name: name.into(),
        attempt,
        image: "image".into(),
        image_id: "sha256:1".into(),
        state: ContainerState::Running,
        pid: Some(1),
        created_unix_nanos: i64::from(attempt),
        started_unix_nanos: i64::from(attempt),
        finished_unix_nanos: 0,
        exit_code: 0,
        signal: 0,
        reason: String::new(),
        message: String::new(),
        log_path: PathBuf::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    Instance { runtime, fingerprint, message: String::new() }
}

/// A ready sandbox `s-<attempt>`.
pub fn sandbox(pod: &NodePod, attempt: u32) -> Sandbox {
    Sandbox {
        id: format!("s-{attempt}"),
        pod_uid: pod.uid().into(),
        pod_name: pod.name().into(),
        pod_namespace: pod.namespace().into(),
        attempt,
        ready: true,
        created_unix_nanos: 0,
        netns: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

/// A directory that goes away with the test.
pub fn temp_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}
