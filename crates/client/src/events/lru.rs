//! A bounded map that forgets what was used longest ago.

use std::collections::BTreeMap;

pub(super) struct Lru<V> {
    capacity: usize,
    clock: u64,
    entries: BTreeMap<u64, (u64, V)>,
    /// Last use -> key.
    ages: BTreeMap<u64, u64>,
}

impl<V> Lru<V> {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, clock: 0, entries: BTreeMap::new(), ages: BTreeMap::new() }
    }

    /// The value under `key`, made when absent, and now the freshest.
    pub fn entry(&mut self, key: u64, make: impl FnOnce() -> V) -> &mut V {
        self.clock += 1;
        if let Some((used, _)) = self.entries.get_mut(&key) {
            self.ages.remove(&std::mem::replace(used, self.clock));
        } else {
            if self.entries.len() >= self.capacity
                && let Some((_, oldest)) = self.ages.pop_first()
            {
                self.entries.remove(&oldest);
            }
            self.entries.insert(key, (self.clock, make()));
        }
        self.ages.insert(self.clock, key);
        &mut self.entries.get_mut(&key).expect("found or inserted above").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_longest_unused() {
        let mut lru = Lru::new(2);
        *lru.entry(1, || 'a') = 'A';
        lru.entry(2, || 'b');
        assert_eq!(*lru.entry(1, || 'x'), 'A');
        lru.entry(3, || 'c');
        assert_eq!(*lru.entry(2, || 'y'), 'y');
        assert_eq!(*lru.entry(1, || 'z'), 'z');
        assert_eq!(lru.entries.len(), lru.ages.len());
    }
}
