//! The `kms` provider, version 2: objects are sealed by keys derived from a seed, and the seed lies beside each of them
//! encrypted by a key that only a plugin knows (`k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2`).
//!
//! Writing asks nobody: there is one seed for as long as the plugin names the same key. Reading asks the plugin once
//! for every seed it has not seen. A plugin that is gone stops writes after [`state::MAX_AGE_SECONDS`]; what could not
//! be read meanwhile is read again once it is back.

mod cache;
pub mod endpoint;
pub mod metrics;
mod object;
mod plugin;
mod probe;
mod seed;
mod state;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use cache::Cache;
use object::{EncryptedObject, Source};
use plugin::Plugin;
use probe::Probe;
use seed::DataKey;
use state::State;
pub use worker::Worker;

use super::config::KmsConfiguration;
use super::provider::Refusal;

/// What a provider tells the configuration it belongs to.
#[derive(Clone)]
pub struct Shared {
    /// The last generation of keeping objects; every change takes the next.
    pub generation: Arc<AtomicU64>,
    /// Changes when what could not be read may be readable now.
    pub recovered: watch::Sender<u64>,
}

pub struct Kms {
    /// `k8s:enc:kms:v2:name:`
    prefix: String,
    plugin: Plugin,
    /// What writes are sealed by; `None` until the plugin has encrypted a seed.
    state: ArcSwapOption<State>,
    /// Of `state`.
    generation: AtomicU64,
    seeds: Cache,
    probe: Probe,
    /// Asks for a probe ahead of time.
    nudge: Arc<Notify>,
    /// Whether the plugin left something unread.
    unread: AtomicBool,
    shared: Shared,
    worker: Arc<Worker>,
}

impl Kms {
    /// Asks the plugin once, and from then on regularly for as long as this is held. A plugin that does not answer is
    /// no error: it may start later.
    pub fn start(configuration: &KmsConfiguration, shared: Shared, worker: Arc<Worker>) -> Arc<Self> {
        let name = configuration.name.clone();
        let kms = Arc::new(Self {
            prefix: format!("k8s:enc:kms:v2:{name}:"),
            seeds: Cache::new(&name),
            plugin: Plugin::new(configuration),
            state: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            probe: Probe::default(),
            nudge: Arc::default(),
            unread: AtomicBool::new(false),
            shared,
            worker,
        });
        let first = kms.clone();
        kms.worker.wait(async move { first.check().await });
        kms.worker.spawn(probe::keep_up(Arc::downgrade(&kms)));
        kms
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// What is wrong with the plugin, as far as known. A look at old news asks for newer.
    pub fn health(&self) -> Result<(), String> {
        let (result, old) = self.probe.last();
        if old {
            self.nudge.notify_one();
        }
        result
    }

    /// Why a write cannot be sealed. A deletion does with a seed that has expired: it only repeats what was kept.
    pub fn can_seal(&self, deletion: bool) -> Result<(), String> {
        match &*self.state.load() {
            None => Err("got unexpected nil transformer".into()),
            Some(_) if deletion => Ok(()),
            Some(state) => state.check(orlop_base::clock::unix_seconds()),
        }
    }

    pub fn seal(&self, path: &[u8], json: &[u8]) -> Vec<u8> {
        let state = self.state.load();
        let state = state.as_ref().expect("no write is accepted before there is a seed, and a seed is only replaced");
        state.used.note();
        let mut out = self.prefix.clone().into_bytes();
        out.extend_from_slice(&state.object.encode(&state.key.seal(json, path)));
        out
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The object, and whether it would be sealed the same way today.
    pub fn open(&self, path: &[u8], sealed: &[u8]) -> Result<(Vec<u8>, bool), Refusal> {
        let object = EncryptedObject::decode(&Bytes::copy_from_slice(sealed))?;
        let state = self.state.load();
        // Upstream reads nothing, either, before the plugin has once been well.
        let state = state.as_ref().ok_or("got unexpected nil transformer")?;
        let name = object.source.cache_key();
        let seed = match self.seeds.get(&name) {
            Some(seed) => seed,
            None => self.decrypt(&object.source, name)?,
        };
        seed.used.note();
        let json = seed.key.open(&object.data, path)?;
        let current = object.source.key_id == state.object.key_id && object.source.derived == state.object.derived;
        Ok((json, current))
    }

    /// Has the plugin decrypt a seed, and remembers it.
    fn decrypt(&self, source: &Source, name: [u8; 32]) -> Result<Arc<cache::Seed>, Refusal> {
        metrics::METRICS.cache_misses.inc();
        let request = self.plugin.decrypt(source);
        let plain = self.worker.wait(request).ok_or("the key manager's thread is gone")?;
        let plain = plain.map_err(|failure| {
            self.unread.store(true, Ordering::Relaxed);
            Refusal { why: format!("failed to decrypt DEK, error: {failure}"), code: Some(failure.code()) }
        })?;
        let used = metrics::Usage::new("from_storage", self.plugin.name(), &source.key_id);
        Ok(self.seeds.put(name, cache::Seed { key: DataKey::new(&plain, source.derived)?, used }))
    }
}

#[cfg(test)]
mod tests;
