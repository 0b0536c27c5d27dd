//! A pod's way through its stages.

use std::sync::PoisonError;

use orlop_client::events::EventType;

use super::Worker;
use crate::context::Context;
use crate::pod::plan::{Memory, Stage, is_stopped};
use crate::pod::resize;
use crate::pod::spec::{NodePod, RULE_RESTART_ALL, matching_rule};
use crate::pod::view::Instance;
use crate::pods::Wish;
use crate::status::conditions::ALL_RESTARTING;
use crate::status::phase::Phase;
use crate::status::{Verdict, has_ended};

const SECOND: i64 = 1_000_000_000;

/// Where a pod starts that is new to this agent.
pub fn first(context: &Context, wish: &Wish) -> (Memory, Stage) {
    let mut memory = Memory::default();
    if wish.rejected {
        memory.released = true;
        return (memory, Stage::Finished);
    }
    memory.resize = resize::load(&context.pod_dir(&wish.pod));
    if memory.resize.granted.is_empty() {
        memory.resize.granted = resize::asked(&wish.pod.object);
    }
    let stage = if was_ended(&wish.pod) { Stage::Terminating } else { Stage::Active };
    (memory, stage)
}

/// The API says that it has failed or succeeded: this agent said so, or somebody who may end pods that way.
fn was_ended(pod: &NodePod) -> bool {
    !pod.is_static() && Phase::parse(pod.api_status().phase.as_deref()).is_some_and(Phase::is_terminal)
}

impl Worker {
    /// Moves on as far as the world allows.
    pub(super) fn advance(&mut self, now: i64) {
        if self.stage == Stage::Active {
            self.check_deadline(now);
            self.check_restart_all();
            if self.should_terminate(now) {
                self.stage = Stage::Terminating;
                self.ending.cancel();
                self.worked();
            }
        }
        if self.stage == Stage::Terminating && self.has_stopped() {
            self.stage = Stage::Terminated;
            self.worked();
        }
        if self.stage == Stage::Terminated && self.memory.released {
            self.stage = Stage::Finished;
        }
    }

    fn should_terminate(&self, now: i64) -> bool {
        if self.wish.gone || self.pod.is_deleted() || self.wish.verdict.is_some() || was_ended(&self.pod) {
            return true;
        }
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        has_ended(&self.status_input(&probes, now))
    }

    fn has_stopped(&self) -> bool {
        let busy = &self.busy;
        let idle = busy.lane.is_none() && busy.stop.is_none() && busy.kills.is_empty() && !self.refreshing;
        idle && is_stopped(&self.view)
    }

    /// `activeDeadlineSeconds` counts from the pod's start on this node.
    pub(super) fn deadline_nanos(&self) -> Option<i64> {
        if self.stage != Stage::Active {
            return None;
        }
        let seconds = self.pod.spec().active_deadline_seconds?;
        let start = self.previous.start_time.as_ref()?.0.as_second();
        Some(start.saturating_add(seconds).saturating_mul(SECOND))
    }

    fn check_deadline(&mut self, now: i64) {
        if self.wish.verdict.is_some() || self.deadline_nanos().is_none_or(|deadline| now < deadline) {
            return;
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.context.pod_event(&self.pod, EventType::Normal, "DeadlineExceeded", message);
        let verdict = Verdict { reason: "DeadlineExceeded".into(), message: message.into(), disruption: None };
        self.wish.verdict = Some(verdict.clone());
        self.handle.end(verdict, None);
    }

    /// A container that left with a RestartAllContainers rule starts all of them over, until none of
    /// the old ones is left (KEP-5532).
    fn check_restart_all(&mut self) {
        if !self.pod.may_restart_all() {
            return;
        }
        let instances = |name: &str| self.view.containers.iter().any(|i| i.name() == name);
        let regular = || self.pod.init_containers().iter().chain(self.pod.main_containers());
        let asked = regular().any(|container| {
            let exit = self.view.latest(&container.name).filter(|i| i.has_exited()).map(Instance::exit_code);
            let rule = exit.and_then(|code| matching_rule(container, code));
            rule.is_some_and(|rule| rule.action == RULE_RESTART_ALL)
        });
        let begun = self.memory.restarting_all
            || self.previous.conditions.iter().flatten().any(|c| c.type_ == ALL_RESTARTING && c.status == "True");
        let left = regular().any(|container| instances(&container.name));
        self.memory.restarting_all = (asked || begun) && left;
    }
}
