//! `logs`

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use http_body_util::BodyExt;
use orlop_client::{ListOptions, Resource};
use serde_json::Value;

use super::wait::duration;
use crate::print::Printer;
use crate::resources::one;
use crate::session::{Session, with_query};

#[derive(Args, Debug)]
pub struct Arguments {
    /// POD or TYPE/NAME
    target: Option<String>,
    /// Container; the pod's default one when not given
    container_word: Option<String>,
    /// Container
    #[arg(short, long)]
    container: Option<String>,
    /// Every container of the pod
    #[arg(long)]
    all_containers: bool,
    /// Pods with these labels
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    /// Go on as more is written
    #[arg(short, long)]
    follow: bool,
    /// Of the container before the last restart
    #[arg(short, long)]
    previous: bool,
    /// Only the last lines
    #[arg(long)]
    tail: Option<i64>,
    /// Only newer than this: 5s, 2m, 3h
    #[arg(long, value_parser = duration)]
    since: Option<std::time::Duration>,
    /// Only after this time (RFC 3339)
    #[arg(long)]
    since_time: Option<String>,
    /// With the time of each line
    #[arg(long)]
    timestamps: bool,
    /// At most this many bytes
    #[arg(long)]
    limit_bytes: Option<i64>,
    /// With the name of pod and container before each line
    #[arg(long)]
    prefix: bool,
}

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    let pods = session.catalogue().await?.find("pods")?.resource.clone();
    let chosen = pods_of(session, &arguments, &pods).await?;
    if chosen.is_empty() {
        bail!("no pods found");
    }
    let container = arguments.container.clone().or_else(|| arguments.container_word.clone());
    for pod in &chosen {
        let containers: Vec<Option<String>> = if arguments.all_containers {
            containers(pod).into_iter().map(Some).collect()
        } else {
            vec![container.clone()]
        };
        for container in containers {
            show(session, &arguments, &pods, pod, container.as_deref()).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The pods meant: one by name, those of a workload (the first one), those with the labels.
async fn pods_of(session: &Session, arguments: &Arguments, pods: &Resource) -> Result<Vec<Value>> {
    let api = session.api(pods, &session.namespace);
    if !arguments.selector.is_empty() {
        return Ok(api
            .list_all(&ListOptions::labels(&arguments.selector))
            .await?
            .items
            .into_iter()
            .map(|p| p.0)
            .collect());
    }
    let Some(target) = &arguments.target else { bail!("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'") };
    if !target.contains('/') {
        return Ok(vec![api.get(target).await?.0]);
    }
    let target = one(session.catalogue().await?, target)?;
    let name = target.name.clone().unwrap_or_default();
    let object = session.api(&target.resource, &session.namespace).get(&name).await?.0;
    if target.resource == *pods {
        return Ok(vec![object]);
    }
    let selector = labels_of(&object)?;
    let mut found: Vec<Value> =
        api.list_all(&ListOptions::labels(selector)).await?.items.into_iter().map(|p| p.0).collect();
    if found.len() > 1 {
        found.truncate(1);
        Printer.note(format!("Found several pods, using pod/{}", orlop_api::meta::name(&found[0])));
    }
    Ok(found)
}

/// The pods a workload selects, as a label query.
fn labels_of(object: &Value) -> Result<String> {
    let selector = &object["spec"]["selector"];
    let labels = selector["matchLabels"].as_object().or_else(|| selector.as_object());
    let pairs = labels.into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    let text = pairs.collect::<Vec<_>>().join(",");
    if text.is_empty() {
        bail!("cannot get the logs from {}: it selects no pods", object["kind"].as_str().unwrap_or_default())
    }
    Ok(text)
}

fn containers(pod: &Value) -> Vec<String> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let all = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    all.filter_map(|c| c["name"].as_str().map(str::to_owned)).collect()
}

async fn show(
    session: &Session,
    arguments: &Arguments,
    pods: &Resource,
    pod: &Value,
    container: Option<&str>,
) -> Result<()> {
    let number = |n: Option<i64>| n.map(|n| n.to_string()).unwrap_or_default();
    let flag = |on: bool| if on { "true" } else { "" };
    let (name, namespace) = (orlop_api::meta::name(pod), orlop_api::meta::namespace(pod));
    let since = number(arguments.since.map(|d| i64::try_from(d.as_secs().max(1)).unwrap_or(i64::MAX)));
    let (tail, limit) = (number(arguments.tail), number(arguments.limit_bytes));
    let path = with_query(
        &pods.path(namespace, name, "log"),
        &[
            ("container", container.unwrap_or_default()),
            ("follow", flag(arguments.follow)),
            ("previous", flag(arguments.previous)),
            ("timestamps", flag(arguments.timestamps)),
            ("tailLines", &tail),
            ("sinceSeconds", &since),
            ("sinceTime", arguments.since_time.as_deref().unwrap_or_default()),
            ("limitBytes", &limit),
        ],
    );
    let mut body = session.client.stream(http::Method::GET, &path, "text/plain, */*").await?.into_body();
    if arguments.prefix {
        let mut lines = super::get::Lines::new(body);
        while let Some(line) = lines.next().await? {
            Printer.bytes(&[format!("[pod/{name}/{}] ", container.unwrap_or_default()).as_bytes(), &line[..]].concat());
        }
        return Ok(());
    }
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|e| anyhow::anyhow!("{e}"))?.into_data() {
            Printer.bytes(&data);
        }
    }
    Ok(())
}
