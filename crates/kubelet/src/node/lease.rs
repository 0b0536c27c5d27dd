//! The node's heartbeat: its Lease, renewed every quarter of its duration (KEP-589).

use std::time::Duration;

use orlop_api::typed::k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use orlop_base::clock;
use orlop_client::{Api, Client};
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "kube-node-lease";
/// Between tries when the API does not answer.
const RETRY: Duration = Duration::from_secs(1);

pub struct Heartbeat {
    pub client: Client,
    pub node_name: String,
    pub node_uid: String,
    pub duration_seconds: i32,
}

impl Heartbeat {
    pub async fn run(self, shutdown: CancellationToken) {
        let leases: Api<Lease> = self.client.api(NAMESPACE);
        let period = Duration::from_secs(u64::try_from(self.duration_seconds / 4).unwrap_or(10).max(1));
        let mut known: Option<Lease> = None;
        loop {
            let wait = match self.renew(&leases, known.take()).await {
                Ok(lease) => {
                    known = Some(lease);
                    period
                }
                Err(error) => {
                    tracing::warn!(error = %orlop_base::error::chain(&error), "renewing the node's lease");
                    RETRY
                }
            };
            if shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Updates what is known, or finds out what there is.
    async fn renew(&self, leases: &Api<Lease>, known: Option<Lease>) -> Result<Lease, orlop_client::Error> {
        if let Some(lease) = known {
            match leases.update(&self.renewed(lease)).await {
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                done => return done,
            }
        }
        match leases.get_opt(&self.node_name).await? {
            Some(lease) => leases.update(&self.renewed(lease)).await,
            None => leases.create(&self.renewed(self.fresh())).await,
        }
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.node_name.clone());
        spec.lease_duration_seconds = Some(self.duration_seconds);
        spec.renew_time = Some(MicroTime(clock::now()));
        lease
    }

    fn fresh(&self) -> Lease {
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.node_name.clone(),
            uid: self.node_uid.clone(),
            ..OwnerReference::default()
        };
        let metadata = ObjectMeta {
            name: Some(self.node_name.clone()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        Lease { metadata, spec: Some(LeaseSpec::default()) }
    }
}
