//! What the Pod kind computes, apart from its file for its size.

pub(super) mod affinity;
pub(super) mod app_armor;
pub(crate) mod gated;
pub(crate) mod qos;
pub(super) mod row;
pub(super) mod status;
