//! Whether configuration files were taken over when they changed, under upstream's names
//! (`k8s.io/apiserver/pkg/server/options/*config/metrics`).

use std::sync::LazyLock;

use orlop_base::clock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    apiserver_id_hash: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Applied {
    apiserver_id_hash: String,
    hash: String,
}

/// Of one file.
#[derive(Default)]
pub struct Reloads {
    total: Family<Outcome, Counter>,
    last: Family<Outcome, Gauge>,
    applied: Family<Applied, Gauge>,
}

pub static AUTHENTICATION: LazyLock<Reloads> = LazyLock::new(Reloads::default);
pub static AUTHORIZATION: LazyLock<Reloads> = LazyLock::new(Reloads::default);
pub static ENCRYPTION: LazyLock<Reloads> = LazyLock::new(Reloads::default);

/// Of the one API server there is in this process.
pub static SERVER: LazyLock<String> = LazyLock::new(|| hash(orlop_base::id::uuid().as_bytes()));

impl Reloads {
    /// The configuration in force at start.
    pub fn started(&self, text: &[u8]) {
        self.applied.clear();
        let labels = Applied { apiserver_id_hash: SERVER.clone(), hash: hash(text) };
        self.applied.get_or_create(&labels).set(1);
    }

    pub fn succeeded(&self, text: &[u8]) {
        self.note("success");
        self.started(text);
    }

    pub fn failed(&self) {
        self.note("failure");
    }

    fn note(&self, status: &'static str) {
        let labels = Outcome { apiserver_id_hash: SERVER.clone(), status };
        self.total.get_or_create(&labels).inc();
        self.last.get_or_create(&labels).set(clock::unix_seconds());
    }

    fn register(&self, registry: &mut Registry, what: &str) {
        let name = |rest: &str| format!("apiserver_{what}_config_controller_{rest}");
        let help = |text: &str| format!("{text} {what} configuration");
        registry.register(name("automatic_reloads"), help("Reloads of the"), self.total.clone());
        registry.register(
            name("automatic_reload_last_timestamp_seconds"),
            help("Time of the last reload of the"),
            self.last.clone(),
        );
        registry.register(name("last_config_info"), help("Hash of the"), self.applied.clone());
    }
}

pub fn register(registry: &mut Registry) {
    AUTHENTICATION.register(registry, "authentication");
    AUTHORIZATION.register(registry, "authorization");
    ENCRYPTION.register(registry, "encryption");
}

pub fn hash(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
