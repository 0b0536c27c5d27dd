//! When answers change what is believed: thresholds, and when to stop asking.

use super::{Answer, Outcome, ProbeKind};
use crate::corev1::Probe;

/// Counts one probe's answers for one container instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    kind: ProbeKind,
    failure_threshold: u32,
    success_threshold: u32,
    last: Option<Outcome>,
    run: u32,
    /// No more questions until there is another instance.
    pub on_hold: bool,
}

impl Judge {
    pub fn new(kind: ProbeKind, probe: &Probe) -> Self {
        let threshold = |n: Option<i32>, default| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(default).max(1);
        Self {
            kind,
            failure_threshold: threshold(probe.failure_threshold, 3),
            success_threshold: threshold(probe.success_threshold, 1),
            last: None,
            run: 0,
            on_hold: false,
        }
    }

    /// What is believed now, if this answer decides it.
    pub fn hear(&mut self, answer: &Answer) -> Option<Outcome> {
        let outcome = match answer {
            Answer::Success | Answer::Warning(_) => Outcome::Success,
            Answer::Failure(_) => Outcome::Failure,
            Answer::Error(_) => return None,
        };
        self.run = if self.last == Some(outcome) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(outcome);
        let needed = if outcome == Outcome::Failure { self.failure_threshold } else { self.success_threshold };
        if self.run < needed {
            return None;
        }
        // A container about to be restarted, or once started, is not asked again: kubernetes#21751,
        // kubernetes#117153.
        if self.kind == ProbeKind::Startup || (self.kind == ProbeKind::Liveness && outcome == Outcome::Failure) {
            self.on_hold = true;
            self.run = 0;
        }
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let probe = Probe { failure_threshold: Some(2), success_threshold: Some(2), ..Probe::default() };
        let (yes, no, error) = (Answer::Success, Answer::Failure(String::new()), Answer::Error(String::new()));
        let mut judge = Judge::new(ProbeKind::Readiness, &probe);
        let heard: Vec<Option<Outcome>> =
            [&yes, &no, &yes, &error, &yes, &yes, &no, &no].map(|answer| judge.hear(answer)).to_vec();
        let (s, f) = (Some(Outcome::Success), Some(Outcome::Failure));
        assert_eq!(heard, [None, None, None, None, s, s, None, f]);
        assert!(!judge.on_hold);
        let mut judge = Judge::new(ProbeKind::Liveness, &probe);
        assert_eq!((judge.hear(&no), judge.hear(&no), judge.on_hold), (None, f, true));
        let once = Probe::default();
        let mut judge = Judge::new(ProbeKind::Startup, &once);
        assert_eq!((judge.hear(&yes), judge.on_hold), (s, true));
    }
}
