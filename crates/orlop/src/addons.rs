//! Objects that a working cluster has and that no controller makes: the Service of cluster DNS.

use std::net::IpAddr;
use std::time::Duration;

use orlop_base::backoff::Backoff;
use orlop_client::discovery::discover;
use orlop_client::{Client, Patch, WriteOptions};
use serde_json::{Value, json};

const RETRY: Backoff = Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(10) };
const MANAGER: &str = "orlop";

/// Cluster DNS at its address, answered by this node's name server.
pub fn dns(cluster_ip: IpAddr, server: IpAddr) -> Vec<Value> {
    let labels =
        json!({"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"});
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol});
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIP": cluster_ip, "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {
            "kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "orlop"}},
        "endpoints": [{"addresses": [server], "conditions": {"ready": true}}],
        "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")],
    });
    vec![service, slice]
}

/// Applies the objects, again until the server takes them: it may be starting.
pub async fn keep(client: Client, objects: Vec<Value>) {
    let mut failures = 0;
    loop {
        match apply(&client, &objects).await {
            Ok(()) => return,
            Err(error) => {
                failures += 1;
                tracing::debug!(error = orlop_base::error::chain(&error), "cluster services are not there yet");
                tokio::time::sleep(RETRY.delay(failures)).await;
            }
        }
    }
}

async fn apply(client: &Client, objects: &[Value]) -> orlop_client::Result<()> {
    let served = discover(client).await?.resources;
    for object in objects {
        let is_of = |s: &&orlop_client::discovery::Served| {
            s.resource.kind == object["kind"].as_str().unwrap_or_default()
                && object["apiVersion"] == s.resource.api_version()
        };
        let Some(found) = served.iter().find(is_of) else { continue };
        let (name, namespace) = (orlop_api::meta::name(object), orlop_api::meta::namespace(object));
        let options = WriteOptions { field_manager: MANAGER.into(), ..WriteOptions::default() };
        let patch = Patch::Apply { object: object.clone(), force: true };
        client.dynamic(&found.resource, namespace).patch_with(name, "", &patch, &options).await?;
    }
    Ok(())
}
