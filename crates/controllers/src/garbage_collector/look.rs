//! What the API itself says about an object and its owners, before its fate is decided.

use std::sync::{Arc, Mutex, PoisonError};

use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orlop_client::engine::{Key, Look, View};
use orlop_client::{Client, Error, Object, Resource, Result};

use super::graph::{Graph, Node};
use super::metadata::{FOREGROUND, Metadata, ORPHAN};
use super::monitors::Monitors;

/// One object, live, and those that its fate depends on. Absent when there is nothing to decide.
#[derive(Clone, Debug)]
pub struct Case {
    pub resource: Arc<Resource>,
    pub live: Metadata,
    /// Every owner reference, judged. Empty for an object that waits to be deleted itself.
    pub owners: Vec<(OwnerReference, Owner)>,
    /// As the graph knows them.
    pub dependents: Vec<Node>,
}

/// What an owner reference leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// There, and no watch has shown it yet: if it goes now, no watch may ever tell.
    Unwatched,
    /// There, and watched.
    Solid,
    /// There, but waiting for its dependents to go.
    Waiting,
    /// Not there.
    Absent,
    /// A namespaced owner of a cluster-scoped object: nothing that could exist.
    Impossible,
}

pub fn look(graph: Arc<Mutex<Graph>>, monitors: Arc<Monitors>) -> Look {
    Box::new(move |client, key, view| {
        let (graph, monitors) = (graph.clone(), monitors.clone());
        Box::pin(async move { look_at(client, key, view, &graph, &monitors).await })
    })
}

async fn look_at(client: Client, key: Key, view: View, graph: &Mutex<Graph>, monitors: &Monitors) -> Result<View> {
    if !monitors.have_synced() {
        return Err(Error::Request("not every resource has been listed yet".to_owned()));
    }
    let known = {
        let graph = graph.lock().unwrap_or_else(PoisonError::into_inner);
        graph.get(key.name()).cloned().map(|node| (node, graph.dependents(key.name()).cloned().collect()))
    };
    let Some((node, dependents)) = known else { return Ok(view) };
    let api = client.resource::<Metadata>(&node.resource, &node.object.namespace);
    // What is gone, or replaced, a watch will tell.
    let live = api.get_opt(&node.object.name).await?.filter(|live| live.uid == node.object.uid);
    let Some(live) = live else { return Ok(view) };
    let mut owners = Vec::new();
    if live.terminating {
        if !live.has_finalizer(FOREGROUND) && !live.has_finalizer(ORPHAN) {
            return Ok(view);
        }
    } else {
        for reference in &live.owners {
            owners.push((reference.clone(), judge(&client, &live, reference, graph, monitors).await?));
        }
    }
    Ok(view.with(Case { resource: node.resource, live, owners, dependents }))
}

async fn judge(
    client: &Client,
    dependent: &Metadata,
    reference: &OwnerReference,
    graph: &Mutex<Graph>,
    monitors: &Monitors,
) -> Result<Owner> {
    let Some(resource) = monitors.resource_of(&reference.api_version, &reference.kind) else {
        let OwnerReference { api_version, kind, .. } = reference;
        return Err(Error::Request(format!("unable to get REST mapping for {api_version}/{kind}.")));
    };
    if resource.namespaced && dependent.namespace.is_empty() {
        return Ok(Owner::Impossible);
    }
    let namespace = if resource.namespaced { dependent.namespace.as_str() } else { "" };
    let found = client.resource::<Metadata>(&resource, namespace).get_opt(&reference.name).await?;
    Ok(match found.filter(|owner| owner.uid() == reference.uid) {
        None => Owner::Absent,
        Some(owner) if owner.waits_for(FOREGROUND) => Owner::Waiting,
        Some(_) if graph.lock().unwrap_or_else(PoisonError::into_inner).get(&reference.uid).is_none() => {
            Owner::Unwatched
        }
        Some(_) => Owner::Solid,
    })
}
