//! What was decided, and what asking cost, under upstream's names (`k8s.io/apiserver/pkg/authorization`,
//! `plugin/pkg/authorizer/webhook/metrics`, `pkg/endpoints/filters`).

use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::auth::Decision;
use crate::metrics::family::{Counts, Durations, FROM_A_MILLISECOND, ResultLabel, durations};

const CONDITION_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];
/// Go's default ones.
const WEBHOOK_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    r#type: &'static str,
    name: String,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthorizerLabels {
    r#type: &'static str,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    name: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ImpersonationLabels {
    mode: &'static str,
    decision: &'static str,
}

pub struct Metrics {
    attempts: Counts<ResultLabel>,
    seconds: Durations<ResultLabel>,
    decisions: Counts<DecisionLabels>,
    condition_errors: Counts<AuthorizerLabels>,
    condition_exclusions: Counts<AuthorizerLabels>,
    condition_seconds: Durations<AuthorizerLabels>,
    webhooks: Counts<WebhookLabels>,
    webhook_seconds: Durations<WebhookLabels>,
    webhooks_open: Counts<WebhookLabels>,
    impersonations: Counts<ImpersonationLabels>,
    impersonation_seconds: Durations<ImpersonationLabels>,
    impersonation_checks: Counts<ImpersonationLabels>,
    impersonation_check_seconds: Durations<ImpersonationLabels>,
}

pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    attempts: Family::default(),
    seconds: durations(FROM_A_MILLISECOND),
    decisions: Family::default(),
    condition_errors: Family::default(),
    condition_exclusions: Family::default(),
    condition_seconds: durations(CONDITION_SECONDS),
    webhooks: Family::default(),
    webhook_seconds: durations(WEBHOOK_SECONDS),
    webhooks_open: Family::default(),
    impersonations: Family::default(),
    impersonation_seconds: durations(FROM_A_MILLISECOND),
    impersonation_checks: Family::default(),
    impersonation_check_seconds: durations(FROM_A_MILLISECOND),
});

impl Metrics {
    /// A request's permission.
    pub fn attempt(&self, decision: &Decision, took: Duration) {
        let result = match decision {
            Decision::Allow { .. } => "allowed",
            Decision::Deny { .. } => "denied",
            Decision::NoOpinion { .. } => "no-opinion",
            Decision::Failed { .. } => "error",
        };
        self.attempts.get_or_create(&ResultLabel { result }).inc();
        self.seconds.get_or_create(&ResultLabel { result }).observe(took.as_secs_f64());
    }

    /// One link of the chain; only what decides is counted.
    pub fn decided(&self, mode: &'static str, name: &str, decision: &Decision) {
        let decision = match decision {
            Decision::Allow { .. } => "allowed",
            Decision::Deny { .. } | Decision::Failed { denied: true, .. } => "denied",
            Decision::NoOpinion { .. } | Decision::Failed { .. } => return,
        };
        self.decisions.get_or_create(&DecisionLabels { r#type: mode, name: name.to_owned(), decision }).inc();
    }

    pub fn conditions(&self, name: &str, took: Duration, held: &Result<bool, String>) {
        let labels = AuthorizerLabels { r#type: "Webhook", name: name.to_owned() };
        self.condition_seconds.get_or_create(&labels).observe(took.as_secs_f64());
        match held {
            Ok(true) => {}
            Ok(false) => drop(self.condition_exclusions.get_or_create(&labels).inc()),
            Err(_) => drop(self.condition_errors.get_or_create(&labels).inc()),
        }
    }

    /// A round-trip to a webhook: `success`, `timeout` or `error`; `open`: it failed, and nothing was denied for it.
    pub fn webhook(&self, name: &str, result: &'static str, open: bool, took: Duration) {
        let labels = WebhookLabels { name: name.to_owned(), result };
        self.webhooks.get_or_create(&labels).inc();
        self.webhook_seconds.get_or_create(&labels).observe(took.as_secs_f64());
        if open {
            self.webhooks_open.get_or_create(&labels).inc();
        }
    }

    /// `mode` is empty where none allowed it, and for the old way.
    pub fn impersonation(&self, mode: &'static str, allowed: bool, took: Duration) {
        let labels = ImpersonationLabels { mode, decision: if allowed { "allowed" } else { "denied" } };
        self.impersonations.get_or_create(&labels).inc();
        self.impersonation_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub fn impersonation_check(&self, mode: &'static str, allowed: bool, took: Duration) {
        let labels = ImpersonationLabels { mode, decision: if allowed { "allowed" } else { "denied" } };
        self.impersonation_checks.get_or_create(&labels).inc();
        self.impersonation_check_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

pub fn register(r: &mut Registry) {
    let m = &*METRICS;
    r.register("authorization_attempts", "Requests by whether they were permitted", m.attempts.clone());
    r.register("authorization_duration_seconds", "Time to find out", m.seconds.clone());
    let name = |rest: &str| format!("apiserver_authorization_{rest}");
    r.register(name("decisions"), "Decisions by authorizer", m.decisions.clone());
    r.register(name("match_condition_evaluation_errors"), "Conditions without a value", m.condition_errors.clone());
    r.register(name("match_condition_exclusions"), "Webhooks that conditions kept out", m.condition_exclusions.clone());
    r.register(name("match_condition_evaluation_seconds"), "Time of judging conditions", m.condition_seconds.clone());
    r.register(name("webhook_evaluations"), "Round-trips to webhooks", m.webhooks.clone());
    r.register(name("webhook_duration_seconds"), "Time of a round-trip", m.webhook_seconds.clone());
    r.register(name("webhook_evaluations_fail_open"), "Webhooks passed over as they failed", m.webhooks_open.clone());
    let name = |rest: &str| format!("apiserver_impersonation_{rest}");
    r.register(name("attempts"), "Attempts to act as somebody else", m.impersonations.clone());
    r.register(name("attempts_duration_seconds"), "Time of an attempt", m.impersonation_seconds.clone());
    r.register(name("authorization_attempts"), "Permissions asked for it", m.impersonation_checks.clone());
    let seconds = m.impersonation_check_seconds.clone();
    r.register(name("authorization_attempts_duration_seconds"), "Time to ask for one", seconds);
}
