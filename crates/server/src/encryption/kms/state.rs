//! What writes are sealed by.

use std::sync::atomic::{AtomicI64, Ordering};

use orlop_base::clock;

use super::metrics::Usage;
use super::object::Source;
use super::seed::DataKey;

/// How long a seed still writes after the plugin was last heard of.
pub const MAX_AGE_SECONDS: i64 = 3 * 60;

pub struct State {
    pub key: DataKey,
    /// The key's seed as it lies beside objects.
    pub object: Source,
    /// Unix time, put off whenever the plugin names the same key.
    expires: AtomicI64,
    pub used: Usage,
}

impl State {
    /// `asked`: when the plugin was asked, a Unix time.
    pub fn new(key: DataKey, object: Source, provider: &str, asked: i64) -> Self {
        let used = Usage::new("to_storage", provider, &object.key_id);
        Self { key, object, expires: AtomicI64::new(asked + MAX_AGE_SECONDS), used }
    }

    pub fn renew(&self, asked: i64) {
        self.expires.store(asked + MAX_AGE_SECONDS, Ordering::Relaxed);
    }

    pub fn expires(&self) -> String {
        clock::format_seconds(self.expires.load(Ordering::Relaxed))
    }

    /// Whether writes may be sealed at this Unix time.
    pub fn check(&self, now: i64) -> Result<(), String> {
        if now <= self.expires.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(format!(
            "encryptedDEKSource with keyID hash {:?} expired at {} (current time is {})",
            hash(&self.object.key_id),
            self.expires(),
            clock::format_seconds(now)
        ))
    }
}

/// `sha256:...` of what should not be in logs; empty for nothing.
pub fn hash(text: &str) -> String {
    if text.is_empty() { String::new() } else { crate::review::metrics::hash(text.as_bytes()) }
}
