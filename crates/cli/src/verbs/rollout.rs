//! `rollout status`, `rollout undo`, `rollout history`, `rollout restart`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use orlop_client::{ListOptions, Patch, WatchEvent, WatchOptions, WriteOptions};
use serde_json::{Value, json};

use super::selection::{Found, Selectors, find};
use super::wait::duration;
use crate::manifest::Files;
use crate::print::{Columns, Printer};
use crate::session::Session;

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Show the status of the rollout until it is done
    Status {
        #[command(flatten)]
        what: What,
        /// How long to wait; 0s: for ever
        #[arg(long, default_value = "0s", value_parser = duration)]
        timeout: Duration,
    },
    /// Go back to an earlier revision
    Undo {
        #[command(flatten)]
        what: What,
        /// The revision; 0: the one before
        #[arg(long, default_value_t = 0)]
        to_revision: i64,
    },
    /// List earlier revisions
    History {
        #[command(flatten)]
        what: What,
    },
    /// Replace all pods, one by one
    Restart {
        #[command(flatten)]
        what: What,
    },
}

#[derive(Args, Debug)]
struct What {
    /// TYPE NAME or TYPE/NAME
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
}

impl What {
    async fn deployments(&self, session: &Session) -> Result<Vec<Found>> {
        let found = find(session, &self.words, &self.files, &self.selectors, false).await?;
        if found.is_empty() {
            bail!("required resource not specified");
        }
        match found.iter().find(|f| f.target.resource.kind != "Deployment") {
            Some(other) => bail!("no rollouter has been implemented for \"{}\"", other.target.resource.kind),
            None => Ok(found),
        }
    }
}

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    match arguments.action {
        Action::Status { what, timeout } => {
            for deployment in what.deployments(session).await? {
                let done = follow(session, &deployment);
                if timeout.is_zero() {
                    done.await?;
                } else {
                    tokio::time::timeout(timeout, done)
                        .await
                        .map_err(|_| anyhow!("timed out waiting for the condition"))??;
                }
            }
        }
        Action::Undo { what, to_revision } => {
            for deployment in what.deployments(session).await? {
                undo(session, &deployment, to_revision).await?;
            }
        }
        Action::History { what } => {
            for deployment in what.deployments(session).await? {
                history(session, &deployment).await?;
            }
        }
        Action::Restart { what } => {
            for deployment in what.deployments(session).await? {
                let annotations = json!({ RESTARTED_AT: orlop_base::clock::rfc3339() });
                let patch = Patch::Strategic(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}));
                let options = WriteOptions { field_manager: "kubectl-rollout".into(), ..WriteOptions::default() };
                deployment.api(session).patch_with(deployment.name(), "", &patch, &options).await?;
                Printer.line(format!("{} restarted", deployment.display()));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says how far the rollout is at every change, until it is done or has failed.
async fn follow(session: &Session, deployment: &Found) -> Result<()> {
    let api = deployment.api(session);
    let mut last = String::new();
    loop {
        let current = api.get(deployment.name()).await?;
        let mut version = orlop_api::meta::resource_version(&current.0).to_owned();
        if say(&current.0, &mut last)? {
            return Ok(());
        }
        let options = WatchOptions {
            field_selector: format!("metadata.name={}", deployment.name()),
            resource_version: std::mem::take(&mut version),
            ..WatchOptions::default()
        };
        let mut watch = api.watch(&options).await?;
        while let Some(event) = watch.next().await {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    if say(&object.0, &mut last)? {
                        return Ok(());
                    }
                }
                Ok(WatchEvent::Deleted(_)) => bail!("object has been deleted"),
                Ok(WatchEvent::Bookmark { .. }) => {}
                Err(_) => break,
            }
        }
    }
}

fn say(deployment: &Value, last: &mut String) -> Result<bool> {
    let (text, done) = status(deployment)?;
    if text != *last {
        Printer.line(&text);
        *last = text;
    }
    Ok(done)
}

/// kubectl's words for where a Deployment's rollout is, and whether that is the end.
fn status(deployment: &Value) -> Result<(String, bool)> {
    let name = orlop_api::meta::name(deployment);
    let number = |field: &str| deployment["status"][field].as_i64().unwrap_or(0);
    if deployment["metadata"]["generation"].as_i64().unwrap_or(0) > number("observedGeneration") {
        return Ok(("Waiting for deployment spec update to be observed...".into(), false));
    }
    let conditions = deployment["status"]["conditions"].as_array().into_iter().flatten();
    if conditions.clone().any(|c| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded") {
        bail!("deployment \"{name}\" exceeded its progress deadline");
    }
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let (updated, replicas, available) = (number("updatedReplicas"), number("replicas"), number("availableReplicas"));
    let waiting = format!("Waiting for deployment \"{name}\" rollout to finish:");
    Ok(if updated < wanted {
        (format!("{waiting} {updated} out of {wanted} new replicas have been updated..."), false)
    } else if replicas > updated {
        (format!("{waiting} {} old replicas are pending termination...", replicas - updated), false)
    } else if available < updated {
        (format!("{waiting} {available} of {updated} updated replicas are available..."), false)
    } else {
        (format!("deployment \"{name}\" successfully rolled out"), true)
    })
}

/// The Deployment's ReplicaSets by revision, oldest first.
async fn revisions(session: &Session, deployment: &Found) -> Result<Vec<(i64, Value)>> {
    let resource = session.catalogue().await?.find("replicasets.apps")?.resource.clone();
    let namespace = orlop_api::meta::namespace(&deployment.object);
    let uid = orlop_api::meta::uid(&deployment.object);
    let sets = session.api(&resource, namespace).list_all(&ListOptions::default()).await?.items;
    let owned = sets.into_iter().filter(|set| {
        let owners = set.0["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        owners.into_iter().any(|o| o["uid"] == uid && o["controller"] == true)
    });
    let mut found: Vec<(i64, Value)> = owned
        .filter_map(|set| {
            let revision = set.0["metadata"]["annotations"][REVISION].as_str()?.parse().ok()?;
            Some((revision, set.0))
        })
        .collect();
    found.sort_by_key(|(revision, _)| *revision);
    Ok(found)
}

async fn undo(session: &Session, deployment: &Found, to_revision: i64) -> Result<()> {
    if deployment.object["spec"]["paused"] == true {
        bail!("cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again");
    }
    let revisions = revisions(session, deployment).await?;
    let chosen = if to_revision == 0 {
        revisions
            .iter()
            .rev()
            .nth(1)
            .ok_or_else(|| anyhow!("no rollout history found for deployment \"{}\"", deployment.name()))?
    } else {
        let wanted = revisions.iter().find(|(revision, _)| *revision == to_revision);
        wanted.ok_or_else(|| anyhow!("unable to find specified revision {to_revision} in history"))?
    };
    let mut template = chosen.1["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    if template == deployment.object["spec"]["template"] {
        Printer.line(format!(
            "{} skipped rollback (current template already matches revision {})",
            deployment.display(),
            chosen.0
        ));
        return Ok(());
    }
    let patch = Patch::Json(json!([{ "op": "replace", "path": "/spec/template", "value": template }]));
    let options = WriteOptions { field_manager: "kubectl-rollout".into(), ..WriteOptions::default() };
    deployment.api(session).patch_with(deployment.name(), "", &patch, &options).await?;
    Printer.line(format!("{} rolled back", deployment.display()));
    Ok(())
}

async fn history(session: &Session, deployment: &Found) -> Result<()> {
    let rows = revisions(session, deployment).await?.into_iter().map(|(revision, set)| {
        let cause = set["metadata"]["annotations"][CHANGE_CAUSE].as_str().unwrap_or("<none>").to_owned();
        vec![revision.to_string(), cause]
    });
    let table = Columns { heads: vec!["Revision".into(), "Change-Cause".into()], rows: rows.collect() };
    Printer.line(deployment.display());
    Printer.bytes(table.render(true).as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_a_rollout_are_told_in_kubectls_words() {
        let deployment = |generation: i64, status: Value| json!({"metadata": {"name": "web", "generation": generation}, "spec": {"replicas": 3}, "status": status});
        let told = |status: Value| super::status(&deployment(1, status)).unwrap();
        let prefix = "Waiting for deployment \"web\" rollout to finish:";
        assert_eq!(told(json!({})).0, "Waiting for deployment spec update to be observed...");
        assert_eq!(
            told(json!({"observedGeneration": 1, "updatedReplicas": 1})).0,
            format!("{prefix} 1 out of 3 new replicas have been updated...")
        );
        assert_eq!(
            told(json!({"observedGeneration": 1, "updatedReplicas": 3, "replicas": 4})).0,
            format!("{prefix} 1 old replicas are pending termination...")
        );
        assert_eq!(
            told(json!({"observedGeneration": 1, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2})).0,
            format!("{prefix} 2 of 3 updated replicas are available...")
        );
        let done = told(json!({"observedGeneration": 1, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}));
        assert_eq!(done, ("deployment \"web\" successfully rolled out".into(), true));
        let failed = json!({"observedGeneration": 1, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]});
        assert!(super::status(&deployment(1, failed)).is_err());
    }
}
