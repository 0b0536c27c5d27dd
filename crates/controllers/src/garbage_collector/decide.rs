//! The fate of one object.

use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orlop_client::engine::{Key, Plan, Step, View, Write};
use orlop_client::{DeleteOptions, Propagation, Resource};
use serde_json::json;

use super::graph::{Node, blocks};
use super::look::{Case, Owner};
use super::metadata::{FOREGROUND, Metadata, ORPHAN};

pub fn decide(_key: &Key, view: &View, _now: Timestamp) -> Plan {
    let Some(case) = view.facts::<Case>() else { return Plan::none() };
    if case.live.waits_for(ORPHAN) {
        orphan_dependents(case)
    } else if case.live.waits_for(FOREGROUND) {
        finish_foreground(case)
    } else {
        judge_owners(case)
    }
}

/// Dependents stay, without this owner; then it may go.
fn orphan_dependents(case: &Case) -> Plan {
    let mut plan = Plan::none();
    let uid = &case.live.uid;
    let let_go: Vec<Write> = case.dependents.iter().map(|d| without_owners(d, |owner| owner.uid == *uid)).collect();
    if !let_go.is_empty() {
        plan.steps.push(Step::Together(let_go));
    }
    plan.write(without_finalizer(case, ORPHAN));
    plan
}

/// It goes when no dependent blocks it any more; until then each of those has its own decision.
fn finish_foreground(case: &Case) -> Plan {
    let mut plan = Plan::none();
    let blocking = |d: &Node| d.object.owners.iter().any(|o| o.uid == case.live.uid && blocks(o));
    if !case.dependents.iter().any(blocking) {
        plan.write(without_finalizer(case, FOREGROUND));
    }
    plan
}

fn judge_owners(case: &Case) -> Plan {
    let is = |wanted: &[Owner]| case.owners.iter().any(|(_, owner)| wanted.contains(owner));
    if case.owners.is_empty() || is(&[Owner::Impossible]) {
        return Plan::none();
    }
    if is(&[Owner::Solid, Owner::Unwatched]) {
        return keep(case, is(&[Owner::Unwatched]));
    }
    let mut plan = Plan::none();
    let live = &case.live;
    if is(&[Owner::Waiting]) && !case.dependents.is_empty() {
        // If a dependent waits for this object as well, the two would wait for each other.
        if case.dependents.iter().any(|d| d.object.waits_for(FOREGROUND)) {
            plan.write(unblocking(&case.resource, live));
            // The patch changed the version that the deletion is to be of.
            plan.retry = Some("deleted once its references no longer block".to_owned());
            return if live.owners.iter().any(blocks) { plan } else { deletion(case, Propagation::Foreground) };
        }
        return deletion(case, Propagation::Foreground);
    }
    let propagation = if live.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else if live.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    deletion(case, propagation)
}

/// An owner keeps it. References to absent owners go, and to waiting ones, which would wait for ever.
fn keep(case: &Case, look_again: bool) -> Plan {
    let mut plan = Plan::none();
    let useless = |owner: &OwnerReference| {
        let judged = case.owners.iter().find(|(reference, _)| reference == owner);
        judged.is_some_and(|(_, owner)| matches!(owner, Owner::Absent | Owner::Waiting))
    };
    if case.live.owners.iter().any(useless) {
        let node = Node { resource: case.resource.clone(), object: Arc::new(case.live.clone()) };
        plan.write(without_owners(&node, useless));
    }
    if look_again {
        // kubernetes#56121
        plan.retry = Some("its owner has not been seen by a watch yet".to_owned());
    }
    plan
}

/// Of exactly this object as it was looked at: an owner may be added at any time.
fn deletion(case: &Case, propagation: Propagation) -> Plan {
    let mut plan = Plan::none();
    let options = DeleteOptions {
        resource_version: Some(case.live.resource_version.clone()),
        ..DeleteOptions::uid(&case.live.uid).propagation(propagation)
    };
    plan.write(Write::delete_of(&case.resource, &case.live, options));
    plan
}

fn without_owners(node: &Node, leave: impl Fn(&OwnerReference) -> bool) -> Write {
    let object = &node.object;
    let kept: Vec<&OwnerReference> = object.owners.iter().filter(|owner| !leave(owner)).collect();
    patch(&node.resource, object, json!({ "metadata": { "ownerReferences": kept } }))
}

fn unblocking(resource: &Resource, object: &Metadata) -> Write {
    let free = |owner: &OwnerReference| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() };
    let owners: Vec<OwnerReference> = object.owners.iter().map(free).collect();
    patch(resource, object, json!({ "metadata": { "ownerReferences": owners } }))
}

fn without_finalizer(case: &Case, finalizer: &str) -> Write {
    let kept: Vec<&String> = case.live.finalizers.iter().filter(|f| *f != finalizer).collect();
    patch(&case.resource, &case.live, json!({ "metadata": { "finalizers": kept } }))
}

/// A list replaced as a whole must be the list that was seen.
fn patch(resource: &Resource, object: &Metadata, mut patch: serde_json::Value) -> Write {
    orlop_api::meta::set(&mut patch, "resourceVersion", object.resource_version.as_str());
    Write::merge(resource, object, patch).gone_is_fine()
}
