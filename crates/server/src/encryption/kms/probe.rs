//! Whether the plugin is well, and which key it encrypts by now.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use orlop_base::clock;
use tokio::time::{Instant, sleep};

use super::Kms;
use super::metrics::METRICS;
use super::object::{Source, check_key_id};
use super::plugin::Status;
use super::seed::{DataKey, SEED_BYTES};
use super::state::{State, hash};
use crate::encryption::cipher::random;
use crate::encryption::provider::aggregate;

/// How often the plugin is asked while it is well, and while it is not.
const WELL_INTERVAL: Duration = Duration::from_secs(60);
const ILL_INTERVAL: Duration = Duration::from_secs(10);

/// How long health checks are content with what was found.
const WELL_AGE: Duration = Duration::from_secs(20);
const ILL_AGE: Duration = Duration::from_secs(3);

/// Versions of the protocol, which are the same but for their names.
const VERSIONS: [&str; 2] = ["v2", "v2beta1"];

#[derive(Default)]
pub struct Probe(Mutex<Found>);

#[derive(Default)]
struct Found {
    /// `None`: never asked.
    at: Option<Instant>,
    failure: Option<String>,
    /// The version that the plugin first had.
    version: Option<String>,
}

impl Probe {
    /// What was last found, and whether that is old.
    pub fn last(&self) -> (Result<(), String>, bool) {
        let found = self.lock();
        let age = if found.failure.is_none() { WELL_AGE } else { ILL_AGE };
        let old = found.at.is_none_or(|at| at.elapsed() >= age);
        (found.failure.clone().map_or(Ok(()), Err), old)
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers whether it was ill before.
    fn note(&self, result: Result<(), String>) -> bool {
        let mut found = self.lock();
        found.at = Some(Instant::now());
        std::mem::replace(&mut found.failure, result.err()).is_some()
    }

    fn check_version(&self, version: &str) -> Result<(), String> {
        if !VERSIONS.contains(&version) {
            return Err(format!("expected KMSv2 API version v2, got {version}"));
        }
        let mut found = self.lock();
        let first = found.version.get_or_insert_with(|| version.to_owned());
        if first == version {
            return Ok(());
        }
        Err(format!(
            "KMSv2 API version should not change after the initial status response version {first}, got {version}"
        ))
    }
}

/// Asks the plugin for as long as anybody holds it.
pub async fn keep_up(kms: Weak<Kms>) {
    loop {
        let Some(held) = kms.upgrade() else { return };
        // A plugin that says it is well, but does not decrypt, is not.
        let well = held.probe.last().0.is_ok() && !held.unread.load(Ordering::Relaxed);
        let interval = if well { WELL_INTERVAL } else { ILL_INTERVAL };
        let nudge = held.nudge.clone();
        drop(held);
        // An idle minute holds nobody.
        tokio::select! {
            () = nudge.notified() => {}
            () = sleep(interval) => {}
        }
        let Some(held) = kms.upgrade() else { return };
        held.check().await;
    }
}

impl Kms {
    pub async fn check(&self) {
        let result = self.probe().await;
        if let Err(why) = &result {
            tracing::warn!(name = self.plugin.name(), %why, "the KMS plugin failed its health check");
        }
        let well = result.is_ok();
        let was_ill = self.probe.note(result);
        if well && (was_ill | self.unread.swap(false, Ordering::Relaxed)) {
            tracing::info!(name = self.plugin.name(), "the KMS plugin is well again");
            self.shared.recovered.send_modify(|count| *count += 1);
        }
    }

    async fn probe(&self) -> Result<(), String> {
        let name = self.plugin.name();
        let status = self.plugin.status().await.map_err(|error| {
            format!("failed to perform status section of the healthz check for KMS Provider {name}, error: {error}")
        })?;
        let failures = self.judge(&status).await;
        if failures.is_empty() {
            return Ok(());
        }
        Err(format!("kmsv2 Provider {name} is not healthy, error: {}", aggregate(&failures)))
    }

    async fn judge(&self, status: &Status) -> Vec<String> {
        let mut failures = Vec::new();
        if status.healthz != "ok" {
            failures.push(format!("got unexpected healthz status: {}", status.healthz));
        }
        failures.extend(self.probe.check_version(&status.version).err());
        match check_key_id(&status.key_id) {
            Ok(()) => {
                METRICS.status(self.plugin.name(), &status.key_id);
                failures.extend(self.rotate(&status.key_id).await.err());
            }
            Err((code, why)) => {
                METRICS.invalid_key_id(self.plugin.name(), code);
                failures.push(format!("got invalid KMSv2 KeyID hash {:?}: {why}", hash(&status.key_id)));
            }
        }
        failures
    }

    /// Goes on with the seed of this key, or has another one encrypted. What fails leaves everything as it is.
    async fn rotate(&self, key_id: &str) -> Result<(), String> {
        let (asked, uid) = (clock::unix_seconds(), orlop_base::id::uuid());
        let state = self.state.load_full();
        if let Some(state) = state.as_deref().filter(|state| state.object.key_id == key_id) {
            state.renew(asked);
            return Ok(());
        }
        let made = self.make(&uid).await;
        let encrypted_by = made.as_ref().map(|(_, source)| source.key_id.clone()).unwrap_or_default();
        let why = match made {
            Ok((seed, source)) if source.key_id == key_id => return self.replace(&seed, source, asked),
            Ok(_) => "<nil>".to_owned(),
            Err(why) => why,
        };
        Err(format!(
            "failed to rotate DEK uid={uid:?}, useSeed=true, errState={}, errGen={why}, statusKeyIDHash={:?}, \
             encryptKeyIDHash={:?}, stateKeyIDHash={:?}, expirationTimestamp={}",
            if state.is_some() { "<nil>" } else { "got unexpected nil transformer" },
            hash(key_id),
            hash(&encrypted_by),
            hash(state.as_deref().map_or("", |state| &state.object.key_id)),
            state.as_deref().map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), State::expires),
        ))
    }

    async fn make(&self, uid: &str) -> Result<([u8; SEED_BYTES], Source), String> {
        let begun = std::time::Instant::now();
        let seed = random::<SEED_BYTES>();
        crate::encryption::metrics::METRICS.key_made(begun.elapsed());
        let source = self.plugin.encrypt(uid, &seed).await;
        let source = source.map_err(|error| format!("failed to encrypt DEK, error: {error}"))?;
        source.check()?;
        Ok((seed, source))
    }

    fn replace(&self, seed: &[u8], source: Source, asked: i64) -> Result<(), String> {
        let name = self.plugin.name();
        let used = super::metrics::Usage::new("from_storage", name, &source.key_id);
        // What is written by it is read by it, too.
        self.seeds.put(source.cache_key(), super::cache::Seed { key: DataKey::new(seed, true)?, used });
        let state = State::new(DataKey::new(seed, true)?, source, name, asked);
        self.state.store(Some(Arc::new(state)));
        let generation = self.shared.generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.generation.store(generation, Ordering::Relaxed);
        Ok(())
    }
}
