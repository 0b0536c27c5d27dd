//! The published schemas, field by field, and the operations, parameter by parameter.

use anyhow::Result;
use orlop_api::Value;

use super::super::exchange::Ask;
use super::super::judge::Judge;

pub async fn run(judge: &Judge<'_>) -> Result<()> {
    let ask = Ask::get("/openapi/v2");
    let (upstream, orlop) = judge.both(&ask, &ask).await?;
    judge.note("openapi v2", "/openapi/v2", &ask, &upstream, &orlop);
    let ask = Ask::get("/openapi/v3");
    let (mut upstream, mut orlop) = judge.both(&ask, &ask).await?;
    let paths: Vec<String> = upstream.body["paths"].as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
    for answer in [&mut upstream, &mut orlop] {
        without_hashes(&mut answer.body);
    }
    judge.note("openapi v3", "/openapi/v3", &ask, &upstream, &orlop);
    for path in paths {
        judge.one("openapi v3", path.clone(), Ask::get(format!("/openapi/v3/{path}"))).await?;
    }
    Ok(())
}

/// Documents that differ have other hashes, and their differences are told elsewhere.
fn without_hashes(index: &mut Value) {
    for (_, entry) in index["paths"].as_object_mut().into_iter().flatten() {
        if let Some(Value::String(url)) = entry.get_mut("serverRelativeURL") {
            url.truncate(url.find("?hash=").unwrap_or(url.len()));
        }
    }
}
