//! Who owns whom, as far as watches have told.
//!
//! Edges are kept by uid whether or not their owner has been seen: an owner may come later, or may
//! never have existed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orlop_api::typed::k8s_openapi::api::core::v1::ObjectReference;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orlop_client::Resource;
use orlop_client::engine::Note;
use orlop_client::events::EventType;

use super::metadata::{FOREGROUND, Metadata, ORPHAN};

/// An object that has been seen.
#[derive(Clone, Debug)]
pub struct Node {
    pub resource: Arc<Resource>,
    pub object: Arc<Metadata>,
}

/// The objects of the cluster.
#[derive(Default)]
pub struct Graph {
    nodes: BTreeMap<String, Node>,
    /// Owner's uid -> dependents' uids.
    dependents: BTreeMap<String, BTreeSet<String>>,
}

/// What a change asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Consequences {
    /// Uids whose fate may have changed.
    pub wake: BTreeSet<String>,
    pub notes: Vec<Note>,
}

impl Graph {
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Node> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|dependent| self.nodes.get(dependent))
    }

    /// An object was seen, new or changed.
    pub fn put(&mut self, resource: &Arc<Resource>, object: Arc<Metadata>) -> Consequences {
        let mut news = Consequences::default();
        let uid = object.uid.clone();
        let node = Node { resource: resource.clone(), object };
        let before = self.nodes.insert(uid.clone(), node.clone());
        let old_owners = before.as_ref().map(|n| n.object.owners.as_slice()).unwrap_or_default();
        self.unlink(&uid, old_owners, &node.object.owners, &mut news);
        self.link(&node, old_owners, &mut news);
        if before.is_none() {
            self.judge_references_to(&node, &mut news);
        }
        let began = |finalizer: &str| {
            node.object.waits_for(finalizer) && before.as_ref().is_none_or(|b| !b.object.waits_for(finalizer))
        };
        if began(ORPHAN) || began(FOREGROUND) {
            news.wake.insert(uid.clone());
        }
        if began(FOREGROUND) {
            news.wake.extend(self.dependents.get(&uid).into_iter().flatten().cloned());
        }
        news
    }

    /// An object is gone.
    pub fn remove(&mut self, uid: &str) -> Consequences {
        let mut news = Consequences::default();
        let Some(node) = self.nodes.remove(uid) else { return news };
        self.unlink(uid, &node.object.owners, &[], &mut news);
        // An owner that waits for its dependents may have been waiting for this one.
        news.wake.extend(node.object.owners.iter().filter(|o| self.is_foreground(&o.uid)).map(|o| o.uid.clone()));
        news.wake.extend(self.dependents.get(uid).into_iter().flatten().cloned());
        news
    }

    /// A resource is no longer watched: forget its objects, which says nothing about their end.
    pub fn forget(&mut self, resource: &Resource) {
        let gone: Vec<String> =
            self.nodes.iter().filter(|(_, n)| *n.resource == *resource).map(|(uid, _)| uid.clone()).collect();
        for uid in gone {
            if let Some(node) = self.nodes.remove(&uid) {
                self.unlink(&uid, &node.object.owners, &[], &mut Consequences::default());
            }
        }
    }

    /// Every object that would have been woken had all others been seen before it: after the first
    /// full sight of the cluster.
    pub fn suspects(&self) -> BTreeSet<String> {
        let suspect = |node: &Node| {
            let object = &node.object;
            object.waits_for(ORPHAN)
                || object.waits_for(FOREGROUND)
                || object.owners.iter().any(|owner| !self.is_known_as(owner, node) || self.is_foreground(&owner.uid))
        };
        self.nodes.iter().filter(|(_, node)| suspect(node)).map(|(uid, _)| uid.clone()).collect()
    }

    fn is_foreground(&self, uid: &str) -> bool {
        self.nodes.get(uid).is_some_and(|n| n.object.waits_for(FOREGROUND))
    }

    /// Whether the owner has been seen under the very name the reference gives it, within reach of
    /// the dependent.
    fn is_known_as(&self, reference: &OwnerReference, dependent: &Node) -> bool {
        self.nodes.get(&reference.uid).is_some_and(|owner| is_named(owner, reference) && is_in_reach(owner, dependent))
    }

    /// Adds the edges that `node` has and did not have.
    fn link(&mut self, node: &Node, old: &[OwnerReference], news: &mut Consequences) {
        for owner in node.object.owners.iter().filter(|o| !old.iter().any(|known| known.uid == o.uid)) {
            self.dependents.entry(owner.uid.clone()).or_default().insert(node.object.uid.clone());
            if !self.is_known_as(owner, node) || self.is_foreground(&owner.uid) {
                news.wake.insert(node.object.uid.clone());
            }
            if self.nodes.get(&owner.uid).is_some_and(|seen| !is_in_reach(seen, node)) {
                news.notes.push(out_of_reach(node, owner));
            }
        }
    }

    /// Takes away the edges that `uid` had and has no longer. An owner that waits is told of every
    /// reference that no longer blocks it.
    fn unlink(&mut self, uid: &str, old: &[OwnerReference], new: &[OwnerReference], news: &mut Consequences) {
        for owner in old {
            let still = new.iter().find(|o| o.uid == owner.uid);
            if still.is_none()
                && let Some(dependents) = self.dependents.get_mut(&owner.uid)
            {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
            if blocks(owner) && !still.is_some_and(blocks) && self.is_foreground(&owner.uid) {
                news.wake.insert(owner.uid.clone());
            }
        }
    }

    /// Dependents that came before their owner, and know it by another name.
    fn judge_references_to(&self, owner: &Node, news: &mut Consequences) {
        for dependent in self.dependents(&owner.object.uid) {
            for reference in dependent.object.owners.iter().filter(|o| o.uid == owner.object.uid) {
                if !is_in_reach(owner, dependent) {
                    news.notes.push(out_of_reach(dependent, reference));
                }
                if !is_named(owner, reference) || !is_in_reach(owner, dependent) {
                    news.wake.insert(dependent.object.uid.clone());
                }
            }
        }
    }
}

pub fn blocks(reference: &OwnerReference) -> bool {
    reference.block_owner_deletion == Some(true)
}

fn is_named(owner: &Node, reference: &OwnerReference) -> bool {
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    owner.resource.kind == reference.kind && owner.resource.group == group && owner.object.name == reference.name
}

/// A namespaced owner owns only within its namespace.
fn is_in_reach(owner: &Node, dependent: &Node) -> bool {
    owner.object.namespace.is_empty() || owner.object.namespace == dependent.object.namespace
}

fn out_of_reach(dependent: &Node, reference: &OwnerReference) -> Note {
    let object = &dependent.object;
    let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    let about = ObjectReference {
        api_version: Some(dependent.resource.api_version()),
        kind: Some(dependent.resource.kind.to_string()),
        namespace: text(&object.namespace),
        name: text(&object.name),
        uid: text(&object.uid),
        ..ObjectReference::default()
    };
    let OwnerReference { api_version, kind, name, uid, .. } = reference;
    let message = format!(
        "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in namespace \
         {namespace:?}",
        namespace = object.namespace
    );
    Note::new(about, EventType::Warning, "OwnerRefInvalidNamespace", message)
}
