//! Never more pods than `replicas + maxSurge`, at any event; no ClusterIP given twice.
//!
//! Counted are pods that are neither finished nor terminating, as the controllers do (terminating
//! ones are counted apart, KEP-3973). A limit that shrinks takes effect once everybody has said to
//! have seen it: until the Deployment's and its ReplicaSets' `observedGeneration` have caught up and
//! the pods beyond it are gone, pods ordered under the old limit may still appear.

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
    limit: i64,
    /// The largest limit that somebody may still act on.
    allowed: i64,
    observed: bool,
}

struct ReplicaSet {
    deployment: String,
    replicas: i64,
    observed: bool,
}

impl Surge {
    pub fn see(&mut self, event: &Event) -> Result<(), Violation> {
        match &*event.entry.key.resource {
            "apps/deployments" => self.deployment(event),
            "apps/replicasets" => self.replica_set(event),
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
        let (limit, observed) = (limit(&object["spec"]), is_observed(&object));
        let name = format!("{}/{}", event.entry.key.namespace, event.entry.key.name);
        let known = self.deployments.entry(uid.clone()).or_insert(Deployment { name, limit, allowed: limit, observed });
        known.limit = limit;
        known.allowed = known.allowed.max(limit);
        known.observed = observed;
        self.tighten(&uid);
    }

    fn replica_set(&mut self, event: &Event) {
        let object = parse(&event.entry);
        let uid = text(&object["metadata"]["uid"]);
        let Some(deployment) = controller(&object).filter(|_| !event.deleted) else {
            self.replica_sets.remove(&uid);
            return;
        };
        let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
        let set = ReplicaSet { deployment: deployment.clone(), replicas, observed: is_observed(&object) };
        self.replica_sets.insert(uid, set);
        self.tighten(&deployment);
    }

    fn pod(&mut self, event: &Event) -> Result<(), Violation> {
        let object = parse(&event.entry);
        let uid = text(&object["metadata"]["uid"]);
        let finished = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let counts = !event.deleted && !finished && object["metadata"]["deletionTimestamp"].is_null();
        let Some(set) = controller(&object).filter(|_| counts) else {
            if let Some(set) = self.pods.remove(&uid)
                && let Some(set) = self.replica_sets.get(&set)
            {
                self.tighten(&set.deployment.clone());
            }
            return Ok(());
        };
        let new = self.pods.insert(uid, set.clone()).is_none();
        let Some(set) = self.replica_sets.get(&set).filter(|_| new) else { return Ok(()) };
        let Some(deployment) = self.deployments.get(&set.deployment) else { return Ok(()) };
        let count = self.count(&set.deployment);
        if count as i64 > deployment.allowed {
            let (deployment, allowed) = (deployment.name.clone(), deployment.allowed);
            return Err(Violation::Surge { deployment, count, allowed, revision: event.revision });
        }
        Ok(())
    }

    fn count(&self, deployment: &str) -> usize {
        let of = |set: &String| self.replica_sets.get(set).is_some_and(|set| set.deployment == deployment);
        self.pods.values().filter(|set| of(set)).count()
    }

    /// The newest limit counts alone once nobody can act on an older one.
    fn tighten(&mut self, uid: &str) {
        let count = self.count(uid) as i64;
        let Some(deployment) = self.deployments.get_mut(uid) else { return };
        let mut sets = self.replica_sets.values().filter(|set| set.deployment == uid).peekable();
        let mut wanted = 0;
        let mut observed = deployment.observed;
        while let Some(set) = sets.next() {
            wanted += set.replicas;
            observed &= set.observed;
        }
        if observed && wanted <= deployment.limit && count <= deployment.limit {
            deployment.allowed = deployment.limit;
        }
    }

    fn service(&mut self, event: &Event) -> Result<(), Violation> {
        let object = parse(&event.entry);
        let name = format!("{}/{}", event.entry.key.namespace, event.entry.key.name);
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
