//! ControllerRevisions: the pod templates that StatefulSets and DaemonSets have had, numbered
//! (`pkg/controller/history`).
//!
//! A revision's data is a patch that puts its template back: `{"spec": {"template": {..., "$patch":
//! "replace"}}}`. Two revisions are equal when they put back the same template, however it is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::equality;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::PodTemplateSpec;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use orlop_api::typed::kinds::ControllerRevision;
use orlop_base::id::safe_encode;
use orlop_client::engine::Write;
use serde_json::{Value, json};

use super::owners::controller_reference;

/// Longest prefix of a revision's name: leaves room for a dash and a hash in 253 characters.
const PREFIX_MAX: usize = 223;

/// Oldest first.
pub fn sorted(mut revisions: Vec<Arc<ControllerRevision>>) -> Vec<Arc<ControllerRevision>> {
    revisions.sort_by(|a, b| {
        let key = |r: &ControllerRevision| (number(r), r.metadata.creation_timestamp.clone(), r.metadata.name.clone());
        key(a).cmp(&key(b))
    });
    revisions
}

pub fn number(revision: &ControllerRevision) -> i64 {
    revision.revision.unwrap_or(0)
}

/// The number after the newest; `revisions` are [`sorted`].
pub fn next(revisions: &[Arc<ControllerRevision>]) -> i64 {
    revisions.last().map_or(1, |newest| number(newest) + 1)
}

/// The template that the revision puts back.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    serde_json::from_value(bare_template(&revision.data.0)).ok()
}

/// Whether the revision puts back `wanted`.
pub fn restores(revision: &ControllerRevision, wanted: &PodTemplateSpec) -> bool {
    template(revision).is_some_and(|kept| {
        kept == *wanted || {
            let value = |template: &PodTemplateSpec| serde_json::to_value(template).unwrap_or_default();
            equality::same(&value(&kept), &value(wanted))
        }
    })
}

fn bare_template(data: &Value) -> Value {
    let mut template = data["spec"]["template"].clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    template
}

/// What a revision of `template` holds.
pub fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = "replace".into();
    json!({ "spec": { "template": template } })
}

/// A revision of `template` for `owner`, named after its content; `collisions` makes another name.
/// `hash_label` carries the hash, as each owner kind calls it.
pub fn revision<O: Typed>(
    owner: &O,
    template: &PodTemplateSpec,
    number: i64,
    collisions: i32,
    hash_label: &str,
) -> ControllerRevision {
    let data = data(template);
    let hash = hash(&data, collisions);
    let mut labels: BTreeMap<String, String> =
        template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(hash_label.to_owned(), hash.clone());
    let owner_name = owner.name();
    let metadata = ObjectMeta {
        name: Some(format!("{}-{hash}", owner_name.get(..PREFIX_MAX).unwrap_or(owner_name))),
        namespace: owner.meta().namespace.clone(),
        labels: Some(labels),
        annotations: owner.meta().annotations.clone(),
        owner_references: Some(vec![controller_reference(owner)]),
        ..ObjectMeta::default()
    };
    ControllerRevision { metadata, data: RawExtension(data), revision: Some(number) }
}

/// FNV-1, 32 bits, of the data and the number of collisions, in the alphabet of generated names.
fn hash(data: &Value, collisions: i32) -> String {
    let text = format!("{data}{collisions}");
    let sum = text.bytes().fold(0x811c_9dc5u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
    safe_encode(&sum.to_string())
}

/// The same revision as the newest again (a roll-back).
pub fn renumber(revision: &ControllerRevision, number: i64) -> Write {
    Write::update(&ControllerRevision { revision: Some(number), ..revision.clone() })
}

/// Deletes the oldest of `revisions` beyond `limit`, of those that are not `live`.
pub fn truncate(revisions: &[Arc<ControllerRevision>], live: impl Fn(&str) -> bool, limit: i32) -> Vec<Write> {
    let old: Vec<_> = revisions.iter().filter(|revision| !live(Typed::name(&***revision))).collect();
    let Ok(limit) = usize::try_from(limit) else { return Vec::new() };
    let surplus = old.len().saturating_sub(limit);
    old.into_iter().take(surplus).map(|revision| Write::delete(&**revision)).collect()
}
