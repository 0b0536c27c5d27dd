//! Who was recognized, and by which tokens, under upstream's names (`k8s.io/apiserver/pkg/endpoints/filters`,
//! `pkg/serviceaccount`).

use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::metrics::family::{Count, Durations, FROM_A_MILLISECOND, ResultLabel, durations};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UserLabel {
    username: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JwtLabels {
    result: &'static str,
    jwt_issuer_hash: String,
}

const JWT_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From half an hour to a year.
const LIVES_SECONDS: [f64; 14] = [
    0.0,
    1800.0,
    3600.0,
    7200.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
];

pub struct Metrics {
    users: Family<UserLabel, Count>,
    attempts: Family<ResultLabel, Count>,
    seconds: Durations<ResultLabel>,
    jwt_seconds: Durations<JwtLabels>,
    /// What client certificates have left to live.
    lives: Histogram,
    pub account_tokens: AccountTokens,
}

/// Uses of ServiceAccount tokens.
#[derive(Default)]
pub struct AccountTokens {
    pub valid: Counter,
    /// Live on only because their time was extended.
    pub stale: Counter,
    pub legacy: Counter,
    pub legacy_manual: Counter,
    pub legacy_auto: Counter,
    pub legacy_auto_invalid: Counter,
}

pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    users: Family::default(),
    attempts: Family::default(),
    seconds: durations(FROM_A_MILLISECOND),
    jwt_seconds: durations(JWT_SECONDS),
    lives: Histogram::new(LIVES_SECONDS),
    account_tokens: AccountTokens::default(),
});

impl Metrics {
    /// A request whose caller was found, if it is known; or nobody was.
    pub fn attempt(&self, found: Result<Option<&str>, ()>, took: Duration) {
        let result = match found {
            Ok(Some(user)) => {
                self.users.get_or_create(&UserLabel { username: class(user) }).inc();
                "success"
            }
            Ok(None) => "failure",
            Err(()) => "error",
        };
        self.attempts.get_or_create(&ResultLabel { result }).inc();
        self.seconds.get_or_create(&ResultLabel { result }).observe(took.as_secs_f64());
    }

    pub fn certificate(&self, seconds_left: i64) {
        self.lives.observe(seconds_left as f64);
    }

    pub fn jwt(&self, issuer: &str, good: bool, took: Duration) {
        let result = if good { "success" } else { "failure" };
        let labels = JwtLabels { result, jwt_issuer_hash: crate::review::metrics::hash(issuer.as_bytes()) };
        self.jwt_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// Few enough to be labels.
fn class(user: &str) -> &'static str {
    const KNOWN: [&str; 5] = ["admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"];
    match KNOWN.into_iter().find(|known| *known == user) {
        Some(known) => known,
        None if user.contains('@') => "email_id",
        None => "other",
    }
}

pub fn register(r: &mut Registry) {
    let m = &*METRICS;
    r.register("authenticated_user_requests", "Requests of known callers, by kind of name", m.users.clone());
    r.register("authentication_attempts", "Requests by whether the caller was found", m.attempts.clone());
    r.register("authentication_duration_seconds", "Time to find the caller", m.seconds.clone());
    let name = "apiserver_authentication_jwt_authenticator_latency_seconds";
    r.register(name, "Time to judge a token of an OpenID issuer", m.jwt_seconds.clone());
    let name = "apiserver_client_certificate_expiration_seconds";
    r.register(name, "What certificates that callers showed have left to live", m.lives.clone());
    let tokens = &m.account_tokens;
    for (name, counter) in [
        ("legacy_tokens", &tokens.legacy),
        ("stale_tokens", &tokens.stale),
        ("legacy_manual_token_uses", &tokens.legacy_manual),
        ("legacy_auto_token_uses", &tokens.legacy_auto),
        ("invalid_legacy_auto_token_uses", &tokens.legacy_auto_invalid),
        ("valid_tokens", &tokens.valid),
    ] {
        r.register(format!("serviceaccount_{name}"), "Uses of ServiceAccount tokens", counter.clone());
    }
}
