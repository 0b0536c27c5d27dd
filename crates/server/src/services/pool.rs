//! Pools of numbers: what is taken, and a fair pick of what is not.
//!
//! A range keeps a lower band for values that users pin; picks are made at random above it, and below only
//! when the upper part is full (KEP 3070, KEP 3668).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use orlop_api::cidr::Cidr;
use orlop_base::id;

/// Numbers that are taken, as runs (first and last): however many they are, what is free next is a look-up away.
#[derive(Default)]
pub struct Taken(BTreeMap<u128, u128>);

impl Taken {
    /// Whether it was free.
    pub fn insert(&mut self, n: u128) -> bool {
        if self.run_of(n).is_some() {
            return false;
        }
        let before = n.checked_sub(1).and_then(|before| self.run_of(before));
        let after = n.checked_add(1).and_then(|after| self.0.remove(&after));
        self.0.insert(before.map_or(n, |(first, _)| first), after.unwrap_or(n));
        true
    }

    pub fn remove(&mut self, n: u128) {
        let Some((first, last)) = self.run_of(n) else { return };
        self.0.remove(&first);
        if first < n {
            self.0.insert(first, n - 1);
        }
        if n < last {
            self.0.insert(n + 1, last);
        }
    }

    pub fn contains(&self, n: u128) -> bool {
        self.run_of(n).is_some()
    }

    /// How many of `first..=last`.
    pub fn count(&self, first: u128, last: u128) -> u128 {
        let runs = self.0.range(..=last).rev().take_while(|(_, end)| **end >= first);
        runs.map(|(start, end)| end.min(&last) - start.max(&first) + 1).sum()
    }

    fn run_of(&self, n: u128) -> Option<(u128, u128)> {
        let (first, last) = self.0.range(..=n).next_back()?;
        (n <= *last).then_some((*first, *last))
    }

    fn first_free(&self, from: u128, to: u128) -> Option<u128> {
        let next = self.run_of(from).map_or(Some(from), |(_, last)| last.checked_add(1))?;
        (next <= to).then_some(next)
    }

    /// A free number in `from..=to`, searched for from a random place on.
    fn free_from(&self, from: u128, to: u128) -> Option<u128> {
        if from > to {
            return None;
        }
        let start = from + id::with_rng(|rng| rng.u128(0..=to - from));
        self.first_free(start, to).or_else(|| self.first_free(from, start.checked_sub(1)?))
    }
}

/// A range and its lower band.
#[derive(Clone, Copy, Debug)]
pub struct Band {
    pub first: u128,
    pub last: u128,
    /// Start of the part that dynamic picks come from.
    pub dynamic: u128,
}

impl Band {
    pub fn contains(&self, n: u128) -> bool {
        (self.first..=self.last).contains(&n)
    }

    /// Takes a free number; `None` when there is none.
    pub fn pick(&self, taken: &mut Taken) -> Option<u128> {
        let upper = taken.free_from(self.dynamic, self.last);
        let lower_end = self.dynamic.saturating_sub(1).min(self.last);
        let found = upper.or_else(|| taken.free_from(self.first, lower_end))?;
        taken.insert(found);
        Some(found)
    }
}

/// Why a value cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    #[error("range is full")]
    Full,
    #[error("provided IP is already allocated")]
    IpTaken,
    #[error("the provided network does not match the current range")]
    IpElsewhere,
    #[error("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {cidr}")]
    IpOutside { ip: IpAddr, cidr: Cidr },
    #[error("allocator not ready")]
    NotReady,
    #[error("provided port is already allocated")]
    PortTaken,
    #[error("provided port is not in the valid range. The range of valid ports is {first}-{last}")]
    PortOutside { first: u16, last: u16 },
}

pub struct PortPool {
    band: Band,
    taken: Taken,
}

impl PortPool {
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let (first, last) = (u128::from(*range.start()), u128::from(*range.end()));
        let size = last + 1 - first;
        // Upstream's calculateRangeOffset: a thirty-second, at least 16, at most 128.
        let band = if size <= 16 { 0 } else { (size / 32).clamp(16, 128) };
        Self { band: Band { first, last, dynamic: first + band }, taken: Taken::default() }
    }

    pub fn take(&mut self, port: u16) {
        self.taken.insert(u128::from(port));
    }

    pub fn is_taken(&self, port: u16) -> bool {
        self.taken.contains(u128::from(port))
    }

    pub fn outside(&self) -> PoolError {
        PoolError::PortOutside { first: self.band.first as u16, last: self.band.last as u16 }
    }

    pub fn allocate(&mut self, port: u16) -> Result<(), PoolError> {
        match () {
            () if !self.band.contains(u128::from(port)) => Err(self.outside()),
            () if !self.taken.insert(u128::from(port)) => Err(PoolError::PortTaken),
            () => Ok(()),
        }
    }

    pub fn allocate_next(&mut self) -> Result<u16, PoolError> {
        self.band.pick(&mut self.taken).map(|port| port as u16).ok_or(PoolError::Full)
    }

    pub fn release(&mut self, port: u16) {
        self.taken.remove(u128::from(port));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn runs_are_what_a_set_of_numbers_would_be() {
        let (mut runs, mut set) = (Taken::default(), BTreeSet::new());
        for _ in 0..4000 {
            let (n, take) = id::with_rng(|rng| (rng.u128(0..64), rng.bool()));
            if take {
                assert_eq!(runs.insert(n), set.insert(n));
            } else {
                runs.remove(n);
                set.remove(&n);
            }
            let expanded: Vec<u128> = runs.0.iter().flat_map(|(first, last)| *first..=*last).collect();
            assert_eq!(expanded, set.iter().copied().collect::<Vec<_>>());
            assert_eq!(runs.first_free(n, 63), (n..64).find(|n| !set.contains(n)));
            assert_eq!(runs.count(n, 63), set.range(n..64).count() as u128);
            let apart = runs.0.iter().zip(runs.0.iter().skip(1)).all(|((_, last), (first, _))| last + 1 < *first);
            assert!(apart, "neighbours are one run: {:?}", runs.0);
        }
        let mut edge = Taken::default();
        assert!(edge.insert(u128::MAX) && edge.insert(0) && !edge.insert(0));
        assert_eq!(edge.first_free(u128::MAX, u128::MAX), None);
    }

    #[test]
    fn ports() {
        let mut ports = PortPool::new(30000..=32767);
        assert_eq!(ports.allocate(30000), Ok(()));
        assert_eq!(ports.allocate(30000).unwrap_err().to_string(), "provided port is already allocated");
        assert_eq!(
            ports.allocate(80).unwrap_err().to_string(),
            "provided port is not in the valid range. The range of valid ports is 30000-32767"
        );
        assert!(ports.allocate_next().unwrap() >= 30000 + 86);
    }
}
