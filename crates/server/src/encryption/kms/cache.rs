//! Seeds that the plugin has decrypted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::gauge::Gauge;

use super::metrics::{self, Usage};
use super::seed::DataKey;

/// There is one for each key that the plugin has had and each start of an API server that has written since objects
/// were last written anew; the oldest goes beyond that.
const MAX_SEEDS: usize = 4096;

pub struct Seed {
    pub key: DataKey,
    pub used: Usage,
}

pub struct Cache {
    seeds: Mutex<Seeds>,
    size: Gauge,
}

#[derive(Default)]
struct Seeds {
    by_name: HashMap<[u8; 32], Arc<Seed>>,
    /// Oldest first.
    order: VecDeque<[u8; 32]>,
}

impl Cache {
    pub fn new(provider: &str) -> Self {
        Self { seeds: Mutex::default(), size: metrics::METRICS.cache_size(provider) }
    }

    pub fn get(&self, name: &[u8; 32]) -> Option<Arc<Seed>> {
        self.lock().by_name.get(name).cloned()
    }

    pub fn put(&self, name: [u8; 32], seed: Seed) -> Arc<Seed> {
        let mut seeds = self.lock();
        let seed = Arc::new(seed);
        if seeds.by_name.insert(name, seed.clone()).is_none() {
            seeds.order.push_back(name);
        }
        if seeds.order.len() > MAX_SEEDS
            && let Some(oldest) = seeds.order.pop_front()
        {
            seeds.by_name.remove(&oldest);
        }
        self.size.set(seeds.by_name.len() as i64);
        seed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seeds> {
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
