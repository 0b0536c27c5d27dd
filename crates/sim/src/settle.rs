//! Where everything must end once the faults stop: read from what the store holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::history::{History, is_terminating, parse};
use crate::surge::controller;

/// What is not yet as it should be; empty when all is settled.
pub fn left_to_do(history: &History) -> Vec<String> {
    let world = World::read(history);
    let mut left = Vec::new();
    left.extend(world.terminating.iter().map(|name| format!("{name} is still terminating")));
    world.deployments.values().for_each(|deployment| check_deployment(deployment, &mut left));
    world.check_replica_sets(&mut left);
    world.check_sets(&mut left);
    world.jobs.iter().for_each(|(uid, job)| check_job(uid, job, history, &mut left));
    world.check_pods(&mut left);
    world.services.iter().for_each(|service| world.check_service(service, &mut left));
    left
}

struct World {
    terminating: Vec<String>,
    /// By uid, as are the next.
    deployments: BTreeMap<String, Value>,
    replica_sets: BTreeMap<String, Value>,
    stateful_sets: BTreeMap<String, Value>,
    daemon_sets: BTreeMap<String, Value>,
    jobs: BTreeMap<String, Value>,
    nodes: i64,
    pods: Vec<Value>,
    services: Vec<Value>,
    slices: Vec<Value>,
    endpoints: Vec<Value>,
}

impl World {
    fn read(history: &History) -> Self {
        let by_uid = |resource: &str| {
            history
                .objects(resource)
                .map(|o| (o["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), o))
                .collect()
        };
        let terminating = history.entries().filter(|entry| is_terminating(&entry.json));
        Self {
            terminating: terminating
                .map(|entry| format!("{} {}/{}", entry.key.resource, entry.key.namespace, entry.key.name))
                .collect(),
            deployments: by_uid("apps/deployments"),
            replica_sets: by_uid("apps/replicasets"),
            stateful_sets: by_uid("apps/statefulsets"),
            daemon_sets: by_uid("apps/daemonsets"),
            jobs: by_uid("batch/jobs"),
            nodes: history.objects("nodes").count() as i64,
            pods: history.objects("pods").collect(),
            services: history.objects("services").collect(),
            slices: history.objects("discovery.k8s.io/endpointslices").collect(),
            endpoints: history.objects("endpoints").collect(),
        }
    }

    fn check_replica_sets(&self, left: &mut Vec<String>) {
        for (uid, set) in &self.replica_sets {
            let wanted = number(&set["spec"]["replicas"]);
            let owned = || self.pods.iter().filter(|pod| controller(pod).as_ref() == Some(uid) && is_active(pod));
            if owned().count() as i64 != wanted {
                left.push(format!("ReplicaSet {} has {} pods of {wanted}", name(set), owned().count()));
            }
            if number(&set["status"]["replicas"]) != wanted || number(&set["status"]["availableReplicas"]) != wanted {
                left.push(format!("ReplicaSet {} tells {} of {wanted}", name(set), set["status"]));
            }
            if let Some(owner) = controller(set).filter(|owner| !self.deployments.contains_key(owner)) {
                left.push(format!("ReplicaSet {} belongs to {owner}, which is gone", name(set)));
            }
        }
        for (uid, deployment) in &self.deployments {
            let sets = self.replica_sets.values().filter(|set| controller(set).as_ref() == Some(uid));
            let old = sets.filter(|set| number(&set["spec"]["replicas"]) == 0).count() as i64;
            let kept = number(&deployment["spec"]["revisionHistoryLimit"]);
            // With no replicas the current set is empty too.
            if old > kept + i64::from(number(&deployment["spec"]["replicas"]) == 0) {
                left.push(format!("Deployment {} keeps {old} old ReplicaSets of {kept}", name(deployment)));
            }
        }
    }

    /// StatefulSets and DaemonSets.
    fn check_sets(&self, left: &mut Vec<String>) {
        let all = |set: &Value, wanted: i64, fields: &[&str]| {
            let status = &set["status"];
            let observed = status["observedGeneration"] == set["metadata"]["generation"];
            observed && fields.iter().all(|field| number(&status[field]) == wanted)
        };
        for set in self.stateful_sets.values() {
            let wanted = number(&set["spec"]["replicas"]);
            if !all(set, wanted, &["replicas", "readyReplicas", "currentReplicas", "updatedReplicas"]) {
                left.push(format!("StatefulSet {} wants {wanted}, tells {}", name(set), set["status"]));
            }
        }
        for set in self.daemon_sets.values() {
            let fields = ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled"];
            if !all(set, self.nodes, &fields) {
                left.push(format!("DaemonSet {} wants {}, tells {}", name(set), self.nodes, set["status"]));
            }
        }
    }

    fn has_owner(&self, uid: &String) -> bool {
        let owners = [&self.replica_sets, &self.stateful_sets, &self.daemon_sets, &self.jobs];
        owners.iter().any(|owners| owners.contains_key(uid))
    }

    fn check_pods(&self, left: &mut Vec<String>) {
        for pod in &self.pods {
            if let Some(owner) = controller(pod).filter(|owner| !self.has_owner(owner)) {
                left.push(format!("pod {} belongs to {owner}, which is gone", name(pod)));
            }
            if is_active(pod) && !is_ready(pod) {
                left.push(format!("pod {} is not ready: {}", name(pod), pod["status"]["conditions"]));
            }
        }
    }

    fn check_service(&self, service: &Value, left: &mut Vec<String>) {
        let Some(selector) = service["spec"]["selector"].as_object() else { return };
        let selects = |pod: &&Value| selector.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value);
        let here = |object: &&Value| object["metadata"]["namespace"] == service["metadata"]["namespace"];
        let pods = self.pods.iter().filter(here).filter(selects).filter(|pod| is_active(pod));
        let wanted: BTreeSet<&str> = pods.filter_map(|pod| pod["status"]["podIP"].as_str()).collect();
        let of_service =
            |slice: &&Value| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"];
        let told = self.slices.iter().filter(here).filter(of_service).flat_map(|slice| array(&slice["endpoints"]));
        let told = told.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        let told: BTreeSet<&str> =
            told.flat_map(|endpoint| array(&endpoint["addresses"])).filter_map(Value::as_str).collect();
        if told != wanted {
            left.push(format!("EndpointSlices of {} tell {told:?}, not {wanted:?}", name(service)));
        }
        let same = |endpoints: &&Value| endpoints["metadata"]["name"] == service["metadata"]["name"];
        let told = self.endpoints.iter().filter(here).filter(same).flat_map(|endpoints| array(&endpoints["subsets"]));
        let told: BTreeSet<&str> =
            told.flat_map(|subset| array(&subset["addresses"])).filter_map(|address| address["ip"].as_str()).collect();
        if told != wanted {
            left.push(format!("Endpoints {} tell {told:?}, not {wanted:?}", name(service)));
        }
    }
}

/// A Job ends, and has counted every pod that succeeded while it was tracked, once.
fn check_job(uid: &str, job: &Value, history: &History, left: &mut Vec<String>) {
    let is = |kind: &str| array(&job["status"]["conditions"]).any(|c| c["type"] == kind && c["status"] == "True");
    if !is("Complete") && !is("Failed") {
        left.push(format!("Job {} is not finished: {}", name(job), job["status"]));
        return;
    }
    if number(&job["status"]["active"]) != 0
        || !job["status"]["uncountedTerminatedPods"].as_object().is_none_or(orlop_api::Map::is_empty)
    {
        left.push(format!("Job {} is finished and tells {}", name(job), job["status"]));
    }
    let of = |resource: &'static str| {
        let events = history.events().iter().filter(move |event| &*event.entry.key.resource == resource);
        events.map(|event| parse(&event.entry))
    };
    let given_up: BTreeSet<String> = of("batch/jobs")
        .filter(|job| job["metadata"]["uid"] == uid)
        .flat_map(|job| array(&job["status"]["uncountedTerminatedPods"]["failed"]).cloned().collect::<Vec<_>>())
        .filter_map(|uid| uid.as_str().map(str::to_owned))
        .collect();
    let tracked =
        |pod: &Value| array(&pod["metadata"]["finalizers"]).any(|name| name == "batch.kubernetes.io/job-tracking");
    let succeeded: BTreeSet<String> = of("pods")
        .filter(|pod| controller(pod).as_deref() == Some(uid) && pod["status"]["phase"] == "Succeeded" && tracked(pod))
        .filter_map(|pod| {
            let uid = pod["metadata"]["uid"].as_str()?;
            // What was counted as failed, since it was deleted before it ran, may succeed all the same: before that is
            // counted, as here, or after, when nobody tracks it.
            let is_leaving = !pod["metadata"]["deletionTimestamp"].is_null();
            (!is_leaving || !given_up.contains(uid)).then(|| uid.to_owned())
        })
        .collect();
    let told = number(&job["status"]["succeeded"]);
    let is_indexed = job["spec"]["completionMode"] == "Indexed";
    if is("Complete") && (told != succeeded.len() as i64 && !is_indexed || told < number(&job["spec"]["completions"])) {
        left.push(format!("Job {} tells {told} successes of {}", name(job), succeeded.len()));
    }
}

fn check_deployment(deployment: &Value, left: &mut Vec<String>) {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let wanted = number(&spec["replicas"]);
    let is = |field: &str| number(&status[field]) == wanted;
    let observed = status["observedGeneration"] == deployment["metadata"]["generation"];
    if !observed || !["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"].into_iter().all(is) {
        left.push(format!("Deployment {} wants {wanted}, tells {status}", name(deployment)));
    }
}

fn name(object: &Value) -> String {
    let meta = &object["metadata"];
    format!("{}/{}", meta["namespace"].as_str().unwrap_or_default(), meta["name"].as_str().unwrap_or_default())
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn is_active(pod: &Value) -> bool {
    !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        && pod["metadata"]["deletionTimestamp"].is_null()
}

fn is_ready(pod: &Value) -> bool {
    array(&pod["status"]["conditions"]).any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
