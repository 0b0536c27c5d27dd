//! Objects: made, read, changed, listed, removed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use kube::{Api, Client, Discovery, Error, ResourceExt};
use serde_json::json;

use crate::NAMESPACE;
use crate::tap::Tap;

pub async fn judge(client: &Client, tap: &mut Tap) {
    tap.step("version and discovery", discovery(client)).await;
    tap.step("create read and list in pages", create_and_list(client)).await;
    tap.step("errors are API errors", errors(client)).await;
    tap.step("patches of every type", patches(client)).await;
    tap.step("server side apply with owners", apply(client)).await;
    tap.step("replacement of a stale object is refused", replacement(client)).await;
    tap.step("metadata alone", metadata(client)).await;
    tap.step("dynamic objects", dynamic(client)).await;
    tap.step("scale", scale(client)).await;
    tap.step("access review", review(client)).await;
    tap.step("delete collection", delete_collection(client)).await;
}

pub async fn leave(client: &Client) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let uid = namespaces.get(NAMESPACE).await?.uid().context("no uid")?;
    namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
    await_condition(namespaces, NAMESPACE, is_deleted(&uid)).await?;
    Ok(())
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn discovery(client: &Client) -> Result<()> {
    let version = client.apiserver_version().await?;
    ensure!(version.git_version.starts_with("v1.37"), "{version:?}");
    let discovery = Discovery::new(client.clone()).run().await?;
    let kind = GroupVersionKind::gvk("apps", "v1", "Deployment");
    let (_, capabilities) = discovery.resolve_gvk(&kind).context("no Deployments")?;
    ensure!(
        capabilities
            .subresources
            .iter()
            .any(|(resource, _)| resource.plural == "deployments/scale" || resource.plural == "scale"),
        "{:?}",
        capabilities.subresources
    );
    Ok(())
}

async fn create_and_list(client: &Client) -> Result<()> {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(NAMESPACE.into()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    for number in 0..5 {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("page-{number}")),
                labels: Some([("book".to_owned(), "one".to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some([("n".to_owned(), number.to_string())].into()),
            ..ConfigMap::default()
        };
        maps(client).create(&PostParams::default(), &map).await?;
    }
    let mut names = Vec::new();
    let mut params = ListParams::default().labels("book=one").limit(2);
    loop {
        let page = maps(client).list(&params).await?;
        names.extend(page.items.iter().map(ResourceExt::name_any));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    ensure!(names == ["page-0", "page-1", "page-2", "page-3", "page-4"], "{names:?}");
    Ok(())
}

async fn errors(client: &Client) -> Result<()> {
    ensure!(maps(client).get_opt("none").await?.is_none(), "it is there");
    let taken = maps(client).create(&PostParams::default(), &maps(client).get("page-0").await?.without_version()).await;
    let Err(Error::Api(status)) = taken else { anyhow::bail!("{taken:?}") };
    ensure!((status.code, status.reason.as_str()) == (409, "AlreadyExists"), "{status:?}");
    Ok(())
}

trait WithoutVersion {
    fn without_version(self) -> Self;
}

impl WithoutVersion for ConfigMap {
    fn without_version(mut self) -> Self {
        self.metadata.resource_version = None;
        self
    }
}

async fn patches(client: &Client) -> Result<()> {
    let params = PatchParams::default();
    let merge = json!({"data": {"a": "1", "n": null}});
    maps(client).patch("page-0", &params, &Patch::Merge(merge)).await?;
    maps(client).patch("page-0", &params, &Patch::Strategic(json!({"data": {"b": "2"}}))).await?;
    let changed = maps(client).get("page-0").await?.data.unwrap_or_default();
    let wanted: BTreeMap<String, String> = [("a".into(), "1".into()), ("b".into(), "2".into())].into();
    ensure!(changed == wanted, "{changed:?}");
    Ok(())
}

async fn apply(client: &Client) -> Result<()> {
    let wish = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"key": value}});
    let (left, right) = (PatchParams::apply("left"), PatchParams::apply("right"));
    maps(client).patch("applied", &left, &Patch::Apply(wish("l"))).await?;
    let refused = maps(client).patch("applied", &right, &Patch::Apply(wish("r"))).await;
    let Err(Error::Api(status)) = refused else { anyhow::bail!("{refused:?}") };
    ensure!(status.code == 409 && status.message.contains("conflict with \"left\""), "{status:?}");
    let applied = maps(client).patch("applied", &right.force(), &Patch::Apply(wish("r"))).await?;
    let managers: Vec<_> = applied.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
    ensure!(managers == ["right"], "{managers:?}");
    Ok(())
}

async fn replacement(client: &Client) -> Result<()> {
    let stale = maps(client).get("page-1").await?;
    let mut fresh = stale.clone();
    fresh.data = Some([("n".to_owned(), "new".to_owned())].into());
    maps(client).replace("page-1", &PostParams::default(), &fresh).await?;
    let refused = maps(client).replace("page-1", &PostParams::default(), &stale).await;
    ensure!(matches!(&refused, Err(Error::Api(status)) if status.reason == "Conflict"), "{refused:?}");
    Ok(())
}

async fn metadata(client: &Client) -> Result<()> {
    let listed = maps(client).list_metadata(&ListParams::default().labels("book=one")).await?;
    ensure!(listed.items.len() == 5, "{} items", listed.items.len());
    let one = maps(client).get_metadata("page-2").await?;
    ensure!(one.types.as_ref().is_some_and(|types| types.kind == "PartialObjectMetadata"), "{:?}", one.types);
    Ok(())
}

async fn dynamic(client: &Client) -> Result<()> {
    let kind = GroupVersionKind::gvk("batch", "v1", "CronJob");
    let (resource, _) = kube::discovery::pinned_kind(client, &kind).await?;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    let containers = json!([{"name": "a", "image": "b"}]);
    let template = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}});
    let object = DynamicObject::new("nightly", &resource)
        .data(json!({"spec": {"schedule": "0 4 * * *", "jobTemplate": template}}));
    let created = api.create(&PostParams::default(), &object).await?;
    ensure!(created.data["spec"]["concurrencyPolicy"] == "Allow", "{}", created.data);
    Ok(())
}

async fn scale(client: &Client) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let containers = json!([{"name": "a", "image": "b"}]);
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "scaled"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template},
    });
    api.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    ensure!(api.get_scale("scaled").await?.spec.and_then(|spec| spec.replicas).unwrap_or_default() == 0, "not 0");
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}, "metadata": {"annotations": null}}));
    api.patch_scale("scaled", &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn review(client: &Client) -> Result<()> {
    let attributes = ResourceAttributes {
        verb: Some("create".into()),
        resource: Some("pods".into()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    ensure!(answer.status.as_ref().is_some_and(|status| status.allowed), "{answer:?}");
    Ok(())
}

async fn delete_collection(client: &Client) -> Result<()> {
    let of_book = ListParams::default().labels("book=one");
    maps(client).delete_collection(&DeleteParams::default(), &of_book).await?;
    ensure!(maps(client).list(&of_book).await?.items.is_empty(), "some are left");
    Ok(())
}
