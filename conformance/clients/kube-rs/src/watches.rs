//! Watches: a list and what follows, streamed lists, and a store that follows.

use std::pin::pin;

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::NAMESPACE;
use crate::tap::Tap;

pub async fn judge(client: &Client, tap: &mut Tap) {
    let lists = watcher::Config::default;
    tap.step("raw watch from a resource version", raw(client)).await;
    tap.step("watcher", watched(client, lists(), "listed")).await;
    tap.step("watcher with pages", watched(client, lists().page_size(1), "paged")).await;
    tap.step("watcher with streamed lists", watched(client, lists().streaming_lists(), "streamed")).await;
    tap.step("metadata watcher", metadata(client)).await;
    tap.step("reflector keeps a store", reflected(client)).await;
}

fn secrets(client: &Client) -> Api<Secret> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn create(client: &Client, name: &str) -> Result<()> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "b"}});
    secrets(client).create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    Ok(())
}

async fn change(client: &Client, name: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"stringData": {"a": "c"}}));
    secrets(client).patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn remove(client: &Client, name: &str) -> Result<()> {
    secrets(client).delete(name, &DeleteParams::default()).await?;
    Ok(())
}

async fn raw(client: &Client) -> Result<()> {
    let version = secrets(client).list(&Default::default()).await?.metadata.resource_version.context("no version")?;
    create(client, "raw").await?;
    change(client, "raw").await?;
    remove(client, "raw").await?;
    let mut events = pin!(secrets(client).watch(&WatchParams::default().timeout(30), &version).await?);
    let mut seen = Vec::new();
    while let Some(event) = events.try_next().await? {
        seen.push(match event {
            WatchEvent::Added(secret) => format!("+{}", secret.name_any()),
            WatchEvent::Modified(secret) => format!("~{}", secret.name_any()),
            WatchEvent::Deleted(secret) => format!("-{}", secret.name_any()),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(error) => bail!("{error:?}"),
        });
        if seen.len() == 3 {
            break;
        }
    }
    ensure!(seen == ["+raw", "~raw", "-raw"], "{seen:?}");
    Ok(())
}

/// Two that are there, then one that is changed and removed.
async fn watched(client: &Client, config: watcher::Config, name: &str) -> Result<()> {
    let other = format!("{name}-too");
    create(client, name).await?;
    create(client, &other).await?;
    let config = config.fields("type=Opaque");
    let mut events = pin!(watcher(secrets(client), config));
    let mut there = Vec::new();
    loop {
        match events.try_next().await?.context("the watch ended")? {
            watcher::Event::InitApply(secret) => there.push(secret.name_any()),
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    ensure!(there == [name, &other], "{there:?}");
    change(client, name).await?;
    remove(client, &other).await?;
    remove(client, name).await?;
    let mut after = Vec::new();
    while after.len() < 3 {
        after.push(match events.try_next().await?.context("the watch ended")? {
            watcher::Event::Apply(secret) => format!("~{}", secret.name_any()),
            watcher::Event::Delete(secret) => format!("-{}", secret.name_any()),
            event => bail!("{event:?}"),
        });
    }
    ensure!(after == [format!("~{name}"), format!("-{other}"), format!("-{name}")], "{after:?}");
    Ok(())
}

async fn metadata(client: &Client) -> Result<()> {
    create(client, "partial").await?;
    let partial: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), NAMESPACE);
    let mut applied = pin!(watcher(partial, watcher::Config::default()).applied_objects());
    let first = applied.try_next().await?.context("the watch ended")?;
    ensure!(first.name_any() == "partial", "{first:?}");
    remove(client, "partial").await
}

async fn reflected(client: &Client) -> Result<()> {
    let (store, writer) = reflector::store();
    let mut events = pin!(reflector(writer, watcher(secrets(client), watcher::Config::default())));
    let reference = ObjectRef::<Secret>::new("kept").within(NAMESPACE);
    create(client, "kept").await?;
    while !matches!(events.try_next().await?.context("the watch ended")?, watcher::Event::InitDone) {}
    ensure!(store.get(&reference).is_some(), "not in the store of {}", store.len());
    remove(client, "kept").await?;
    while !matches!(events.try_next().await?.context("the watch ended")?, watcher::Event::Delete(_)) {}
    ensure!(store.get(&reference).is_none(), "still in the store");
    Ok(())
}
