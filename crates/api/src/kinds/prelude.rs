//! What a kind's file needs, in one `use`.

pub(super) use super::facts::{cluster, facts, namespaced};
pub(super) use crate::kind::{Kind, KindInfo};
