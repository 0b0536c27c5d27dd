//! Whether the priority level that a FlowSchema names is there: its condition `Dangling`
//! (`k8s.io/apiserver/pkg/util/flowcontrol/apf_controller.go`).

use std::sync::Arc;

use http::Method;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_store::{Snapshot, StoreError};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{RETRY, send_as};
use crate::{Component, Server};

const SCHEMAS: &str = "flowcontrol.apiserver.k8s.io/flowschemas";
const LEVELS: &str = "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations";
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";

impl Server {
    /// Keeps the condition of every FlowSchema until `stop`.
    pub(super) async fn mark_dangling(self: Arc<Self>, stop: CancellationToken) {
        let me = self.apiserver();
        let mut failures = 0;
        loop {
            let revision = self.store.revision();
            let watches = (self.store.watch(SCHEMAS, None, revision), self.store.watch(LEVELS, None, revision));
            let (Ok(mut schemas), Ok(mut levels)) = watches else { return };
            let change = async {
                if let Err(error) = mark_all(&me, &self.store.snapshot()).await {
                    tracing::debug!(%error, "telling of a FlowSchema's level failed");
                    failures += 1;
                    tokio::time::sleep(RETRY.delay(failures)).await;
                    return true;
                }
                failures = 0;
                let event = tokio::select! {
                    biased;
                    event = schemas.next() => event,
                    event = levels.next() => event,
                };
                !matches!(event, Err(StoreError::Closed))
            };
            if stop.run_until_cancelled(change).await != Some(true) {
                return;
            }
        }
    }
}

async fn mark_all(me: &Component, snapshot: &Snapshot) -> Result<(), StatusError> {
    for entry in snapshot.range(SCHEMAS, None, None) {
        let schema: Value = serde_json::from_slice(&entry.json).map_err(StatusError::internal)?;
        let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default();
        let (status, reason, so) = match snapshot.get(LEVELS, "", level) {
            Some(_) => ("False", "Found", "and it exists"),
            None => ("True", "NotFound", "but there is no such object"),
        };
        let message = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {so}");
        let stands = schema["status"]["conditions"].as_array().into_iter().flatten().any(|condition| {
            condition["type"] == "Dangling"
                && condition["status"] == status
                && condition["reason"] == reason
                && condition["message"] == *message
        });
        if stands {
            continue;
        }
        let name = meta::name(&schema);
        let path = format!("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/{name}/status");
        let path = format!("{path}?force=true&fieldManager={MANAGER}");
        let marked = json!({
            "kind": "FlowSchema", "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "metadata": {"name": name},
            "status": {"conditions": [{
                "type": "Dangling", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": orlop_base::clock::rfc3339(),
            }]},
        });
        match send_as(me, Method::PATCH, "application/apply-patch+yaml", &path, &marked).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
