//! One decision under way.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{Pod, StatefulSet};
use orlop_client::engine::{Note, Plan, Step, View, Write};

use super::revision::History;
use super::update::{Target, victims};
use super::{claims, identity, status};
use crate::common::pods;

/// Pods made or removed in one decision, at most (upstream's `MaxBatchSize`).
const BATCH_MAX: usize = 500;

pub struct Work<'a> {
    set: &'a StatefulSet,
    history: &'a History,
    /// Every member that is there.
    pub pods: Vec<&'a Arc<Pod>>,
    view: &'a View,
    now: Timestamp,
    pub plan: Plan,
    /// Pods of the current revision that this plan removes.
    leaving: i32,
}

/// A wanted pod: one that is there, or one to be made.
struct Replica<'a> {
    pod: Cow<'a, Pod>,
    ordinal: i32,
}

/// What to do with one pod, and whether those after it have to wait for it.
struct Task {
    /// Claims to make or change first.
    claims: Vec<Write>,
    pod: Option<Write>,
    blocks: bool,
}

impl Task {
    const NOTHING: Self = Self { claims: Vec::new(), pod: None, blocks: false };

    /// The pod has to change by itself before anything can be done.
    const WAIT: Self = Self { claims: Vec::new(), pod: None, blocks: true };
}

impl<'a> Work<'a> {
    pub fn new(
        set: &'a StatefulSet,
        history: &'a History,
        pods: Vec<&'a Arc<Pod>>,
        view: &'a View,
        now: Timestamp,
    ) -> Self {
        Self { set, history, pods, view, now, plan: Plan::none(), leaving: 0 }
    }

    /// Upstream's phases, up to the first that has to wait.
    pub fn run(&mut self) {
        let replicas = self.replicas();
        let condemned = self.condemned();
        let first_down = replicas.iter().map(|r| &*r.pod).chain(condemned.iter().rev().map(|pod| &***pod));
        let first_down = first_down.into_iter().find(|pod| !self.is_available(pod) || is_terminating(pod));
        let first_down = first_down.map(|pod| Typed::name(pod).to_owned());
        let in_order = |work: &mut Self, tasks: &mut dyn Iterator<Item = Task>| work.carry_out(tasks);
        let mut each = replicas.iter().map(|replica| self.tend(replica)).collect::<Vec<_>>().into_iter();
        if in_order(self, &mut each) {
            return;
        }
        self.own_claims(&condemned);
        let mut each =
            condemned.iter().map(|pod| self.condemn(pod, first_down.as_deref())).collect::<Vec<_>>().into_iter();
        if in_order(self, &mut each) {
            return;
        }
        self.update(&replicas);
    }

    /// Whether something has to be waited for before the next phase.
    fn carry_out(&mut self, tasks: &mut dyn Iterator<Item = Task>) -> bool {
        let (mut claims, mut pods, mut blocked) = (Vec::new(), Vec::new(), false);
        for task in tasks {
            claims.extend(task.claims);
            pods.extend(task.pod);
            if task.blocks && !self.is_parallel() {
                blocked = true;
                break;
            }
        }
        pods.truncate(BATCH_MAX);
        if !claims.is_empty() {
            self.plan.steps.push(Step::Together(claims));
        }
        if !pods.is_empty() {
            self.plan.steps.push(Step::SlowStart(pods));
        }
        blocked
    }

    fn is_parallel(&self) -> bool {
        self.set.spec.pod_management_policy.as_deref() == Some("Parallel")
    }

    /// Every wanted ordinal's pod.
    fn replicas(&self) -> Vec<Replica<'a>> {
        let there = |ordinal: i32| self.pods.iter().find(|pod| identity::ordinal(pod) == Some(ordinal));
        let made = |ordinal: i32| match there(ordinal) {
            Some(pod) => Replica { pod: Cow::Borrowed(&***pod), ordinal },
            None => Replica { pod: Cow::Owned(self.new_pod(ordinal)), ordinal },
        };
        identity::range(self.set).map(made).collect()
    }

    /// Below the partition, or below what has not been updated yet, a pod comes back as it was.
    fn new_pod(&self, ordinal: i32) -> Pod {
        let strategy = self.set.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let is_rolling = strategy.and_then(|s| s.type_.as_deref()) == Some("RollingUpdate");
        let kept = match rolling {
            Some(rolling) => rolling.partition.unwrap_or(0),
            None if is_rolling => status::of(self.set).current_replicas.unwrap_or(0),
            None => 0,
        };
        let is_current = ordinal < identity::range(self.set).start.saturating_add(kept);
        let revision = if is_current { &self.history.current } else { &self.history.update };
        identity::new_pod(self.set, revision, ordinal)
    }

    /// Pods beyond the wanted ordinals, highest first.
    fn condemned(&self) -> Vec<&'a Arc<Pod>> {
        let wanted = identity::range(self.set);
        let beyond = |pod: &&&Arc<Pod>| identity::ordinal(pod).is_some_and(|o| !wanted.contains(&o));
        let mut condemned: Vec<&Arc<Pod>> = self.pods.iter().filter(beyond).copied().collect();
        condemned.sort_by_key(|pod| std::cmp::Reverse(identity::ordinal(pod)));
        condemned
    }

    /// Brings one wanted pod nearer to what it should be.
    fn tend(&mut self, replica: &Replica) -> Task {
        let (pod, ordinal) = (&*replica.pod, replica.ordinal);
        if pods::is_finished(pod) {
            // A new one is made once this is gone, however it ended.
            let leaves = pod.metadata.deletion_timestamp.is_none().then(|| self.delete(pod));
            return Task { claims: Vec::new(), pod: leaves, blocks: true };
        }
        if !status::is_created(pod) {
            return self.create(pod, ordinal);
        }
        let mut task = Task::NOTHING;
        if pods::phase(pod) == "Pending" {
            match claims::missing(self.set, pod, ordinal, self.view) {
                Ok(claims) => task.claims = claims,
                Err(why) => {
                    self.plan.retry.get_or_insert(why);
                    return Task::WAIT;
                }
            }
        }
        let ready = status::is_running_and_ready(pod) && self.is_available(pod) && !is_terminating(pod);
        task.blocks = !ready;
        if ready || self.is_parallel() || pods::phase(pod) == "Pending" {
            let (updates, notes) = claims::owner_updates(self.set, pod, ordinal, self.view);
            task.claims.extend(updates);
            self.plan.notes.extend(notes);
        }
        if (ready || self.is_parallel()) && !(identity::matches(pod) && claims::are_mounted(self.set, pod, ordinal)) {
            task.pod = Some(self.correct(pod, ordinal));
        }
        task
    }

    fn create(&mut self, pod: &Pod, ordinal: i32) -> Task {
        if claims::block_creation(self.set, pod, ordinal, self.view) {
            self.plan.retry.get_or_insert_with(|| "a claim belongs to an earlier pod".to_owned());
            return Task::WAIT;
        }
        match claims::missing(self.set, pod, ordinal, self.view) {
            Ok(claims) => {
                let create = self.told(Write::create(pod), "Create", pod);
                Task { claims, pod: Some(create), blocks: true }
            }
            Err(why) => {
                let text =
                    format!("Create Pod {} in StatefulSet {} failed error: {why}", Typed::name(pod), self.name());
                self.plan.note(Note::warning(self.set, "FailedCreate", text));
                self.plan.retry.get_or_insert(why);
                Task::WAIT
            }
        }
    }

    fn correct(&self, pod: &Pod, ordinal: i32) -> Write {
        let mut pod = pod.clone();
        identity::label(&mut pod, ordinal);
        claims::mount(self.set, &mut pod, ordinal);
        self.told(Write::update(&pod), "Update", &pod)
    }

    fn delete(&self, pod: &Pod) -> Write {
        self.told(Write::delete(pod), "Delete", pod)
    }

    fn told(&self, write: Write, verb: &'static str, pod: &Pod) -> Write {
        let (done, failed) = match verb {
            "Create" => ("SuccessfulCreate", "FailedCreate"),
            "Update" => ("SuccessfulUpdate", "FailedUpdate"),
            _ => ("SuccessfulDelete", "FailedDelete"),
        };
        let what = format!("{verb} Pod {} in StatefulSet {}", Typed::name(pod), self.name());
        write.done(Note::normal(self.set, done, format!("{what} successful"))).failed(Note::warning(
            self.set,
            failed,
            format!("{what} failed error: {{error}}"),
        ))
    }

    fn name(&self) -> &'a str {
        Typed::name(self.set)
    }

    fn own_claims(&mut self, condemned: &[&Arc<Pod>]) {
        let mut writes = Vec::new();
        for pod in condemned {
            let ordinal = identity::ordinal(pod).unwrap_or(0);
            let (updates, notes) = claims::owner_updates(self.set, pod, ordinal, self.view);
            writes.extend(updates);
            self.plan.notes.extend(notes);
        }
        if !writes.is_empty() {
            self.plan.steps.push(Step::Together(writes));
        }
    }

    /// In order, a pod goes only when those before it are gone and none below it is down.
    fn condemn(&self, pod: &Pod, first_down: Option<&str>) -> Task {
        if is_terminating(pod) {
            return Task::WAIT;
        }
        let is_up = status::is_running_and_ready(pod) && self.is_available(pod);
        if !is_up && first_down != Some(Typed::name(pod)) && !self.is_parallel() {
            return Task::WAIT;
        }
        Task { claims: Vec::new(), pod: Some(self.delete(pod)), blocks: true }
    }

    fn update(&mut self, replicas: &[Replica]) {
        let strategy = self.set.spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref());
        if strategy.is_some_and(|strategy| strategy != "RollingUpdate") {
            return;
        }
        let target = |replica: &'_ Replica| (self.is_available(&replica.pod), is_terminating(&replica.pod));
        let targets: Vec<Target> = replicas
            .iter()
            .map(|replica| {
                let (is_available, is_terminating) = target(replica);
                Target { pod: &replica.pod, is_available, is_terminating }
            })
            .collect();
        let victims = victims(self.set, &targets, &self.history.update.name, self.is_parallel());
        if victims.is_empty() {
            return;
        }
        self.leaving = victims.len() as i32;
        self.plan.steps.push(Step::Together(victims.iter().map(|pod| self.delete(pod)).collect()));
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_available(pod, self.set.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    /// The plan, with the status and the time of the next look.
    pub fn finish(mut self) -> Plan {
        let members = self.pods.iter().map(|pod| &***pod);
        let mut status = status::count(self.set, self.history, members, self.now);
        if self.leaving > 0 {
            status.current_replicas = Some(status.current_replicas.unwrap_or(0) - self.leaving);
        }
        status::complete(self.set, &mut status);
        if status::is_news(self.set, &status) {
            let told = StatefulSet { status: Some(status), ..self.set.clone() };
            self.plan.write(Write::update_status(&told));
        }
        let min_ready = self.set.spec.min_ready_seconds.unwrap_or(0);
        let due = self.pods.iter().filter(|pod| min_ready > 0 && !self.is_available(pod));
        let due: Vec<Timestamp> = due.filter_map(|pod| pods::available_at(pod, min_ready)).collect();
        due.into_iter().for_each(|at| self.plan.wake_by(at));
        self.plan
    }
}

fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}
