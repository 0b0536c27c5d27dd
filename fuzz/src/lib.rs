//! What outsiders may send, thrown at whatever reads it: one file for each reader below `targets`, all of them in one
//! list.
//!
//! A target panics when a promise is broken: first of all that nothing panics, allocates without bound or loops, then
//! what the reader owes besides, such as that what it wrote reads back the same. `scripts/fuzz` lets libFuzzer search;
//! the test below runs each target over its seeds and many mutations of them, so that none of them rots.

mod targets;

pub use targets::TARGETS;

/// One reader.
pub struct Target {
    pub name: &'static str,
    /// Valid input, from which more is made.
    pub seeds: &'static [&'static [u8]],
    /// More of it, from files of the project.
    pub corpus: Option<fn() -> Vec<Vec<u8>>>,
    pub run: fn(&[u8]),
}

impl Target {
    pub fn all_seeds(&self) -> Vec<Vec<u8>> {
        let seeds = self.seeds.iter().map(|seed| seed.to_vec());
        seeds.chain(self.corpus.map(|corpus| corpus()).unwrap_or_default()).collect()
    }
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicUsize, Ordering};

    /// As many as a build without optimization gets through in a few seconds; `scripts/test` tries more with.
    const MUTATIONS: usize = 400;

    /// A few bytes changed, cut, doubled, or taken from another seed.
    fn mutate(rng: &mut fastrand::Rng, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..rng.usize(1..5) {
            let at = rng.usize(..=bytes.len());
            let end = rng.usize(at..=bytes.len().min(at + 40));
            match rng.u8(..5) {
                0 => drop(bytes.drain(at..end)),
                1 => bytes.insert(at, rng.u8(..)),
                2 => bytes.insert(at, *rng.choice(br#"{}[]":,\-0e.'()"#).unwrap_or(&b'"')),
                3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
                _ => {
                    let from = rng.usize(..=other.len());
                    let piece = &other[from..other.len().min(from + 40)];
                    drop(bytes.splice(at..end, piece.to_vec()));
                }
            }
        }
        bytes
    }

    fn mutations() -> usize {
        let number = std::env::var("ORLOP_FUZZ_MUTATIONS").ok();
        number.map_or(MUTATIONS, |text| text.parse().expect("ORLOP_FUZZ_MUTATIONS is a number"))
    }

    /// Runs one input and says which it was if a promise broke.
    fn run(target: &Target, bytes: &[u8]) {
        if let Err(panic) = std::panic::catch_unwind(|| (target.run)(bytes)) {
            eprintln!("{}: {:?}", target.name, String::from_utf8_lossy(bytes));
            std::panic::resume_unwind(panic);
        }
    }

    fn try_out(target: &Target) {
        let seeds = target.all_seeds();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        seeds.iter().for_each(|seed| run(target, seed));
        // The same every time: looking for what is new is libFuzzer's.
        let mut rng = fastrand::Rng::with_seed(1);
        let pick = |rng: &mut fastrand::Rng| &seeds[rng.usize(..seeds.len())];
        for _ in 0..mutations() {
            let (seed, other) = (pick(&mut rng), pick(&mut rng));
            run(target, &mutate(&mut rng, seed, other));
        }
    }

    #[test]
    fn every_target_stands_its_seeds_and_mutations_of_them() {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
                try_out(target);
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
        assert_eq!(names.len(), TARGETS.len());
    }
}
