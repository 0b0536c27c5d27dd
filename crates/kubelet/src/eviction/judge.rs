//! Are we short of anything? Pure: measurements and a memory of earlier ones in, conditions out.

use super::threshold::{Observations, Signal, Starved, Threshold};

const SECOND: i64 = 1_000_000_000;

/// When each shortage was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    memory: Option<i64>,
    disk: Option<i64>,
    pids: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    pub memory: bool,
    pub disk: bool,
    pub pids: bool,
    /// Thresholds met now, those to be dealt with first in front.
    pub met: Vec<Threshold>,
}

/// Conditions hold for `hold_seconds` after the last shortage, so that pods are not let in only to
/// be evicted again.
pub fn judge(
    thresholds: &[Threshold],
    observed: &Observations,
    seen: &mut LastSeen,
    now: i64,
    hold_seconds: i64,
) -> Judgement {
    let mut met: Vec<Threshold> = thresholds.iter().filter(|t| is_met(t, observed)).cloned().collect();
    met.sort_by_key(|threshold| threshold.signal);
    let short_of = |kinds: &[Starved]| met.iter().any(|t| kinds.contains(&t.signal.starved()));
    let hold = hold_seconds.saturating_mul(SECOND);
    let holds = |seen: &mut Option<i64>, short: bool| {
        if short {
            *seen = Some(now);
        }
        seen.is_some_and(|at| now.saturating_sub(at) < hold)
    };
    Judgement {
        memory: holds(&mut seen.memory, short_of(&[Starved::Memory])),
        disk: holds(&mut seen.disk, short_of(&[Starved::Disk, Starved::Inodes])),
        pids: holds(&mut seen.pids, short_of(&[Starved::Pids])),
        met,
    }
}

fn is_met(threshold: &Threshold, observed: &Observations) -> bool {
    observed.get(&threshold.signal).is_some_and(|observation| threshold.is_met(*observation))
}

/// Can the node win some back by itself, before it takes it from pods?
pub fn reclaims_images(signal: Signal) -> bool {
    matches!(signal.starved(), Starved::Disk | Starved::Inodes)
}

#[cfg(test)]
mod tests {
    use super::super::threshold::Observation;
    use super::*;

    fn thresholds() -> Vec<Threshold> {
        [("nodefs.available", "10%"), ("memory.available", "100")].map(|(s, l)| Threshold::parse(s, l).unwrap()).into()
    }

    fn observed(memory: i64, disk: i64) -> Observations {
        let of = |available| Observation { capacity: 1000, available };
        [(Signal::MemoryAvailable, of(memory)), (Signal::NodeFsAvailable, of(disk))].into()
    }

    #[test]
    fn conditions_outlast_the_shortage() {
        let mut seen = LastSeen::default();
        let mut at = |seconds: i64, memory, disk| {
            let judgement = judge(&thresholds(), &observed(memory, disk), &mut seen, seconds * SECOND, 300);
            let met: Vec<&str> = judgement.met.iter().map(|t| t.signal.name()).collect();
            (judgement.memory, judgement.disk, judgement.pids, met.join(" "))
        };
        assert_eq!(at(0, 500, 500), (false, false, false, String::new()));
        assert_eq!(at(10, 99, 99), (true, true, false, "memory.available nodefs.available".into()));
        assert_eq!(at(20, 500, 99), (true, true, false, "nodefs.available".into()));
        assert_eq!(at(309, 500, 500), (true, true, false, String::new()));
        assert_eq!(at(310, 500, 500), (false, true, false, String::new()));
        assert_eq!(at(320, 500, 500), (false, false, false, String::new()));
    }
}
