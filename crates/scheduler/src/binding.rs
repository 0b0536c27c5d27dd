//! Binding a pod's claims on the way to its node, and waiting until they are.

use std::time::Duration;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{PersistentVolume, PersistentVolumeClaim};
use orlop_api::volumes::{self, SELECTED_NODE, has_annotation};
use orlop_client::cache::{Cache, Snapshot as Objects};
use orlop_client::{Client, Patch};
use serde_json::json;

use crate::plugins::volume_binding::Choice;
use crate::pod::PodInfo;

/// How long volumes are waited for (upstream's `bindTimeoutSeconds`).
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub struct VolumeCaches {
    pub claims: Cache<PersistentVolumeClaim>,
    pub volumes: Cache<PersistentVolume>,
}

/// Why a pod's volumes were not bound.
#[derive(Debug, thiserror::Error)]
pub enum BindVolumesError {
    #[error("binding volumes: {0}")]
    Request(#[from] orlop_client::Error),
    #[error("binding volumes: {0} is gone")]
    Gone(String),
    #[error("binding volumes: provisioning failed for PVC {0:?}")]
    Provisioning(String),
    #[error("binding volumes: context deadline exceeded")]
    Timeout,
}

/// Does what was chosen, and returns once every claim is bound. Without choices, at once.
pub async fn bind_volumes(
    client: &Client,
    caches: &VolumeCaches,
    pod: &PodInfo,
    node: &str,
    choices: &[Choice],
) -> Result<(), BindVolumesError> {
    let namespace = pod.pod.namespace();
    for choice in choices {
        match choice {
            Choice::Bind { claim, volume } => {
                let gone = |what: &str| BindVolumesError::Gone(what.to_owned());
                let claim = caches.claims.get(namespace, claim).ok_or_else(|| gone(claim))?;
                let volume = caches.volumes.get("", volume).ok_or_else(|| gone(volume))?;
                let bound = volumes::bound_to(&volume, &claim);
                if bound != *volume {
                    client.all::<PersistentVolume>().update(&bound).await?;
                }
            }
            Choice::Provision { claim } => {
                let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
                let patched = client.api::<PersistentVolumeClaim>(namespace).patch(claim, &Patch::Merge(patch)).await?;
                // Who looks at an older claim would take it for one that could not be served.
                caches.claims.reached(patched.resource_version().parse().unwrap_or(0)).await;
            }
        }
    }
    if choices.is_empty() {
        return Ok(());
    }
    let is_over = |claims: &Objects<PersistentVolumeClaim>| {
        let states: Vec<State> = choices.iter().map(|choice| State::of(claims, namespace, choice)).collect();
        states.iter().all(|state| *state == State::Bound) || states.contains(&State::Failed)
    };
    let waited = tokio::time::timeout(PATIENCE, caches.claims.wait_until(is_over)).await;
    waited.map_err(|_| BindVolumesError::Timeout)?;
    let claims = caches.claims.snapshot();
    match choices.iter().find(|choice| State::of(&claims, namespace, choice) == State::Failed) {
        Some(Choice::Bind { claim, .. } | Choice::Provision { claim }) => {
            Err(BindVolumesError::Provisioning(format!("{namespace}/{claim}")))
        }
        None => Ok(()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Bound,
    Failed,
}

impl State {
    fn of(claims: &Objects<PersistentVolumeClaim>, namespace: &str, choice: &Choice) -> Self {
        let (Choice::Bind { claim, .. } | Choice::Provision { claim }) = choice;
        match claims.get(namespace, claim) {
            None => Self::Failed,
            Some(claim) if volumes::is_fully_bound(claim) => Self::Bound,
            // Who provisions takes the node back when it cannot be served.
            Some(claim) if matches!(choice, Choice::Provision { .. }) && !has_annotation(&**claim, SELECTED_NODE) => {
                Self::Failed
            }
            Some(_) => Self::Waiting,
        }
    }
}
