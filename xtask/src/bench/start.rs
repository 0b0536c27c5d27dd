//! From exec to a cluster that works, each time from an empty data directory with the image in it.

use std::path::Path;

use anyhow::Result;
use orlop_api::typed::kinds::Node;

use super::cluster::{Cluster, Role};
use super::pods::{self, Phase};
use super::report::{Goal, Row};

const RUNS: usize = 7;

pub async fn measure(orlop: &Path) -> Result<Vec<Row>> {
    let (mut api, mut node, mut pod) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut cluster = Cluster::start(orlop, Role::Node).await?;
        cluster.api_ready().await?;
        api.push(cluster.started.elapsed().as_secs_f64());
        let client = cluster.client()?;
        let node_ready = async {
            pods::reached::<Node>(&client, 1, Phase::Ready).await?;
            node.push(cluster.started.elapsed().as_secs_f64());
            anyhow::Ok(())
        };
        let pod_runs = async {
            pods::create(&client, "first").await?;
            pods::reached::<orlop_api::typed::kinds::Pod>(&client, 1, Phase::Running).await?;
            pod.push(cluster.started.elapsed().as_secs_f64());
            anyhow::Ok(())
        };
        tokio::try_join!(node_ready, pod_runs)?;
    }
    let row = |figure, limit, samples| Row::new(figure, Goal::AtMost(limit), "s", samples);
    Ok(vec![
        row("cold start: exec to API ready", 0.3, api),
        row("cold start: exec to node Ready", 0.7, node),
        row("cold start: exec to a first pod Running", 1.0, pod),
    ])
}
