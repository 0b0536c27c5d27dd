//! Making room: which pods must go so that a more important one fits (DefaultPreemption).

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::PodDisruptionBudget;

use crate::cycle::Cycle;
use crate::diagnosis::{Diagnosis, histogram};
use crate::framework::Plugin;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::schedule::filter;

/// A disruption budget as preemption counts it: it is respected where possible, never strictly.
pub struct Budget {
    pub namespace: String,
    pub selector: Selector,
    pub disruptions_allowed: i32,
}

impl Budget {
    /// `None` for one that selects nothing.
    pub fn of(budget: &PodDisruptionBudget) -> Option<Self> {
        let selector = Selector::from_typed(budget.spec.as_ref()?.selector.as_ref()?).ok()?;
        let allowed = budget.status.as_ref().and_then(|s| s.disruptions_allowed).unwrap_or(0);
        Some(Self { namespace: budget.namespace().to_owned(), selector, disruptions_allowed: allowed })
    }

    fn covers(&self, pod: &PodInfo) -> bool {
        let labels = pod.pod.metadata.labels.as_ref();
        self.namespace == pod.pod.namespace()
            && labels.is_some_and(|l| !l.is_empty())
            && self.selector.matches_opt(labels)
    }
}

/// A node and the pods to remove from it, least important last.
#[derive(Clone, Debug)]
pub struct Room {
    pub node: String,
    pub victims: Vec<Arc<PodInfo>>,
    pub violated_budgets: usize,
}

/// Nodes that are tried at least, and in percent of all (upstream's `MinCandidateNodes*`).
const MIN_CANDIDATES: usize = 100;
const CANDIDATE_PERCENT: usize = 10;

/// Finds room for a pod that fits nowhere, or says why there is none (for the event text).
pub fn make_room(
    cycle: &Cycle,
    diagnosis: &Diagnosis,
    budgets: &[Budget],
    plugins: &[&'static Plugin],
) -> Result<Room, String> {
    let (pod, cluster) = (cycle.pod, cycle.cluster);
    if pod.spec().preemption_policy.as_deref() == Some("Never") {
        return Err("preemption: not eligible due to preemptionPolicy=Never.".into());
    }
    let is_leaving =
        |other: &&Arc<PodInfo>| other.pod.metadata.deletion_timestamp.is_some() && other.priority < pod.priority;
    let nominated = cluster.nomination_of(&pod.uid).and_then(|name| cluster.node(name));
    if nominated.is_some_and(|node| node.pods.values().any(|other| is_leaving(&other))) {
        return Err("preemption: not eligible due to a terminating pod on the nominated node.".into());
    }
    let unhelpful = cluster.len().saturating_sub(diagnosis.resolvable.len());
    let enough = (cluster.len() * CANDIDATE_PERCENT / 100).max(MIN_CANDIDATES);
    let mut rooms: Vec<Room> = Vec::new();
    let (mut without, mut still_unfit): (usize, BTreeMap<String, usize>) = (0, BTreeMap::new());
    for name in &diagnosis.resolvable {
        let Some(node) = cluster.node(name) else { continue };
        match room_on(cycle, node, budgets, plugins) {
            Ok(room) => rooms.push(room),
            Err(None) => without += 1,
            Err(Some(reasons)) => reasons.into_iter().for_each(|r| *still_unfit.entry(r).or_default() += 1),
        }
        if rooms.len() >= enough {
            break;
        }
    }
    if let Some(best) = rooms.into_iter().min_by(|a, b| rank(a).cmp(&rank(b))) {
        return Ok(best);
    }
    for (text, count) in [
        ("No preemption victims found for incoming pod", without),
        ("Preemption is not helpful for scheduling", unhelpful),
    ] {
        if count > 0 {
            *still_unfit.entry(text.into()).or_default() += count;
        }
    }
    Err(format!("preemption: 0/{} nodes are available: {}.", cluster.len(), histogram(&still_unfit)))
}

/// `Err(None)`: nobody here is less important; `Err(Some)`: even without them it does not fit.
fn room_on(
    cycle: &Cycle,
    node: &NodeInfo,
    budgets: &[Budget],
    plugins: &[&'static Plugin],
) -> Result<Room, Option<Vec<String>>> {
    let (pod, cluster) = (cycle.pod, cycle.cluster);
    let mut bare = cluster.with_nominated(node, pod).unwrap_or_else(|| node.clone());
    let mut candidates: Vec<Arc<PodInfo>> = node.pods.values().filter(|p| p.priority < pod.priority).cloned().collect();
    if candidates.is_empty() {
        return Err(None);
    }
    candidates.iter().for_each(|victim| drop(bare.remove(&victim.uid)));
    filter(cycle, &bare, plugins)
        .map_err(|(_, rejection)| Some(rejection.reasons.iter().map(ToString::to_string).collect()))?;
    // Give back as many as fit, the most important and those under a budget first.
    candidates.sort_by_key(|pod| std::cmp::Reverse(importance(pod)));
    let (protected, free) = split_by_budget(candidates, budgets);
    let (mut victims, mut violated_budgets) = (Vec::new(), 0);
    for (group, violates) in [(protected, true), (free, false)] {
        for candidate in group {
            bare.add(candidate.clone());
            if filter(cycle, &bare, plugins).is_err() {
                bare.remove(&candidate.uid);
                victims.push(candidate);
                violated_budgets += usize::from(violates);
            }
        }
    }
    victims.sort_by_key(|pod| std::cmp::Reverse(importance(pod)));
    Ok(Room { node: node.name.clone(), victims, violated_budgets })
}

/// More important: higher priority, then started earlier.
fn importance(pod: &PodInfo) -> (i32, std::cmp::Reverse<i64>) {
    (pod.priority, std::cmp::Reverse(started_nanos(pod)))
}

fn started_nanos(pod: &PodInfo) -> i64 {
    let status = pod.pod.status.as_ref();
    let time = status.and_then(|s| s.start_time.as_ref()).or(pod.pod.metadata.creation_timestamp.as_ref());
    time.map_or(i64::MAX, |t| i64::try_from(t.0.as_nanosecond()).unwrap_or(i64::MAX))
}

/// Pods whose removal would break a budget, and the others.
fn split_by_budget(pods: Vec<Arc<PodInfo>>, budgets: &[Budget]) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
    let mut left: Vec<i32> = budgets.iter().map(|b| b.disruptions_allowed).collect();
    pods.into_iter().partition(|pod| {
        let mut violates = false;
        for (_, left) in budgets.iter().zip(&mut left).filter(|(budget, _)| budget.covers(pod)) {
            *left -= 1;
            violates |= *left < 0;
        }
        violates
    })
}

/// Smaller is better: budgets, then the most important victim, then their sum, their number, and
/// the one that ran shortest.
fn rank(room: &Room) -> (usize, i32, i64, usize, std::cmp::Reverse<i64>) {
    let highest = room.victims.first().map_or(i32::MIN, |p| p.priority);
    // Shifted so that many small victims outweigh a few, even when priorities are negative.
    let sum = room.victims.iter().map(|p| i64::from(p.priority) + i64::from(i32::MAX) + 1).sum();
    let of_highest = room.victims.iter().filter(|p| p.priority == highest);
    let started = of_highest.map(|p| started_nanos(p)).min().unwrap_or(i64::MAX);
    (room.violated_budgets, highest, sum, room.victims.len(), std::cmp::Reverse(started))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cycle::Listed;
    use crate::plugins::PLUGINS;
    use crate::schedule::{Decision, schedule};
    use crate::snapshot::Snapshot;
    use crate::testing::{cluster, node, pod_info};

    fn running(uid: &str, cpu: &str, priority: i32, label: &str) -> Arc<PodInfo> {
        Arc::new(pod_info(json!({"metadata": {"uid": uid, "name": uid, "namespace": "d", "labels": {"app": label}},
            "spec": {"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})))
    }

    fn room(cluster: &Snapshot, pod: &PodInfo, budgets: &[Budget]) -> Result<(String, Vec<String>), String> {
        let listed = Listed::default();
        let cycle = Cycle::new(pod, cluster, &listed);
        let Decision::Unfit(diagnosis) = schedule(&cycle, PLUGINS, &mut 0, &mut fastrand::Rng::with_seed(1)) else {
            panic!("fits without");
        };
        let room = make_room(&cycle, &diagnosis, budgets, PLUGINS)?;
        Ok((room.node, room.victims.iter().map(|v| v.uid.clone()).collect()))
    }

    #[test]
    fn takes_the_fewest_and_least_important() {
        let mut cluster = cluster(&[node("a", json!({})), node("b", json!({}))]);
        cluster.add_pod("a", running("a1", "3", 5, "x"));
        cluster.add_pod("a", running("a2", "1", 1, "x"));
        cluster.add_pod("b", running("b1", "2", 1, "x"));
        cluster.add_pod("b", running("b2", "2", 2, "x"));
        let small = running("new", "1", 10, "y");
        assert_eq!(room(&cluster, &small, &[]), Ok(("a".into(), vec!["a2".into()])));
        let large = running("new", "4", 10, "y");
        assert_eq!(room(&cluster, &large, &[]), Ok(("b".into(), vec!["b2".into(), "b1".into()])));
    }

    #[test]
    fn spares_budgets_where_it_can() {
        let mut cluster = cluster(&[node("a", json!({})), node("b", json!({}))]);
        cluster.add_pod("a", running("a1", "4", 1, "guarded"));
        cluster.add_pod("b", running("b1", "4", 2, "free"));
        let selector = Selector::parse("app=guarded").unwrap();
        let budget = Budget { namespace: "d".into(), selector, disruptions_allowed: 0 };
        let pod = running("new", "1", 10, "y");
        assert_eq!(room(&cluster, &pod, &[budget]), Ok(("b".into(), vec!["b1".into()])));
    }

    #[test]
    fn says_why_there_is_no_room() {
        let mut cluster = cluster(&[node("a", json!({})), node("b", json!({"spec": {"unschedulable": true}}))]);
        cluster.add_pod("a", running("a1", "4", 10, "x"));
        let pod = running("new", "1", 10, "y");
        let expected = "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, \
                        1 Preemption is not helpful for scheduling.";
        assert_eq!(room(&cluster, &pod, &[]), Err(expected.into()));
    }
}
