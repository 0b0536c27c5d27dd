//! Replacing pods of an old revision (RollingUpdate).

use orlop_api::intstr::Rounding;
use orlop_api::typed::kinds::{Pod, StatefulSet};

use super::identity;
use crate::common::scaled;

/// A wanted pod, as far as replacing it goes.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub pod: &'a Pod,
    pub is_available: bool,
    pub is_terminating: bool,
}

impl Target<'_> {
    fn is_unavailable(&self) -> bool {
        !self.is_available || self.is_terminating
    }
}

/// Which of `targets`, ordered by ordinal, are to go now, highest ordinal first.
pub fn victims<'a>(set: &StatefulSet, targets: &[Target<'a>], revision: &str, is_parallel: bool) -> Vec<&'a Pod> {
    let rolling = set.spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
    let partition = rolling.and_then(|r| r.partition).unwrap_or(0).try_into().unwrap_or(0);
    let max = rolling.and_then(|r| r.max_unavailable.as_ref());
    let max = max.map_or(1, |max| scaled(max, targets.len() as i32, Rounding::Down).max(1) as usize);
    let unavailable = targets.iter().filter(|t| t.is_unavailable()).count();
    let budget = max.saturating_sub(unavailable);
    let is_old = |t: &&Target| identity::revision(t.pod) != revision && !t.is_terminating;
    let candidates = || targets.iter().skip(partition).rev().filter(is_old);
    let pods = |t: &Target<'a>| t.pod;
    if !is_parallel {
        return candidates().take(budget).map(pods).collect();
    }
    // Replacing what is unavailable anyway costs nothing.
    let down = candidates().filter(|t| !t.is_available);
    let up = candidates().filter(|t| t.is_available).take(budget);
    down.chain(up).map(pods).collect()
}
