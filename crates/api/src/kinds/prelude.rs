//! What a kind's file needs, in one `use`.

pub(super) use serde_json::{Map, Value, json};

pub(super) use super::facts::{cluster, facts, namespaced};
pub(super) use super::labels::field_labels;
pub(super) use super::read::{Read, annotation, condition};
pub(super) use super::validation::validation;
pub(super) use crate::kind::{Column, Deletion, FieldLabels, Kind, KindInfo, ResetFields};
pub(super) use crate::meta;
