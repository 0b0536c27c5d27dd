//! Random names and identifiers, from one generator that a simulation can seed.

use std::cell::RefCell;

thread_local! {
    static SEEDED: RefCell<Option<fastrand::Rng>> = const { RefCell::new(None) };
}

/// From now on this thread's identifiers follow `seed`. For simulations.
pub fn seed_thread(seed: u64) {
    SEEDED.with(|rng| *rng.borrow_mut() = Some(fastrand::Rng::with_seed(seed)));
}

/// Runs `f` with this thread's generator.
pub fn with_rng<T>(f: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
    SEEDED.with(|rng| match rng.borrow_mut().as_mut() {
        Some(rng) => f(rng),
        None => f(&mut fastrand::Rng::new()),
    })
}

/// Evenly from nothing up to, not including, one.
pub fn fraction() -> f64 {
    with_rng(fastrand::Rng::f64)
}

/// A version 4 UUID (RFC 9562) in its usual text form.
pub fn uuid() -> String {
    let mut b = with_rng(|rng| rng.u128(..)).to_be_bytes();
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    // Every request and every object has one.
    let mut text = String::with_capacity(36);
    for (n, byte) in b.into_iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([byte >> 4, byte & 0xf].map(|digit| char::from(HEX[usize::from(digit)])));
    }
    text
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Letters and digits of generated names: no vowels and no look-alikes, as
/// `k8s.io/apimachinery/pkg/util/rand` has it.
const ALPHANUMS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// `n` random characters fit for a name.
pub fn suffix(n: usize) -> String {
    with_rng(|rng| (0..n).map(|_| char::from(ALPHANUMS[rng.usize(..ALPHANUMS.len())])).collect())
}

/// `sum` in the same alphabet, as `rand.SafeEncodeString` does for hashes.
pub fn safe_encode(text: &str) -> String {
    text.bytes().map(|b| char::from(ALPHANUMS[usize::from(b) % ALPHANUMS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_version_4_and_reads_as_one() {
        seed_thread(1);
        for _ in 0..100 {
            let text = uuid();
            let groups: Vec<&str> = text.split('-').collect();
            assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{text}");
            assert!(groups.concat().bytes().all(|b| HEX.contains(&b)), "{text}");
            assert!(groups[2].starts_with('4') && groups[3].starts_with(['8', '9', 'a', 'b']), "{text}");
        }
        assert_ne!(uuid(), uuid());
    }
}
