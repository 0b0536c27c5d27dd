//! A place where events go, each cut to the size it takes.

use std::sync::Arc;

use bytes::Bytes;

use super::Counters;
use super::event::{Event, TYPE_META};
use super::hook::Hook;
use super::log::Log;
use super::options::{HookOptions, LogOptions, Mode, OptionsError};
use super::policy::Level;

pub struct Sink {
    kind: Kind,
    /// Only then does it matter whether an event arrives.
    strict: bool,
    /// Bytes of one event, where that is limited.
    max_event: Option<usize>,
    counters: Arc<Counters>,
}

enum Kind {
    Log(Log),
    Hook(Hook),
}

impl Sink {
    pub fn log(options: LogOptions, counters: Arc<Counters>) -> Result<Self, OptionsError> {
        let log = Log::open(&options, counters.clone())?;
        Ok(Self::new(Kind::Log(log), options.mode, options.truncation.limit(), counters))
    }

    pub fn hook(options: HookOptions, counters: Arc<Counters>) -> Result<Self, OptionsError> {
        let hook = Hook::open(&options, counters.clone())?;
        Ok(Self::new(Kind::Hook(hook), options.mode, options.truncation.limit(), counters))
    }

    fn new(kind: Kind, mode: Mode, max_event: Option<usize>, counters: Arc<Counters>) -> Self {
        Self { kind, strict: mode == Mode::BlockingStrict, max_event, counters }
    }

    pub async fn process(&self, event: &Event<'_>, encoded: &Bytes) -> bool {
        let Some(encoded) = self.fit(event, encoded) else { return true };
        let stored = match &self.kind {
            Kind::Log(log) => log.process(event, &encoded),
            Kind::Hook(hook) => hook.process(&encoded).await,
        };
        stored || !self.strict
    }

    pub fn process_detached(&self, event: &Event<'_>, encoded: &Bytes) {
        let Some(encoded) = self.fit(event, encoded) else { return };
        match &self.kind {
            Kind::Log(log) => {
                log.process(event, &encoded);
            }
            Kind::Hook(hook) => hook.process_detached(&encoded),
        }
    }

    pub async fn close(&self) {
        match &self.kind {
            Kind::Log(log) => log.close().await,
            Kind::Hook(hook) => hook.close().await,
        }
    }

    /// The event as this sink takes it: without its objects where it is too large with them.
    fn fit(&self, event: &Event<'_>, encoded: &Bytes) -> Option<Bytes> {
        let fits = |encoded: &Bytes| self.max_event.is_none_or(|max| encoded.len() + TYPE_META.len() < max);
        if fits(encoded) {
            return Some(encoded.clone());
        }
        let truncated = (event.level >= Level::Request).then(|| event.encode_truncated()).filter(fits);
        if truncated.is_none() {
            self.counters.lost("truncate", 1, &"event is too large even after truncating");
        }
        truncated
    }
}
