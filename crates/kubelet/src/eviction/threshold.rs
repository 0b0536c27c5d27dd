//! What is measured, and how little of it is too little.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::resources::Amount;

/// In the order in which shortages are dealt with: memory first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    MemoryAvailable,
    /// Of what pods may use altogether.
    AllocatableMemoryAvailable,
    NodeFsAvailable,
    NodeFsInodesFree,
    ImageFsAvailable,
    ImageFsInodesFree,
    PidAvailable,
}

/// What evictions win back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starved {
    Memory,
    Disk,
    Inodes,
    Pids,
}

const NAMES: [(Signal, &str, Starved); 7] = [
    (Signal::MemoryAvailable, "memory.available", Starved::Memory),
    (Signal::AllocatableMemoryAvailable, "allocatableMemory.available", Starved::Memory),
    (Signal::NodeFsAvailable, "nodefs.available", Starved::Disk),
    (Signal::NodeFsInodesFree, "nodefs.inodesFree", Starved::Inodes),
    (Signal::ImageFsAvailable, "imagefs.available", Starved::Disk),
    (Signal::ImageFsInodesFree, "imagefs.inodesFree", Starved::Inodes),
    (Signal::PidAvailable, "pid.available", Starved::Pids),
];

impl Signal {
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(signal, ..)| *signal == self).map_or("", |(_, name, _)| name)
    }

    pub fn starved(self) -> Starved {
        NAMES.iter().find(|(signal, ..)| *signal == self).map_or(Starved::Memory, |(_, _, starved)| *starved)
    }
}

impl Starved {
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }

    /// An amount as the words of events have it.
    pub fn amount(self, units: i64) -> Amount {
        match self {
            Self::Memory | Self::Disk => Amount::bytes(units),
            Self::Inodes | Self::Pids => Amount::units(units),
        }
    }
}

/// How much there is, and how much of it is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    pub capacity: i64,
    pub available: i64,
}

pub type Observations = BTreeMap<Signal, Observation>;

#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    pub signal: Signal,
    limit: Limit,
}

#[derive(Clone, Debug, PartialEq)]
enum Limit {
    Amount(Amount),
    /// Of the capacity, 0 to 1.
    Share(f64),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("eviction threshold {signal}<{limit}: {why}")]
pub struct ThresholdError {
    signal: String,
    limit: String,
    why: &'static str,
}

impl Threshold {
    /// `memory.available`, `100Mi`; or a percentage of the capacity.
    pub fn parse(signal: &str, limit: &str) -> Result<Self, ThresholdError> {
        let wrong = |why| ThresholdError { signal: signal.to_owned(), limit: limit.to_owned(), why };
        let known = NAMES.iter().find(|(_, name, _)| *name == signal);
        let (signal, ..) = *known.ok_or_else(|| wrong("no such signal"))?;
        let limit = match limit.strip_suffix('%') {
            Some(percent) => {
                let percent = f64::from_str(percent).map_err(|_| wrong("not a percentage"))?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err(wrong("not between 0% and 100%"));
                }
                Limit::Share(percent / 100.0)
            }
            None => Limit::Amount(Amount::parse(limit).ok_or_else(|| wrong("not a quantity"))?),
        };
        Ok(Self { signal, limit })
    }

    /// The memory threshold again, for all pods together.
    pub fn of_allocatable(&self) -> Option<Self> {
        let memory = self.signal == Signal::MemoryAvailable;
        memory.then(|| Self { signal: Signal::AllocatableMemoryAvailable, limit: self.limit.clone() })
    }

    pub fn units(&self, capacity: i64) -> i64 {
        match &self.limit {
            Limit::Amount(amount) => amount.value(),
            Limit::Share(share) => (capacity as f64 * share) as i64,
        }
    }

    /// As the words of events have it: percentages as amounts.
    pub fn amount(&self, capacity: i64) -> Amount {
        match &self.limit {
            Limit::Amount(amount) => amount.clone(),
            Limit::Share(_) => Amount::bytes(self.units(capacity)),
        }
    }

    /// A threshold of nothing is never met.
    pub fn is_met(&self, observed: Observation) -> bool {
        observed.available < self.units(observed.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_percentages() {
        let met = |signal, limit, capacity, available| {
            Threshold::parse(signal, limit).unwrap().is_met(Observation { capacity, available })
        };
        assert!(met("memory.available", "100Mi", 1 << 30, 99 << 20));
        assert!(!met("memory.available", "100Mi", 1 << 30, 100 << 20));
        assert!(met("nodefs.available", "10%", 1000, 99));
        assert!(!met("nodefs.available", "0%", 1000, 0));
        for (signal, limit) in [("memory", "1"), ("pid.available", "x"), ("nodefs.available", "101%")] {
            Threshold::parse(signal, limit).unwrap_err();
        }
    }
}
