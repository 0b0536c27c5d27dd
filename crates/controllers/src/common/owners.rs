//! Controller references: who owns what, adopting orphans and letting go
//! (`pkg/controller/controller_ref_manager.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orlop_client::cache::{Delta, Index};
use orlop_client::engine::{Key, View, Write};
use serde_json::json;

const BY_CONTROLLER: &str = "controller";

/// Files objects under their controller's uid, or with the orphans of their namespace.
pub fn by_controller<K: Typed>() -> Index<K> {
    Index {
        name: BY_CONTROLLER,
        values: |object| {
            vec![match controller_of(object) {
                Some(owner) => owner.uid.clone(),
                None => orphans(object.namespace()),
            }]
        },
    }
}

/// No uid holds a slash.
fn orphans(namespace: &str) -> String {
    format!("orphans/{namespace}")
}

/// The owner that manages the object, if any.
pub fn controller_of<K: Typed>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The reference that makes `owner` the controller of what carries it.
pub fn controller_reference<O: Typed>(owner: &O) -> OwnerReference {
    OwnerReference {
        api_version: O::API_VERSION.to_owned(),
        kind: O::KIND.to_owned(),
        name: owner.name().to_owned(),
        uid: owner.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Objects whose controller has this uid. The kind must be indexed [`by_controller`].
pub fn owned<'a, K: Typed>(view: &'a View, uid: &str) -> impl Iterator<Item = &'a Arc<K>> + use<'a, K> {
    view.of::<K>().indexed(BY_CONTROLLER, uid)
}

/// What `owner` owns, and what nobody does in its namespace.
pub fn owned_and_orphans<'a, O: Typed, K: Typed>(view: &'a View, owner: &O) -> impl Iterator<Item = &'a Arc<K>> {
    owned(view, owner.uid()).chain(view.of::<K>().indexed(BY_CONTROLLER, &orphans(owner.namespace())))
}

/// What an owner may count on, and the patches that make it so.
pub struct Claim<'a, K> {
    pub mine: Vec<&'a Arc<K>>,
    pub writes: Vec<Write>,
}

/// Takes what is owned or adoptable, releases what is owned but no longer selected.
pub fn claim<'a, O: Typed, K: Typed>(
    owner: &O,
    selector: &Selector,
    candidates: impl Iterator<Item = &'a Arc<K>>,
) -> Claim<'a, K> {
    claim_tracked(owner, selector, candidates, None)
}

/// [`claim`] of an owner that keeps a finalizer on what it owns.
pub fn claim_tracked<'a, O: Typed, K: Typed>(
    owner: &O,
    selector: &Selector,
    candidates: impl Iterator<Item = &'a Arc<K>>,
    finalizer: Option<&str>,
) -> Claim<'a, K> {
    let mut claim = Claim { mine: Vec::new(), writes: Vec::new() };
    let owner_stays = owner.meta().deletion_timestamp.is_none();
    for candidate in candidates {
        let selected = selector.matches_opt(candidate.meta().labels.as_ref());
        match controller_of(&**candidate) {
            Some(other) if other.uid != owner.uid() => {}
            Some(_) if selected => claim.mine.push(candidate),
            Some(_) if owner_stays => claim.writes.push(release(owner, &**candidate, finalizer)),
            Some(_) => {}
            None if owner_stays && selected && candidate.meta().deletion_timestamp.is_none() => {
                claim.writes.push(adopt(owner, &**candidate, finalizer));
                claim.mine.push(candidate);
            }
            None => {}
        }
    }
    claim
}

/// Only a living owner may adopt, and only the API knows whether it lives (kubernetes#42639).
fn adopt<O: Typed, K: Typed>(owner: &O, orphan: &K, finalizer: Option<&str>) -> Write {
    let mut patch = json!({ "metadata": { "ownerReferences": [controller_reference(owner)] } });
    if let Some(finalizer) = finalizer {
        patch["metadata"]["finalizers"] = json!([finalizer]);
    }
    Write::patch(orphan, "", patch).while_alive(owner).gone_is_fine()
}

fn release<O: Typed, K: Typed>(owner: &O, object: &K, finalizer: Option<&str>) -> Write {
    let mut patch = json!({ "metadata": { "ownerReferences": [{ "$patch": "delete", "uid": owner.uid() }] } });
    if let Some(finalizer) = finalizer {
        patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
    }
    Write::patch(object, "", patch).gone_is_fine()
}

/// Wakes the `O` that controls a changed object, before and after the change; for an orphan that
/// is new or newly labelled, every `O` of its namespace that selects it.
pub fn wake_owner<O: Typed, K: Typed>(
    delta: &Delta<K>,
    view: &View,
    wake: &mut dyn FnMut(Key),
    selector: fn(&O) -> Selector,
) {
    for object in delta.sides() {
        if let Some(reference) = controller_of(&**object)
            && reference.kind == O::KIND
            && let Some(owner) = view.of::<O>().get(object.namespace(), &reference.name)
            && owner.uid() == reference.uid
        {
            wake(Key::of(&**owner));
        }
    }
    let Some(new) = delta.new.as_ref().filter(|n| controller_of(&***n).is_none()) else { return };
    let meta = new.meta();
    let news = delta.old.as_ref().is_none_or(|old| old.meta().labels != meta.labels || controller_of(&**old).is_some());
    if meta.deletion_timestamp.is_some() || !news || meta.labels.as_ref().is_none_or(BTreeMap::is_empty) {
        return;
    }
    for owner in view.of::<O>().namespace(new.namespace()) {
        let selector = selector(owner);
        if !selector.is_empty() && selector.matches_opt(meta.labels.as_ref()) {
            wake(Key::of(&**owner));
        }
    }
}
