//! What tests of this crate share.

use std::sync::Arc;

use orlop_api::typed::Typed;
use serde_json::{Value, json};

use crate::corev1::Pod;
use crate::pod::spec::{NodePod, Origin};

/// A pod `default/p` with this spec.
pub fn pod(spec: Value) -> NodePod {
    pod_from(json!({"metadata": {"name": "p", "namespace": "default", "uid": "u1"}, "spec": spec}))
}

/// A pod from a whole object.
pub fn pod_from(object: Value) -> NodePod {
    let pod = Pod::decode(object.to_string().as_bytes()).expect("a pod");
    NodePod::new(Arc::new(pod), Origin::Api)
}
