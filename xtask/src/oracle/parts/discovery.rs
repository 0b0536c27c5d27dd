//! What the server says it serves, in every form clients ask for.

use anyhow::Result;
use http::Method;
use orlop_api::Value;

use super::super::exchange::Ask;
use super::super::judge::Judge;

const AGGREGATED: [&str; 3] = [
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
];
const PATHS: [&str; 8] = ["/", "/api", "/apis", "/api/v1", "/apis/", "/api/", "/apis/none", "/apis/apps/v0"];

pub async fn run(judge: &Judge<'_>) -> Result<()> {
    for path in PATHS {
        judge.one("discovery", path, Ask::get(path)).await?;
        judge.one("discovery", format!("POST {path}"), Ask::new(Method::POST, path)).await?;
    }
    for path in ["/api", "/apis"] {
        for accept in AGGREGATED {
            judge.one("discovery", format!("{path} as {accept}"), Ask::get(path).accept(accept)).await?;
        }
    }
    let groups = judge.sides.upstream.send(&Ask::get("/apis")).await?;
    for group in groups.body["groups"].as_array().into_iter().flatten() {
        let name = group["name"].as_str().unwrap_or_default();
        judge.one("discovery", name, Ask::get(format!("/apis/{name}"))).await?;
        for version in group["versions"].as_array().into_iter().flatten().filter_map(|v| v["groupVersion"].as_str()) {
            judge.one("discovery", version, Ask::get(format!("/apis/{version}"))).await?;
        }
    }
    version(judge).await
}

/// Builds differ, what they are of must not.
async fn version(judge: &Judge<'_>) -> Result<()> {
    let ask = Ask::get("/version");
    let (mut upstream, mut orlop) = judge.both(&ask, &ask).await?;
    for answer in [&mut upstream, &mut orlop] {
        for field in ["buildDate", "gitCommit", "gitVersion", "goVersion", "compiler", "platform", "gitTreeState"] {
            if let Some(Value::String(text)) = answer.body.get_mut(field) {
                *text = format!("<{field}>");
            }
        }
    }
    judge.note("discovery", "version", &ask, &upstream, &orlop);
    Ok(())
}
