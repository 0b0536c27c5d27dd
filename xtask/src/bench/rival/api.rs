//! The API alone, without schedulers and controllers.

use std::time::Instant;

use anyhow::Result;

use super::figures::{Figures, Unit};
use super::scale::Scale;
use super::side::{Contenders, Parts, Side};
use super::{fan_out, lists, verbs};
use crate::bench::connection::Call;
use crate::bench::flood::flood;
use crate::bench::load::config_map;

const CLIENTS: usize = 64;
const UPDATED: usize = 1000;
const UPDATES: usize = 100_000;

pub async fn measure(contenders: &Contenders, scale: Scale, figures: &mut Figures) -> Result<()> {
    let sides = contenders.both(Parts::Api).await?;
    verbs::each(&sides, scale, figures).await?;
    verbs::crowds(&sides, scale, figures).await?;
    fan_out::measure(&sides, scale, figures).await?;
    lists::measure(&sides, scale, figures).await?;
    for side in &sides {
        figures.add(side.who, "RSS after all of this, 61,000 pods among it", Unit::Megabytes, side.rss_mb()?)?;
    }
    drop(sides);
    for side in &contenders.both(Parts::Api).await? {
        updates(side, scale, figures).await?;
    }
    Ok(())
}

/// The same objects again and again: what is written, kept and given back.
async fn updates(side: &Side, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (objects, count) = (scale.of(UPDATED), scale.of(UPDATES));
    let (clients, _) =
        flood(side.clients(CLIENTS).await?, objects, |n| Call::post(verbs::PATH, config_map(&format!("d-{n}"))))
            .await?;
    let began = Instant::now();
    let fillers = ["a", "b", "c", "d"];
    let call = move |n: usize| verbs::updated(&format!("d-{}", n % objects), fillers[n / objects % fillers.len()]);
    flood(clients, count, call).await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    figures.add(side.who, "100,000 updates of 1,000 objects, 64 clients", Unit::PerSecond, rate)?;
    figures.add(
        side.who,
        "on disk after 100,000 updates of 1,000 objects of 1 KB",
        Unit::Megabytes,
        side.disk_mb()?,
    )?;
    figures.add(side.who, "RSS after 100,000 updates of 1,000 objects of 1 KB", Unit::Megabytes, side.rss_mb()?)
}
