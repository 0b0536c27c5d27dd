//! Who did what, written down: one event for each stage of a request that the policy wants recorded
//! (`k8s.io/apiserver/pkg/audit`).
//!
//! A request carries a [`Trail`], empty where nothing is recorded. What its handlers know is noted on the
//! way; at each stage the [`event`] is encoded once and given to the [`sink`]s, a file and a webhook.

mod answer;
mod event;
mod file;
mod hook;
mod log;
mod options;
mod policy;
mod sink;
mod throttle;
mod trail;
mod validation;

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

pub use answer::{PassedOn, StatusAnswer};
pub use log::Format;
pub use options::{Batch, HookOptions, LogOptions, Mode, Options, OptionsError, Truncation};
pub use policy::{Level, Policy, PolicyError, Stage};
pub use trail::Trail;
pub(crate) use trail::source_ips;

use event::Event;
use sink::Sink;

/// The policy, and where events go.
pub struct Audit {
    policy: Policy,
    sinks: Vec<Sink>,
    counters: Arc<Counters>,
}

/// Upstream's metrics of the same names.
#[derive(Default)]
struct Counters {
    events: Counter,
    errors: Family<Plugin, Counter>,
    levels: Family<LevelLabel, Counter>,
    rejected: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Plugin {
    plugin: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabel {
    level: &'static str,
}

impl Counters {
    /// Counts events that were lost, and says why.
    fn lost(&self, plugin: &'static str, events: usize, why: &dyn std::fmt::Display) {
        self.errors.get_or_create(&Plugin { plugin }).inc_by(events as u64);
        tracing::error!(plugin, events, %why, "audit events were lost");
    }
}

impl Audit {
    /// Nothing is recorded without a policy and somewhere to write. Must be called within a tokio runtime.
    pub fn start(options: Options) -> Result<Option<Arc<Self>>, OptionsError> {
        options.validate()?;
        let policy = match &options.policy_file {
            Some(path) => Policy::load(path).map_err(OptionsError::Policy)?,
            None => return Ok(None),
        };
        let counters = Arc::new(Counters::default());
        let mut sinks = Vec::new();
        if let Some(log) = options.log {
            sinks.push(Sink::log(log, counters.clone())?);
        }
        if let Some(hook) = options.hook {
            sinks.push(Sink::hook(hook, counters.clone())?);
        }
        Ok((!sinks.is_empty()).then(|| Arc::new(Self { policy, sinks, counters })))
    }

    /// Writes what is still buffered; events that come later are lost.
    pub async fn close(&self) {
        for sink in &self.sinks {
            sink.close().await;
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let Counters { events, errors, levels, rejected } = &*self.counters;
        registry.register("apiserver_audit_event", "Audit events made", events.clone());
        registry.register("apiserver_audit_error", "Audit events lost, by plugin", errors.clone());
        registry.register("apiserver_audit_level", "Requests by level of audit", levels.clone());
        registry.register("apiserver_audit_requests_rejected", "Requests that could not be audited", rejected.clone());
    }

    /// Whether every sink has it: always, unless one is strict.
    async fn process(&self, event: &Event<'_>) -> bool {
        self.counters.events.inc();
        let encoded = event.encode();
        let mut stored = true;
        for sink in &self.sinks {
            stored &= sink.process(event, &encoded).await;
        }
        stored
    }

    /// The same where nobody can wait: a request's last holder has let go.
    fn process_detached(&self, event: &Event<'_>) {
        self.counters.events.inc();
        let encoded = event.encode();
        self.sinks.iter().for_each(|sink| sink.process_detached(event, &encoded));
    }
}
