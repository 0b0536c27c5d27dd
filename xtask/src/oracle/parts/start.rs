//! What stands in a cluster before anyone makes anything: namespaces, roles and bindings, priorities.

use anyhow::Result;
use orlop_api::kinds;

use super::super::exchange::Ask;
use super::super::judge::Judge;

pub async fn run(judge: &Judge<'_>) -> Result<()> {
    for kind in kinds::all() {
        let info = kind.info();
        if !info.verbs.iter().any(|v| v == "list") {
            continue;
        }
        let api_version = info.api_version(&info.versions[0]);
        let root = if info.group.is_empty() { format!("/api/{api_version}") } else { format!("/apis/{api_version}") };
        let path = format!("{root}/{}", info.plural);
        judge.one("start", format!("{} of a new cluster", info.plural), Ask::get(path)).await?;
    }
    Ok(())
}
