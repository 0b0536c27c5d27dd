//! A controller of a custom resource that the derive macro made.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::wait::{Condition, await_condition, conditions};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::NAMESPACE;
use crate::tap::Tap;

const NAME: &str = "orlop";
const FINALIZER: &str = "kube-rs.example.com/cargo";

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "kube-rs.example.com", version = "v1", kind = "Deck", namespaced, status = "DeckStatus")]
#[kube(shortname = "dk", printcolumn(name = "Cargo", type_ = "string", json_path = ".spec.cargo"))]
#[kube(scale(spec_replicas_path = ".spec.barrels", status_replicas_path = ".status.barrels"))]
pub struct DeckSpec {
    cargo: String,
    #[serde(default = "one")]
    barrels: i32,
}

fn one() -> i32 {
    1
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub struct DeckStatus {
    barrels: i32,
    observed: Option<i64>,
}

pub async fn judge(client: &Client, tap: &mut Tap) {
    tap.step("derived CRD is established", establish(client)).await;
    tap.step("custom resource is created and checked", created(client)).await;
    let controller = tokio::spawn(control(client.clone()));
    tap.step("controller reconciles status and children", reconciled(client)).await;
    tap.step("controller restores a child", restored(client)).await;
    tap.step("scale of a custom resource", scaled(client)).await;
    tap.step("finalizer is run before an object goes", finalized(client)).await;
    controller.abort();
    tap.step("CRD goes with its objects", gone(client)).await;
}

fn decks(client: &Client) -> Api<Deck> {
    Api::namespaced(client.clone(), NAMESPACE)
}

fn children(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn establish(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = Deck::crd();
    let apply = PatchParams::apply("kube-rs").force();
    definitions.patch(Deck::crd_name(), &apply, &Patch::Apply(&definition)).await?;
    await_condition(definitions, Deck::crd_name(), conditions::is_crd_established()).await?;
    Ok(())
}

async fn created(client: &Client) -> Result<()> {
    let deck: Deck = serde_json::from_value(json!({
        "apiVersion": "kube-rs.example.com/v1", "kind": "Deck", "metadata": {"name": NAME}, "spec": {"cargo": "rum"},
    }))?;
    let created = decks(client).create(&PostParams::default(), &deck).await?;
    ensure!(created.spec.barrels == 1, "{:?}", created.spec);
    let wrong = Patch::Merge(json!({"spec": {"barrels": "many"}}));
    let refused = decks(client).patch(NAME, &PatchParams::default(), &wrong).await;
    ensure!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 422), "{refused:?}");
    Ok(())
}

/// Until it is dropped.
async fn control(client: Client) {
    let controller = Controller::new(decks(&client), watcher::Config::default());
    let controller = controller.owns(children(&client), watcher::Config::default());
    let policy =
        |_: Arc<Deck>, _: &kube::runtime::finalizer::Error<kube::Error>, _| Action::requeue(Duration::from_millis(100));
    controller.run(reconcile, policy, Arc::new(client)).for_each(|_| async {}).await;
}

async fn reconcile(
    deck: Arc<Deck>,
    client: Arc<Client>,
) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
    finalizer(&decks(&client), FINALIZER, deck, |event| async {
        match event {
            Event::Apply(deck) => apply(&client, &deck).await,
            Event::Cleanup(_) => Ok(Action::await_change()),
        }
    })
    .await
}

async fn apply(client: &Client, deck: &Deck) -> Result<Action, kube::Error> {
    let params = PatchParams::apply("deck-controller").force();
    let child = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": deck.name_any(), "ownerReferences": [deck.controller_owner_ref(&())]},
        "data": {"cargo": deck.spec.cargo},
    });
    children(client).patch(&deck.name_any(), &params, &Patch::Apply(child)).await?;
    let status = json!({
        "apiVersion": "kube-rs.example.com/v1", "kind": "Deck",
        "status": {"barrels": deck.spec.barrels, "observed": deck.meta().generation},
    });
    decks(client).patch_status(&deck.name_any(), &params, &Patch::Apply(status)).await?;
    Ok(Action::await_change())
}

/// The controller has seen what is wished for.
fn observed(barrels: i32) -> impl Condition<Deck> {
    move |deck: Option<&Deck>| {
        deck.is_some_and(|deck| {
            let status = deck.status.clone().unwrap_or_default();
            status.barrels == barrels && status.observed == deck.meta().generation
        })
    }
}

async fn reconciled(client: &Client) -> Result<()> {
    await_condition(decks(client), NAME, observed(1)).await?;
    let child = children(client).get(NAME).await?;
    ensure!(child.data.as_ref().is_some_and(|data| data["cargo"] == "rum"), "{child:?}");
    decks(client).patch(NAME, &PatchParams::default(), &Patch::Merge(json!({"spec": {"barrels": 2}}))).await?;
    await_condition(decks(client), NAME, observed(2)).await?;
    Ok(())
}

async fn restored(client: &Client) -> Result<()> {
    let uid = children(client).get(NAME).await?.uid().context("no uid")?;
    children(client).delete(NAME, &DeleteParams::default()).await?;
    let another = |child: Option<&ConfigMap>| child.is_some_and(|child| child.uid().as_ref() != Some(&uid));
    await_condition(children(client), NAME, another).await?;
    Ok(())
}

async fn scaled(client: &Client) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    decks(client).patch_scale(NAME, &PatchParams::default(), &patch).await?;
    await_condition(decks(client), NAME, observed(5)).await?;
    let scale = decks(client).get_scale(NAME).await?;
    ensure!(scale.status.as_ref().is_some_and(|status| status.replicas == 5), "{scale:?}");
    Ok(())
}

async fn finalized(client: &Client) -> Result<()> {
    let deck = decks(client).get(NAME).await?;
    ensure!(deck.finalizers() == [FINALIZER], "{:?}", deck.finalizers());
    let (uid, child) = (deck.uid().context("no uid")?, children(client).get(NAME).await?.uid().context("no uid")?);
    decks(client).delete(NAME, &DeleteParams::foreground()).await?;
    await_condition(decks(client), NAME, conditions::is_deleted(&uid)).await?;
    await_condition(children(client), NAME, conditions::is_deleted(&child)).await?;
    Ok(())
}

async fn gone(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let uid = definitions.get(Deck::crd_name()).await?.uid().context("no uid")?;
    definitions.delete(Deck::crd_name(), &DeleteParams::default()).await?;
    await_condition(definitions, Deck::crd_name(), conditions::is_deleted(&uid)).await?;
    let listed = decks(client).list(&ListParams::default()).await;
    ensure!(matches!(&listed, Err(kube::Error::Api(status)) if status.code == 404), "{listed:?}");
    Ok(())
}
