//! Nodes that are there, and their heartbeats.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use http::Method;
use orlop_base::clock::{rfc3339, rfc3339_micro};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::bench::connection::{Call, Connection};
use crate::bench::flood::flood;
use crate::bench::rival::side::Side;

const CLIENTS: usize = 32;
/// As the kubelet: a quarter of the 40 s that a lease lasts.
const RENEW_EVERY: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u32 = 40;
/// One alone would fall behind when the server is busy.
const RENEWERS: usize = 4;
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// Nodes to be: each with 4 CPUs, 32 GiB and room for 110 pods, as scheduler_perf's.
#[derive(Clone, Default, Deserialize)]
pub struct Nodes {
    pub count: usize,
    /// Labels; of several values each node gets one in turn.
    #[serde(default)]
    pub labels: BTreeMap<String, Vec<String>>,
    /// One more with this name, which has room for 90,000 pods.
    pub large: Option<String>,
}

pub fn node_name(n: usize) -> String {
    format!("node-{n:05}")
}

impl Nodes {
    pub async fn register(&self, side: &Side) -> Result<()> {
        let mut objects: Vec<Value> = (0..self.count).map(|n| self.node(n)).collect();
        objects.extend(self.large.iter().map(|name| object(name, json!({}), 90_000)));
        let names: Vec<String> =
            objects.iter().filter_map(|o| Some(o["metadata"]["name"].as_str()?.to_owned())).collect();
        let count = objects.len();
        let create = move |n: usize| Call::post("/api/v1/nodes", objects[n].to_string().into());
        let (clients, _) = flood(side.clients(CLIENTS.min(count)).await?, count, create).await?;
        // Admission taints a new node until a controller has seen that it is ready; where none runs it would stay so.
        let untaint = move |n: usize| {
            let call = Call::with_body(
                Method::PATCH,
                format!("/api/v1/nodes/{}", names[n]),
                r#"{"spec":{"taints":null}}"#.into(),
            );
            Call { content_type: "application/merge-patch+json", ..call }
        };
        flood(clients, count, untaint).await?;
        Ok(())
    }

    fn node(&self, n: usize) -> Value {
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        for (label, values) in &self.labels {
            labels.insert(label, &values[n % values.len()]);
        }
        object(&node_name(n), json!(labels), 110)
    }

    pub async fn leases(&self, side: &Side) -> Result<Leases> {
        let create = |n: usize| Call::post(LEASES, lease(n, None).to_string().into());
        flood(side.clients(CLIENTS.min(self.count)).await?, self.count, create).await?;
        Ok(Leases { count: self.count, clients: side.clients(RENEWERS).await? })
    }
}

fn object(name: &str, mut labels: Value, pods: u32) -> Value {
    labels["kubernetes.io/hostname"] = name.into();
    let room = json!({"cpu": "4", "memory": "32Gi", "pods": pods.to_string()});
    let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
        "lastHeartbeatTime": rfc3339(), "lastTransitionTime": rfc3339()});
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        "status": {"capacity": room, "allocatable": room, "conditions": [ready]},
    })
}

fn lease(n: usize, revision: Option<&str>) -> Value {
    let name = node_name(n);
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease", "resourceVersion": revision},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": rfc3339_micro()},
    })
}

pub struct Leases {
    count: usize,
    clients: Vec<Connection>,
}

impl Leases {
    /// For ever, each at its time; never more than what is due at once.
    pub async fn renew(self) -> Result<()> {
        let renewers = self.clients.len();
        let shares = self.clients.into_iter().enumerate();
        try_join_all(shares.map(|(first, client)| renew_some(client, (first..self.count).step_by(renewers).collect())))
            .await
            .map(drop)
    }
}

async fn renew_some(mut client: Connection, nodes: Vec<usize>) -> Result<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    let mut revisions: Vec<Option<String>> = vec![None; nodes.len()];
    let mut due = tokio::time::interval(RENEW_EVERY / nodes.len() as u32);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        for (n, revision) in nodes.iter().zip(&mut revisions) {
            due.tick().await;
            let path = format!("{LEASES}/{}", node_name(*n));
            let call = match revision {
                Some(revision) => Call::with_body(Method::PUT, path, lease(*n, Some(revision)).to_string().into()),
                None => Call::get(path),
            };
            let answer: Value = serde_json::from_slice(&client.fetch(call).await?)?;
            *revision = answer["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        }
    }
}
