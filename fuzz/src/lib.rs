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
    pub run: fn(&[u8]),
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn every_target_stands_its_seeds_and_mutations_of_them() {
        for target in TARGETS {
            assert!(!target.seeds.is_empty(), "{} has no seeds", target.name);
            let mut rng = fastrand::Rng::with_seed(1);
            for seed in target.seeds {
                (target.run)(seed);
                for _ in 0..MUTATIONS / target.seeds.len() {
                    let other = target.seeds[rng.usize(..target.seeds.len())];
                    (target.run)(&mutate(&mut rng, seed, other));
                }
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
        assert_eq!(names.len(), TARGETS.len());
    }
}
