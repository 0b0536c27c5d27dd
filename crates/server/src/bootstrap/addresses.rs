//! An IPAddress for every cluster IP of a Service
//! (`pkg/registry/core/service/ipallocator`, `pkg/registry/core/service/ipallocator/controller/repairip.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_store::{Event, StoreError};
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use super::{RETRY, send};
use crate::services::{ADDRESSES, ALLOCATOR, Family, MANAGED_BY};
use crate::{Component, Server};

const SERVICES: &str = "services";
const PATH: &str = "/apis/networking.k8s.io/v1/ipaddresses";

impl Server {
    /// Keeps the IPAddresses of the Services until `stop`.
    pub(super) async fn keep_addresses(self: Arc<Self>, stop: CancellationToken) {
        let me = self.apiserver();
        let mut failures = 0;
        while !stop.is_cancelled() {
            match stop.run_until_cancelled(self.follow_services(&me)).await {
                None | Some(Err(Stopped::Store(StoreError::Closed))) => return,
                Some(Ok(())) => failures = 0,
                Some(Err(error)) => {
                    tracing::debug!(%error, "keeping the addresses of Services failed");
                    failures += 1;
                    stop.run_until_cancelled(tokio::time::sleep(RETRY.delay(failures))).await;
                }
            }
        }
    }

    /// Compares everything once, then follows changes, until something fails or the watch fell behind.
    async fn follow_services(self: &Arc<Self>, me: &Component) -> Result<(), Stopped> {
        let revision = self.store.revision();
        let mut services = self.store.watch(SERVICES, None, revision)?;
        let mut addresses = self.store.watch(ADDRESSES, None, revision)?;
        let snapshot = self.store.snapshot();
        let mut owners = BTreeMap::new();
        for entry in snapshot.range(SERVICES, None, None) {
            let service: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
            owners.extend(cluster_ips(&service).into_iter().map(|ip| (ip, owner(&service))));
        }
        for entry in snapshot.range(ADDRESSES, None, None) {
            let address: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
            let ip = meta::name(&address).parse().ok();
            if is_ours(&address) && ip.is_none_or(|ip| owners.get(&ip) != Some(&parent(&address))) {
                remove(me, meta::name(&address)).await?;
            } else if let Some(ip) = ip {
                owners.remove(&ip);
            }
        }
        for (ip, owner) in owners {
            make(me, ip, &owner).await?;
        }
        loop {
            tokio::select! {
                biased;
                batch = services.next() => {
                    for event in batch?.iter() {
                        self.service_changed(me, event).await?;
                    }
                }
                batch = addresses.next() => {
                    for event in batch?.iter().filter(|event| event.deleted) {
                        self.address_gone(me, event).await?;
                    }
                }
            }
        }
    }

    async fn service_changed(&self, me: &Component, event: &Event) -> Result<(), StatusError> {
        let parsed = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap_or_default();
        let service = parsed(&event.entry.json);
        let now = if event.deleted { BTreeSet::new() } else { cluster_ips(&service) };
        let before = event.previous.as_ref().map(|entry| cluster_ips(&parsed(&entry.json))).unwrap_or_default();
        for ip in before.difference(&now) {
            let stored = self.store.snapshot().get(ADDRESSES, "", &ip.to_string()).map(|entry| parsed(&entry.json));
            if stored.is_some_and(|address| is_ours(&address) && parent(&address) == owner(&service)) {
                remove(me, &ip.to_string()).await?;
            }
        }
        for ip in now.difference(&before) {
            make(me, *ip, &owner(&service)).await?;
        }
        Ok(())
    }

    /// Makes it again when its Service is still there.
    async fn address_gone(&self, me: &Component, event: &Event) -> Result<(), StatusError> {
        let address: Value = serde_json::from_slice(&event.entry.json).unwrap_or_default();
        let Ok(ip) = meta::name(&address).parse::<IpAddr>() else { return Ok(()) };
        let owner = parent(&address);
        let snapshot = self.store.snapshot();
        let Some(entry) = snapshot.get(SERVICES, &owner.0, &owner.1) else { return Ok(()) };
        let service: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
        if cluster_ips(&service).contains(&ip) { make(me, ip, &owner).await } else { Ok(()) }
    }
}

#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}", .0.message)]
    Refused(StatusError),
}

impl From<StatusError> for Stopped {
    fn from(error: StatusError) -> Self {
        Self::Refused(error)
    }
}

/// Namespace and name of a Service.
type Owner = (String, String);

fn owner(service: &Value) -> Owner {
    (meta::namespace(service).to_owned(), meta::name(service).to_owned())
}

fn parent(address: &Value) -> Owner {
    let part = |field: &str| address["spec"]["parentRef"][field].as_str().unwrap_or_default().to_owned();
    (part("namespace"), part("name"))
}

fn is_ours(address: &Value) -> bool {
    address["metadata"]["labels"][MANAGED_BY] == ALLOCATOR
}

/// None of a Service that has no address of its own.
fn cluster_ips(service: &Value) -> BTreeSet<IpAddr> {
    let texts = service["spec"]["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| text.parse().ok()).collect()
}

async fn make(me: &Component, ip: IpAddr, owner: &Owner) -> Result<(), StatusError> {
    let labels: Map<String, Value> = [
        ("ipaddress.kubernetes.io/ip-family".to_owned(), Family::of(ip).name().into()),
        (MANAGED_BY.to_owned(), ALLOCATOR.into()),
    ]
    .into_iter()
    .collect();
    let address = json!({
        "kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": ip.to_string(), "labels": labels},
        "spec": {"parentRef": {"resource": "services", "namespace": owner.0, "name": owner.1}},
    });
    match send(me, Method::POST, PATH, &address).await {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other,
    }
}

async fn remove(me: &Component, name: &str) -> Result<(), StatusError> {
    match send(me, Method::DELETE, &format!("{PATH}/{name}"), &json!({})).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
