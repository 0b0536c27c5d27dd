//! One write, many watchers, each on a connection of its own.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;

use super::figures::{Figures, Unit};
use super::scale::Scale;
use super::side::Side;
use crate::bench::connection::{Call, Connection};
use crate::bench::report::quantile;
use crate::bench::watchers::{Hall, PATH, RawWatch, Source, listen, one_write};

const WATCHERS: [usize; 4] = [1, 100, 1000, 5000];
const ROUNDS: usize = 3;
const WRITES: usize = 20;
/// So many handshakes at once: thousands would time out on a small machine.
const PORTION: usize = 50;

pub async fn measure(sides: &[Side; 2], scale: Scale, figures: &mut Figures) -> Result<()> {
    for watchers in WATCHERS.map(|watchers| scale.of(watchers)) {
        let halls = [gather(&sides[0], watchers).await?, gather(&sides[1], watchers).await?];
        for round in 0..scale.rounds(ROUNDS) {
            for (side, hall) in sides.iter().zip(&halls) {
                let (mut writer, cpu, mut late) = (side.client().await?, side.cpu_seconds()?, Vec::new());
                for write in 0..WRITES {
                    late.extend(one_write(&mut writer, &format!("w{watchers}-{round}-{write}"), hall).await?);
                }
                let cpu = (side.cpu_seconds()? - cpu) * 1e6 / late.len() as f64;
                late.sort_by(f64::total_cmp);
                let figure = format!("watch: write to {watchers} watchers");
                figures.add(side.who, &format!("{figure}, p50"), Unit::Milliseconds, quantile(&late, 0.5))?;
                figures.add(side.who, &format!("{figure}, p99"), Unit::Milliseconds, quantile(&late, 0.99))?;
                figures.add(side.who, &format!("{figure}, CPU for each"), Unit::Microseconds, cpu)?;
            }
        }
    }
    Ok(())
}

/// Watchers that hear of what is written from now on, until the hall is left.
async fn gather(side: &Side, count: usize) -> Result<Arc<Hall>> {
    let hall = Arc::new(Hall::new(count, count));
    let revision = revision(&mut side.client().await?).await?;
    let path = format!("{PATH}?watch=true&resourceVersion={revision}");
    for portion in (0..count).collect::<Vec<_>>().chunks(PORTION) {
        let watches = try_join_all(portion.iter().map(|_| RawWatch::open(&side.config, &path))).await;
        for watch in watches.context("starting watches")? {
            tokio::spawn(listen(Source::Raw(Box::new(watch)), hall.clone(), true));
        }
    }
    Ok(hall)
}

async fn revision(client: &mut Connection) -> Result<String> {
    let list: serde_json::Value = serde_json::from_slice(&client.fetch(Call::get(format!("{PATH}?limit=1"))).await?)?;
    Ok(list["metadata"]["resourceVersion"].as_str().context("a list without a revision")?.to_owned())
}
