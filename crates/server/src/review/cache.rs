//! Answers of webhooks that are still good.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Answers by what was asked.
pub struct Cache<V> {
    entries: Mutex<HashMap<String, (Instant, V)>>,
    max: usize,
}

impl<V: Clone> Cache<V> {
    /// Beyond `max` answers the old ones are forgotten, or all, when none is old.
    pub fn new(max: usize) -> Self {
        Self { entries: Mutex::default(), max }
    }

    pub fn get(&self, key: &str) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value.clone())
    }

    /// A `life` of zero keeps nothing.
    pub fn put(&self, key: String, value: V, life: Duration) {
        if life.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.max && !entries.contains_key(&key) {
            entries.retain(|_, (until, _)| *until > now);
            if entries.len() >= self.max {
                entries.clear();
            }
        }
        entries.insert(key, (now + life, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_grow_old_and_never_many() {
        let cache = Cache::new(2);
        cache.put("a".into(), 1, Duration::from_secs(10));
        cache.put("b".into(), 2, Duration::ZERO);
        assert_eq!((cache.get("a"), cache.get("b")), (Some(1), None));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(cache.get("a"), None);
        for (i, key) in ["a", "b", "c"].into_iter().enumerate() {
            cache.put(key.into(), i, Duration::from_secs(10));
        }
        assert_eq!(cache.entries.lock().unwrap().len(), 1, "all were forgotten for the third");
    }
}
