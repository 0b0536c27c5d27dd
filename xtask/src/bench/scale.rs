//! A large cluster: many kinds, objects and namespaces, and the server started anew over them.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Value, json};

use super::cluster::{Cluster, Role};
use super::connection::{Call, Connection, Protocol};
use super::flood::flood;
use super::pods::settle;
use super::process::megabytes;
use super::report::{Goal, Row};

const DEFINITIONS: usize = 2000;
/// Providers of one cloud have about so many groups.
const GROUPS: usize = 200;
const OBJECTS: usize = 100_000;
const NAMESPACES: usize = 10_000;
const CLIENTS: usize = 32;
const STARTS: usize = 3;
const ASKED: usize = 21;
/// What kubectl asks for.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const WHAT: &str = "2,000 CRDs, 100,000 objects of them, 10,000 namespaces";

pub async fn measure(orlop: &Path) -> Result<Vec<Row>> {
    let mut cluster = Cluster::ready(orlop, Role::Plane).await?;
    let took = fill(&cluster).await?;
    settle().await;
    let mut figures = Figures::default();
    figures.rss.push(rss(&cluster)?);
    for _ in 0..STARTS {
        cluster.restart()?;
        cluster.api_ready().await?;
        figures.ready.push(cluster.started.elapsed().as_secs_f64());
        figures.look(&cluster).await?;
    }
    let row = |what, goal, unit, samples| Row::new(format!("{WHAT}: {what}"), goal, unit, samples);
    Ok(vec![
        row("all made, over HTTPS", Goal::None, "s", vec![took]),
        row("exec to API ready", Goal::AtMost(3.0), "s", figures.ready),
        row("exec to the first answer for a custom kind", Goal::None, "s", figures.served),
        row("discovery, the first time", Goal::None, "ms", figures.first),
        row("discovery, p50", Goal::AtMost(20.0), "ms", figures.discovery),
        row("RSS", Goal::AtMost(1000.0), "MB", figures.rss),
    ])
}

#[derive(Default)]
struct Figures {
    ready: Vec<f64>,
    served: Vec<f64>,
    first: Vec<f64>,
    discovery: Vec<f64>,
    rss: Vec<f64>,
}

impl Figures {
    async fn look(&mut self, cluster: &Cluster) -> Result<()> {
        let mut client = Connection::open(&cluster.config()?).await?;
        let list = format!("{}?limit=1", path(DEFINITIONS - 1, 0));
        client.fetch(Call::get(list)).await?;
        self.served.push(cluster.started.elapsed().as_secs_f64());
        let mut discover = async || {
            let began = Instant::now();
            client.fetch(Call { accept: AGGREGATED, ..Call::get("/apis") }).await?;
            anyhow::Ok(began.elapsed().as_secs_f64() * 1e3)
        };
        self.first.push(discover().await?);
        for _ in 0..ASKED {
            self.discovery.push(discover().await?);
        }
        // Controllers have read everything by then.
        for _ in 0..10 {
            settle().await;
        }
        self.rss.push(rss(cluster)?);
        Ok(())
    }
}

fn rss(cluster: &Cluster) -> Result<f64> {
    megabytes(&format!("/proc/{}/status", cluster.pid()), "VmRSS:")
}

/// Makes all of it; the seconds that took.
async fn fill(cluster: &Cluster) -> Result<f64> {
    let config = cluster.config()?;
    let clients = Connection::several(&config, Protocol::Http1, CLIENTS).await?;
    let began = Instant::now();
    let path_of_namespaces = "/api/v1/namespaces";
    let (clients, _) = flood(clients, NAMESPACES, move |n| Call::post(path_of_namespaces, namespace(n))).await?;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (clients, _) = flood(clients, DEFINITIONS, move |n| Call::post(definitions, definition(n))).await?;
    established(cluster).await?;
    flood(clients, OBJECTS, |n| Call::post(path(n % DEFINITIONS, n), object(n))).await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Waits until the last definition is served, as every one before it then is.
async fn established(cluster: &Cluster) -> Result<()> {
    let mut client = Connection::open(&cluster.config()?).await?;
    let began = Instant::now();
    for n in 0..DEFINITIONS {
        while !client.get(&path(n, 0)).await?.status.is_success() {
            anyhow::ensure!(began.elapsed() < super::cluster::PATIENCE, "definition {n} is not served");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

fn group(definition: usize) -> String {
    format!("g{}.scale.example.com", definition % GROUPS)
}

/// Where objects of a definition are, in the namespace of object `n`.
fn path(definition: usize, n: usize) -> String {
    format!("/apis/{}/v1/namespaces/n{}/things{definition}", group(definition), n % NAMESPACES)
}

fn namespace(n: usize) -> Bytes {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("n{n}")}}).to_string().into()
}

/// With a schema as generators of clouds' kinds make them.
fn definition(n: usize) -> Bytes {
    let names = json!({
        "plural": format!("things{n}"), "singular": format!("thing{n}"), "kind": format!("Thing{n}"),
        "listKind": format!("Thing{n}List"), "categories": ["managed"],
    });
    let version = json!({
        "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Ready", "type": "string", "jsonPath": ".status.phase"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec(), "status": status()}}},
    });
    let object = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things{n}.{}", group(n))},
        "spec": {"group": group(n), "scope": "Namespaced", "names": names, "versions": [version]},
    });
    object.to_string().into()
}

fn spec() -> Value {
    let text = |what: &str| json!({"type": "string", "description": format!("The {what} that the provider is told.")});
    let mut parameters: serde_json::Map<String, Value> =
        (0..20).map(|n| (format!("parameter{n}"), text("value of a parameter"))).collect();
    parameters.insert("size".to_owned(), json!({"type": "integer", "minimum": 1, "default": 1}));
    parameters.insert(
        "tags".to_owned(),
        json!({"type": "object", "additionalProperties": {"type": "string"}, "description": "Names and values."}),
    );
    let reference = json!({"type": "object", "required": ["name"], "properties": {"name": text("name")}});
    json!({"type": "object", "required": ["region"], "properties": {
        "region": text("region"), "providerRef": reference,
        "parameters": {"type": "object", "properties": parameters},
    }})
}

fn status() -> Value {
    let condition = json!({"type": "object", "required": ["type", "status"], "properties": {
        "type": {"type": "string"}, "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string"}, "message": {"type": "string"},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
    }});
    json!({"type": "object", "properties": {
        "phase": {"type": "string"},
        "conditions": {"type": "array", "items": condition, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"]},
    }})
}

fn object(n: usize) -> Bytes {
    let definition = n % DEFINITIONS;
    let object = json!({
        "apiVersion": format!("{}/v1", group(definition)), "kind": format!("Thing{definition}"),
        "metadata": {"name": format!("o{n}"), "labels": {"app": "scale", "shard": format!("{}", n % 16)}},
        "spec": {"region": "eu-west-1", "providerRef": {"name": "default"}, "parameters": {
            "parameter0": "one", "parameter1": "another", "tags": {"owner": "scale", "cost": "none"}}},
    });
    object.to_string().into()
}
