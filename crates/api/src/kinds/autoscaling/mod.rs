mod annotations;
mod convert;
pub mod horizontal_pod_autoscaler;
mod targets;
