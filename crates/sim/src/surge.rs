//! Never more pods than `replicas + maxSurge` are ordered, and never more made than were ordered; no
//! ClusterIP given twice.
//!
//! A Deployment counts what its ReplicaSets are told to have, as upstream does
//! (`deploymentutil.GetReplicaCountForReplicaSets`); a ReplicaSet counts pods that are neither finished
//! nor terminating (those are counted apart, KEP-3973). A limit that shrinks takes effect once its
//! controller has said to have seen it (`observedGeneration`) and nothing beyond it is left: until then
//! what was ordered under the old limit may still appear. An orphan that a Deployment adopts may be larger than
//! the Deployment wants, until it is scaled down.

use std::collections::BTreeMap;

use orlop_store::Event;
use serde_json::Value;

use crate::history::parse;
use crate::violation::Violation;

#[derive(Default)]
pub struct Surge {
    /// By uid.
    deployments: BTreeMap<String, Deployment>,
    /// By uid.
    replica_sets: BTreeMap<String, ReplicaSet>,
    /// Counted pods and their ReplicaSet, by the pod's uid.
    pods: BTreeMap<String, String>,
    /// ClusterIPs and who has them.
    addresses: BTreeMap<String, String>,
}

struct Deployment {
    name: String,
    limit: Limit,
}

struct ReplicaSet {
    name: String,
    deployment: String,
    limit: Limit,
}

/// What is wanted now, and the most that somebody may still act on.
#[derive(Clone, Copy)]
struct Limit {
    wanted: i64,
    allowed: i64,
    observed: bool,
}

impl Limit {
    fn new(wanted: i64, observed: bool) -> Self {
        Self { wanted, allowed: wanted, observed }
    }

    fn change(&mut self, wanted: i64, observed: bool) {
        *self = Self { wanted, allowed: self.allowed.max(wanted), observed };
    }

    /// The newest wish counts alone once nobody can act on an older one.
    fn tighten(&mut self, have: i64) {
        if self.observed && have <= self.wanted {
            self.allowed = self.wanted;
        }
    }
}

impl Surge {
    pub fn see(&mut self, event: &Event) -> Result<(), Violation> {
        match &*event.entry.key.resource {
            "apps/deployments" => self.deployment(event),
            "apps/replicasets" => return self.replica_set(event),
            "pods" => return self.pod(event),
            "services" => return self.service(event),
            _ => {}
        }
        Ok(())
    }

    fn deployment(&mut self, event: &Event) {
        let object = parse(&event.entry);
        let uid = text(&object["metadata"]["uid"]);
        if event.deleted {
            self.deployments.remove(&uid);
            return;
        }
        let (wanted, observed) = (limit(&object["spec"]), is_observed(&object));
        let new = || Deployment { name: name(event), limit: Limit::new(wanted, observed) };
        let ordered = self.ordered(&uid);
        let known = self.deployments.entry(uid).or_insert_with(new);
        known.limit.change(wanted, observed);
        known.limit.tighten(ordered);
    }

    fn replica_set(&mut self, event: &Event) -> Result<(), Violation> {
        let object = parse(&event.entry);
        let uid = text(&object["metadata"]["uid"]);
        let Some(deployment) = controller(&object).filter(|_| !event.deleted) else {
            self.replica_sets.remove(&uid);
            return Ok(());
        };
        let (wanted, observed) = (object["spec"]["replicas"].as_i64().unwrap_or(1), is_observed(&object));
        let before = self.ordered(&deployment);
        let made = self.made(&uid);
        // One that was an orphan comes with as many as it has.
        let is_adopted = event.previous.is_some() && !self.replica_sets.contains_key(&uid);
        let new =
            || ReplicaSet { name: name(event), deployment: deployment.clone(), limit: Limit::new(wanted, observed) };
        let set = self.replica_sets.entry(uid).or_insert_with(new);
        set.limit.change(wanted, observed);
        set.limit.tighten(made);
        let ordered = self.ordered(&deployment);
        let Some(owner) = self.deployments.get_mut(&deployment) else { return Ok(()) };
        if is_adopted {
            owner.limit.allowed = owner.limit.allowed.max(ordered);
        }
        owner.limit.tighten(ordered);
        if ordered > before { check(&owner.name, ordered, owner.limit, event) } else { Ok(()) }
    }

    fn pod(&mut self, event: &Event) -> Result<(), Violation> {
        let object = parse(&event.entry);
        let uid = text(&object["metadata"]["uid"]);
        let finished = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let counts = !event.deleted && !finished && object["metadata"]["deletionTimestamp"].is_null();
        let owner = controller(&object).filter(|_| counts);
        let (set, is_new) = match owner {
            Some(set) => (Some(set.clone()), self.pods.insert(uid, set).is_none()),
            None => (self.pods.remove(&uid), false),
        };
        let Some(uid) = set else { return Ok(()) };
        let made = self.made(&uid);
        let Some(set) = self.replica_sets.get_mut(&uid) else { return Ok(()) };
        set.limit.tighten(made);
        if is_new { check(&set.name, made, set.limit, event) } else { Ok(()) }
    }

    /// Pods that the Deployment's ReplicaSets are told to have.
    fn ordered(&self, deployment: &str) -> i64 {
        self.replica_sets.values().filter(|set| set.deployment == deployment).map(|set| set.limit.wanted).sum()
    }

    fn made(&self, set: &str) -> i64 {
        self.pods.values().filter(|of| *of == set).count() as i64
    }

    fn service(&mut self, event: &Event) -> Result<(), Violation> {
        let object = parse(&event.entry);
        let name = name(event);
        self.addresses.retain(|_, holder| *holder != name);
        let ips = object["spec"]["clusterIPs"].as_array().filter(|_| !event.deleted);
        for ip in ips.into_iter().flatten().filter_map(Value::as_str).filter(|ip| *ip != "None") {
            if let Some(one) = self.addresses.insert(ip.to_owned(), name.clone()) {
                return Err(Violation::SharedIp { ip: ip.to_owned(), one, other: name });
            }
        }
        Ok(())
    }
}

fn check(owner: &str, count: i64, limit: Limit, event: &Event) -> Result<(), Violation> {
    if count <= limit.allowed {
        return Ok(());
    }
    let (owner, allowed, revision) = (owner.to_owned(), limit.allowed, event.revision);
    Err(Violation::Surge { owner, count, allowed, revision })
}

fn name(event: &Event) -> String {
    let key = &event.entry.key;
    format!("{} {}/{}", key.resource, key.namespace, key.name)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn is_observed(object: &Value) -> bool {
    object["metadata"]["generation"].as_i64() <= object["status"]["observedGeneration"].as_i64()
}

/// The uid of the owner that controls it.
pub fn controller(object: &Value) -> Option<String> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true).map(|owner| text(&owner["uid"]))
}

/// `replicas + maxSurge`, percentages rounded up (`deploymentutil.ResolveFenceposts`).
fn limit(spec: &Value) -> i64 {
    let replicas = spec["replicas"].as_i64().unwrap_or(1);
    if spec["strategy"]["type"] == "Recreate" || replicas == 0 {
        return replicas;
    }
    let surge = &spec["strategy"]["rollingUpdate"]["maxSurge"];
    let percent = surge.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    replicas + percent.map_or_else(|| surge.as_i64().unwrap_or(0), |percent| (replicas * percent + 99) / 100)
}
