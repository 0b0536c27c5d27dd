//! Every controller, once.

use orlop_client::Client;
use orlop_client::cache::Factory;
use orlop_client::engine::{Controller, Grant, Running};
use tokio_util::sync::CancellationToken;

pub use crate::account_token::TokenSigner;
pub use crate::certificates::Signer;

/// The name of controllers that write as the manager itself, as upstream's tokens controller does.
pub const MANAGER: &str = "kube-controller-manager";

/// What the controllers need to know of the cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// PEM bundle that clients in the cluster verify the API server by.
    pub root_ca: String,
    /// Makes the certificates of the cluster's own signers.
    pub signer: Signer,
    /// Makes the tokens of ServiceAccounts that are kept in Secrets; none: nobody does.
    pub token_signer: Option<TokenSigner>,
}

/// All controllers that are a pure decision behind the engine.
pub fn all(settings: &Settings) -> Vec<Controller> {
    let token_signer = settings.token_signer.clone();
    let tokens = token_signer.map(|signer| crate::account_token::controller(signer, settings.root_ca.clone()));
    let others = vec![
        crate::account_token::cleaner::controller(),
        crate::bootstrap_token::cleaner::controller(),
        crate::bootstrap_token::signer::controller(),
        crate::certificates::approver::controller(),
        crate::certificates::cleaner::controller(),
        crate::certificates::signer::controller(settings.signer.clone()),
        crate::cron_job::controller(),
        crate::daemon_set::controller(),
        crate::deployment::controller(),
        crate::disruption::controller(),
        crate::disruption::stale::controller(),
        crate::endpoints::endpoints(),
        crate::endpoints::endpoint_slices(),
        crate::endpoints::mirroring::controller(),
        crate::event_ttl::controller(),
        crate::job::controller(),
        crate::namespace::controller(),
        crate::node_lifecycle::controller(),
        crate::pod_gc::controller(),
        crate::replicas::replica_set(),
        crate::replicas::replication_controller(),
        crate::root_ca_publisher::controller(settings.root_ca.clone()),
        crate::service_account::controller(),
        crate::service_cidr::controller(),
        crate::stateful_set::controller(),
        crate::taint_eviction::controller(),
        crate::ttl_after_finished::controller(),
        crate::volume::attributes_class_protection::controller(),
        crate::volume::binder::claims::controller(),
        crate::volume::binder::volumes::controller(),
        crate::volume::claim_protection::controller(),
        crate::volume::ephemeral::controller(),
        crate::volume::protection::controller(),
    ];
    tokens.into_iter().chain(others).collect()
}

/// Starts everything, the garbage collector and what counts by its monitors included. All read through `reader`, which must be able
/// to list and watch every kind; each writes as itself: `connect` is given the name of a service
/// account in `kube-system` (`deployment-controller`), or [`MANAGER`].
pub fn start(
    settings: &Settings,
    reader: &Factory,
    connect: impl Fn(&str) -> Client,
    shutdown: &CancellationToken,
) -> Vec<Running> {
    let (collector, monitors) =
        crate::garbage_collector::start(reader, connect(crate::garbage_collector::NAME), shutdown.clone());
    let quotas = connect(crate::resource_quota::NAME);
    let quotas = crate::resource_quota::start(reader, quotas, &monitors, shutdown.clone());
    let mut running = vec![collector, quotas];
    for controller in all(settings) {
        let writer = connect(controller.name);
        running.push(orlop_client::engine::start(controller, reader, writer, shutdown.clone()));
    }
    running
}

/// What each service account may do: every controller's declared grants.
pub fn grants(settings: &Settings) -> Vec<(&'static str, Vec<Grant>)> {
    let mut all: Vec<_> = all(settings).into_iter().map(|c| (c.name, c.grants)).collect();
    all.push((crate::garbage_collector::NAME, crate::garbage_collector::grants()));
    all.push((crate::resource_quota::NAME, crate::resource_quota::grants()));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::common::fixture::decide;

    fn settings() -> Settings {
        Settings {
            root_ca: "PEM".to_owned(),
            signer: Signer::new(|_, _, _| Err("no authority".to_owned())),
            token_signer: Some(TokenSigner::new(|_| "signed".to_owned())),
        }
    }

    /// Queue, subject, and a world in which there is nothing to do about it.
    const CONVERGED: [(&str, &str, &str); 34] = [
        ("serviceaccount_tokens_secret", "d/t", crate::account_token::tests::CONVERGED),
        ("legacy_service_account_token_cleaner", "d/t", crate::account_token::cleaner::tests::CONVERGED),
        ("token_cleaner", "kube-system/bootstrap-token-abcdef", crate::bootstrap_token::cleaner::tests::CONVERGED),
        ("bootstrap_signer_queue", "kube-public/cluster-info", crate::bootstrap_token::signer::tests::CONVERGED),
        ("csrapproving", "c", crate::certificates::approver::tests::CONVERGED),
        ("csrcleaner", "c", crate::certificates::cleaner::tests::CONVERGED),
        ("csrsigning", "c", crate::certificates::signer::tests::CONVERGED),
        ("vacprotection", "fast", crate::volume::attributes_class_protection::tests::CONVERGED),
        ("endpoint_slice_mirroring", "d/db", crate::endpoints::mirroring::tests::CONVERGED),
        ("claims", "d/data", crate::volume::binder::tests::CONVERGED),
        ("volumes", "v", crate::volume::binder::tests::CONVERGED),
        ("ephemeral_volume", "d/p", crate::volume::ephemeral::tests::CONVERGED),
        ("cronjob", "d/backup", crate::cron_job::tests::CONVERGED),
        ("disruption", "d/web", crate::disruption::tests::CONVERGED),
        ("stale_pod_disruption", "d/p", crate::disruption::tests::STALE_CONVERGED),
        ("ttl_jobs_to_delete", "d/sum", crate::ttl_after_finished::tests::CONVERGED),
        ("pvcprotection", "d/data", crate::volume::claim_protection::tests::CONVERGED),
        ("pvprotection", "v", crate::volume::protection::tests::CONVERGED),
        ("job", "d/sum", crate::job::tests::CONVERGED),
        ("daemonset", "d/log", crate::daemon_set::tests::CONVERGED),
        ("ipaddresses", "kubernetes", crate::service_cidr::tests::CONVERGED),
        ("statefulset", "d/web", crate::stateful_set::tests::CONVERGED),
        ("deployment", "d/web", crate::deployment::tests::CONVERGED),
        ("replicaset", "d/web", crate::replicas::tests::CONVERGED),
        (
            "replicationmanager",
            "d/web",
            "
kind: ReplicationController
metadata: {name: web, generation: 3}
spec: {replicas: 0, selector: {app: web}, template: {metadata: {labels: {app: web}}, spec: {containers: []}}}
status: {replicas: 0, observedGeneration: 3}
",
        ),
        ("endpoint", "d/web", "kind: Service\nmetadata: {name: web}\nspec: {type: ExternalName}"),
        ("endpoint_slice", "d/web", "kind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}"),
        (
            "event_ttl",
            "d/e",
            "kind: Event\nmetadata: {name: e, creationTimestamp: '2026-01-01T11:30:00Z'}\ninvolvedObject: {}",
        ),
        ("namespace", "d", "kind: Namespace\nmetadata: {name: d}\nspec: {finalizers: [kubernetes]}"),
        (
            "node_lifecycle_controller",
            "a",
            "
kind: Node
metadata: {name: a}
status: {conditions: [{type: Ready, status: 'True', lastHeartbeatTime: '2026-01-01T11:59:50Z'}]}
",
        ),
        (
            "taint_eviction_controller",
            "d/p",
            "
kind: Node
metadata: {name: a}
spec: {taints: [{key: x, effect: NoExecute}]}
---
kind: Pod
metadata: {name: p}
spec: {nodeName: a, containers: [], tolerations: [{key: x, operator: Exists}]}
",
        ),
        (
            "pod_gc",
            "d/p",
            "
kind: Node
metadata: {name: a}
---
kind: Pod
metadata: {name: p}
spec: {nodeName: a, containers: []}
status: {phase: Running}
",
        ),
        (
            "root_ca_cert_publisher",
            "d",
            "
kind: Namespace
metadata: {name: d}
---
kind: ConfigMap
metadata: {name: kube-root-ca.crt, annotations: {kubernetes.io/description: x}}
data: {ca.crt: PEM}
",
        ),
        (
            "serviceaccount",
            "d",
            "kind: Namespace\nmetadata: {name: d}\n---\nkind: ServiceAccount\nmetadata: {name: default}",
        ),
    ];

    #[test]
    fn a_converged_world_is_left_alone_by_every_controller() {
        let controllers = all(&settings());
        let listed: BTreeSet<&str> = controllers.iter().map(|c| c.queue).collect();
        assert_eq!(listed.len(), controllers.len(), "queues have names of their own");
        assert_eq!(listed, CONVERGED.iter().map(|(queue, ..)| *queue).collect(), "every controller has a fixture");
        for (queue, subject, world) in CONVERGED {
            let controller = controllers.iter().find(|c| c.queue == queue).unwrap();
            let plan = decide(controller, subject, world);
            assert!(plan.is_converged(), "{queue}: {:?}", plan.lines());
            assert!(decide(controller, "d/nobody", "").is_converged(), "{queue} acts on nothing");
        }
    }

    #[test]
    fn grants_name_what_is_written_only() {
        for (name, grants) in grants(&settings()) {
            assert!(!grants.is_empty(), "{name} declares nothing");
            for grant in grants {
                assert!(!grant.verbs.contains(&"*"), "{name} asks for every verb");
            }
        }
    }
}
