//! What admission costs and refuses, under upstream's names (`k8s.io/apiserver/pkg/admission/metrics`).

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Operation;
use crate::metrics::family::{Count, Counts, Durations, durations};

/// Of a plugin, a webhook, or all of them.
const STEP_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const WEBHOOK_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
const CONDITION_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];
const POLICY_SECONDS: &[f64] = &[0.000_000_5, 0.001, 0.01, 0.1, 1.0];
/// Codes beyond are counted as this.
const MAX_CODE: u16 = 600;

/// The halves of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Admit,
    Validate,
}

impl Half {
    fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validate",
        }
    }

    /// As webhooks are counted.
    pub fn of_webhooks(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validating",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    r#type: &'static str,
    operation: &'static str,
    rejected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    name: &'static str,
    r#type: &'static str,
    operation: &'static str,
    rejected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    rejected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    code: u16,
    rejected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabels {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    error_type: &'static str,
    rejection_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailOpenLabels {
    name: String,
    r#type: &'static str,
}

/// Whose conditions are judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConditionLabels {
    pub name: String,
    /// `webhook` or `policy`.
    pub kind: &'static str,
    pub r#type: &'static str,
    pub operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ValidatingLabels {
    policy: String,
    policy_binding: String,
    error_type: &'static str,
    enforcement_action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MutatingLabels {
    policy: String,
    policy_binding: String,
    error_type: &'static str,
}

pub struct Metrics {
    steps: Durations<StepLabels>,
    plugins: Durations<PluginLabels>,
    webhooks: Durations<WebhookLabels>,
    requests: Counts<RequestLabels>,
    rejections: Family<RejectionLabels, Count>,
    fail_open: Family<FailOpenLabels, Count>,
    condition_errors: Counts<ConditionLabels>,
    condition_exclusions: Counts<ConditionLabels>,
    condition_seconds: Durations<ConditionLabels>,
    validating: Counts<ValidatingLabels>,
    validating_seconds: Durations<ValidatingLabels>,
    mutating: Counts<MutatingLabels>,
    mutating_seconds: Durations<MutatingLabels>,
}

pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    steps: durations(STEP_SECONDS),
    plugins: durations(STEP_SECONDS),
    webhooks: durations(WEBHOOK_SECONDS),
    requests: Family::default(),
    rejections: Family::default(),
    fail_open: Family::default(),
    condition_errors: Family::default(),
    condition_exclusions: Family::default(),
    condition_seconds: durations(CONDITION_SECONDS),
    validating: Family::default(),
    validating_seconds: durations(POLICY_SECONDS),
    mutating: Family::default(),
    mutating_seconds: durations(POLICY_SECONDS),
});

/// One plugin's histograms, found once: a write passes many plugins.
#[derive(Default)]
pub struct PluginSeconds([OnceLock<Histogram>; 16]);

impl PluginSeconds {
    pub fn observe(&self, name: &'static str, half: Half, operation: Operation, took: Duration, rejected: bool) {
        let place = (half as usize * 4 + operation as usize) * 2 + usize::from(rejected);
        let histogram = self.0[place].get_or_init(|| {
            let labels = PluginLabels { name, r#type: half.name(), operation: operation.name(), rejected };
            METRICS.plugins.get_or_create_owned(&labels)
        });
        histogram.observe(took.as_secs_f64());
    }
}

/// How a webhook's turn ended.
pub enum Outcome {
    Allowed,
    /// It said no, with this code.
    Rejected(u16),
    /// There was no usable answer; `closed`: that refused the request.
    Failed {
        code: u16,
        closed: bool,
    },
    /// It was not asked, for a reason of ours.
    Internal,
}

impl Metrics {
    pub fn step(&self, half: Half, operation: Operation, took: Duration, rejected: bool) {
        let labels = StepLabels { r#type: half.name(), operation: operation.name(), rejected };
        self.steps.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub fn webhook(&self, name: &str, half: Half, operation: Operation, took: Duration, outcome: &Outcome) {
        let (kind, operation) = (half.of_webhooks(), operation.name());
        let (code, error_type) = match outcome {
            Outcome::Allowed => (200, None),
            Outcome::Rejected(code) => (*code, Some("no_error")),
            Outcome::Failed { code, closed } => (*code, closed.then_some("calling_webhook_error")),
            Outcome::Internal => (0, Some("apiserver_internal_error")),
        };
        let (code, rejected) = (code.min(MAX_CODE), error_type.is_some());
        if let Some(error_type) = error_type {
            let name = name.to_owned();
            let labels = RejectionLabels { name, r#type: kind, operation, error_type, rejection_code: code };
            self.rejections.get_or_create(&labels).inc();
        }
        if let Outcome::Failed { closed: false, .. } = outcome {
            self.fail_open.get_or_create(&FailOpenLabels { name: name.to_owned(), r#type: kind }).inc();
        }
        let labels = RequestLabels { name: name.to_owned(), r#type: kind, operation, code, rejected };
        self.requests.get_or_create(&labels).inc();
        let labels = WebhookLabels { name: name.to_owned(), r#type: kind, operation, rejected };
        self.webhooks.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub fn conditions(&self, whose: &ConditionLabels, took: Duration, errors: usize, excluded: bool) {
        self.condition_seconds.get_or_create(whose).observe(took.as_secs_f64());
        if errors > 0 {
            self.condition_errors.get_or_create(whose).inc_by(errors as u64);
        }
        if excluded {
            self.condition_exclusions.get_or_create(whose).inc();
        }
    }

    /// `action`: `allow`, `deny`, `audit`, `warn`.
    pub fn validating(&self, [policy, binding]: [&str; 2], error: Option<&str>, action: &'static str, took: Duration) {
        let labels = ValidatingLabels {
            policy: policy.to_owned(),
            policy_binding: binding.to_owned(),
            error_type: error_type(error),
            enforcement_action: action,
        };
        self.validating.get_or_create(&labels).inc();
        self.validating_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub fn mutating(&self, [policy, binding]: [&str; 2], error: Option<&str>, took: Duration) {
        let (policy, policy_binding) = (policy.to_owned(), binding.to_owned());
        let labels = MutatingLabels { policy, policy_binding, error_type: error_type(error) };
        self.mutating.get_or_create(&labels).inc();
        self.mutating_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

fn error_type(error: Option<&str>) -> &'static str {
    match error {
        None => "no_error",
        Some(why) if why.starts_with("compilation") => "compile_error",
        Some(why) if why.starts_with("validation failed due to running out of cost budget") => "out_of_budget",
        Some(_) => "invalid_error",
    }
}

pub fn register(r: &mut Registry) {
    let m = &*METRICS;
    let name = |rest: &str| format!("apiserver_admission_{rest}");
    r.register(name("step_admission_duration_seconds"), "Time of one half of admission", m.steps.clone());
    r.register(name("controller_admission_duration_seconds"), "Time of an admission plugin", m.plugins.clone());
    r.register(name("webhook_admission_duration_seconds"), "Time of an admission webhook", m.webhooks.clone());
    r.register(name("webhook_request"), "Requests to admission webhooks", m.requests.clone());
    r.register(name("webhook_rejection_count"), "Requests refused for a webhook", m.rejections.clone());
    r.register(name("webhook_fail_open_count"), "Webhooks passed over as they failed", m.fail_open.clone());
    r.register(name("match_condition_evaluation_errors"), "Conditions without a value", m.condition_errors.clone());
    r.register(name("match_condition_exclusions"), "Requests that conditions excluded", m.condition_exclusions.clone());
    r.register(name("match_condition_evaluation_seconds"), "Time of judging conditions", m.condition_seconds.clone());
    let name = |kind: &str, rest: &str| format!("apiserver_{kind}_admission_policy_{rest}");
    r.register(name("validating", "check"), "Checks of validating policies", m.validating.clone());
    r.register(name("validating", "check_duration_seconds"), "Time of a check", m.validating_seconds.clone());
    r.register(name("mutating", "check"), "Checks of mutating policies", m.mutating.clone());
    r.register(name("mutating", "check_duration_seconds"), "Time of a check", m.mutating_seconds.clone());
}
