//! Recreate: all old pods stop before the first new one starts.

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::Pod;
use orlop_client::engine::{Plan, View};

use super::rollout::Rollout;
use crate::common::{owners, pods};

impl Rollout<'_> {
    pub fn recreate(mut self, view: &View) -> Plan {
        let old: Vec<usize> = self.old().filter(|at| self.sets[*at].replicas_seen() > 0).collect();
        if !old.is_empty() {
            for at in old {
                self.resize(at, 0);
            }
            return self.finish_progressing();
        }
        if self.old_pods_run(view) || !self.ensure_new(view) {
            return self.finish_progressing();
        }
        let new = self.new.expect("made or found above");
        self.resize(new, self.replicas());
        if self.is_complete(&self.status_seen()) {
            self.clean_up();
        }
        self.finish_progressing()
    }

    fn old_pods_run(&self, view: &View) -> bool {
        self.old().any(|at| {
            let set = &self.sets[at].seen;
            let reported = set.status.as_ref().map_or(0, |s| s.replicas);
            reported > 0 || owners::owned::<Pod>(view, set.uid()).any(|pod| !pods::is_finished(pod))
        })
    }
}
