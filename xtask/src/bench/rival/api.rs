//! The API alone, without schedulers and controllers.

use std::time::Instant;

use anyhow::Result;

use super::figures::{Figures, Unit};
use super::scale::Scale;
use super::side::{BOTH, Contenders, Parts, Side};
use super::{fan_out, lists, verbs};
use crate::bench::connection::Call;
use crate::bench::flood::flood;
use crate::bench::load::config_map;

const CLIENTS: usize = 64;
const UPDATED: usize = 1000;
const UPDATES: usize = 100_000;

/// With or without an audit log.
pub async fn requests(contenders: &Contenders, parts: Parts, scale: Scale, figures: &mut Figures) -> Result<()> {
    let sides = contenders.both(parts).await?;
    verbs::each(&sides, scale, figures).await?;
    verbs::crowds(&sides, scale, figures).await?;
    verbs::steady(&sides, scale, figures).await
}

pub async fn watches(contenders: &Contenders, scale: Scale, figures: &mut Figures) -> Result<()> {
    fan_out::measure(&contenders.both(Parts::Api).await?, scale, figures).await
}

pub async fn long_lists(contenders: &Contenders, scale: Scale, figures: &mut Figures) -> Result<()> {
    let sides = contenders.both(Parts::Api).await?;
    lists::measure(&sides, scale, figures).await?;
    let figure = format!("RSS with {} pods, listed", lists::pods(scale));
    sides.iter().try_for_each(|side| figures.add(side.who, &figure, Unit::Megabytes, side.rss_mb()?))
}

pub async fn updates(contenders: &Contenders, scale: Scale, figures: &mut Figures) -> Result<()> {
    for who in BOTH {
        again_and_again(&contenders.start(who, Parts::Api).await?, scale, figures).await?;
    }
    Ok(())
}

/// The same objects again and again: what is written, kept and given back.
async fn again_and_again(side: &Side, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (objects, count) = (scale.of(UPDATED), scale.of(UPDATES));
    let (clients, _) =
        flood(side.clients(CLIENTS).await?, objects, |n| Call::post(verbs::PATH, config_map(&format!("d-{n}"))))
            .await?;
    let began = Instant::now();
    let fillers = ["a", "b", "c", "d"];
    let call = move |n: usize| verbs::updated(&format!("d-{}", n % objects), fillers[n / objects % fillers.len()]);
    flood(clients, count, call).await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let figure = format!("{count} updates of {objects} objects of 1 KB");
    figures.add(side.who, &format!("{figure}, {CLIENTS} clients"), Unit::PerSecond, rate)?;
    figures.add(side.who, &format!("on disk after {figure}"), Unit::Megabytes, side.disk_mb()?)?;
    figures.add(side.who, &format!("RSS after {figure}"), Unit::Megabytes, side.rss_mb()?)
}
