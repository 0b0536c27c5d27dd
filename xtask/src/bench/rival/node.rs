//! A node's work: pods that start and end, one by one and a hundred at once, and what that costs. Beside Orlop,
//! upstream's kubelet with containerd and runc, each under its own control plane on a machine of its own.

mod cpu;
mod network;
mod pods;
mod side;
mod tree;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figures::{Figures, Unit};
use super::scale::Scale;
use super::side::{Contenders, Who};
use crate::conformance::images;
use side::Side;
use tree::{Role, Tree};

/// One by one. Half of them end with a pod's own grace and half with none.
const PODS: usize = 42;
const BURST: usize = 100;
const ROUNDS: usize = 3;
/// After what was asked for is done, until idling begins.
const SETTLE: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);
const ASK_EVERY: Duration = Duration::from_millis(50);
/// All that runs in a pod: one small program, the same that holds a pod's namespaces on upstream's side.
const PROGRAM: &str = "pause";

pub async fn measure(contenders: &Contenders, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (archive, image) = image().await?;
    let start = async |who| {
        let side = Side::start(contenders, who, &archive, &image).await?;
        let image = image.clone();
        side.ask(|config| pods::first(config, image)).await.context("starting a first pod")?;
        end(&side, "first", None).await?;
        anyhow::Ok(side)
    };
    let sides = [start(Who::Orlop).await?, start(Who::Upstream).await?];
    for n in 0..scale.of(PODS) {
        for side in &sides {
            one(side, n, &image, figures).await.with_context(|| format!("{:?}: a pod", side.who))?;
        }
    }
    let count = scale.of(BURST);
    for round in 0..scale.rounds(ROUNDS) {
        for side in &sides {
            let measured = many(side, count, round, &image, figures).await;
            measured.with_context(|| format!("{:?}: {count} pods", side.who))?;
        }
    }
    Ok(())
}

/// The archive that the conformance suite uses too, and the name in it.
async fn image() -> Result<(PathBuf, String)> {
    let archives = images::archives(&[]).await?;
    let named = archives.into_iter().find_map(|archive| {
        let name = archive.file_stem()?.to_str()?.to_owned();
        let [registry, program, tag] = name.split('+').collect::<Vec<_>>().try_into().ok()?;
        (program == PROGRAM).then(|| (archive, format!("{registry}/{program}:{tag}")))
    });
    named.with_context(|| format!("the suite has no image {PROGRAM}"))
}

async fn one(side: &Side, n: usize, image: &str, figures: &mut Figures) -> Result<()> {
    let (name, image) = (format!("one-{n}"), image.to_owned());
    let start = {
        let name = name.clone();
        side.ask(|config| pods::start(config, name, image)).await?
    };
    let mut add = |figure, milliseconds| figures.add(side.who, figure, Unit::Milliseconds, milliseconds);
    add("one pod: created to bound", start.bound)?;
    add("one pod: created to Running", start.running)?;
    add("one pod: created to Ready", start.ready)?;
    let (figure, grace) = match n % 2 {
        0 => ("one pod: deleted to gone, its own grace (30 s)", None),
        _ => ("one pod: deleted to gone, no grace", Some(0)),
    };
    add(figure, end(side, &name, grace).await?)
}

/// With no grace an object goes before its containers do, which are waited for here.
async fn end(side: &Side, name: &str, grace: Option<u32>) -> Result<f64> {
    let name = name.to_owned();
    let milliseconds = side.ask(|config| pods::end(config, name, grace)).await?;
    no_shims(side).await?;
    Ok(milliseconds)
}

async fn no_shims(side: &Side) -> Result<()> {
    let asked = Instant::now();
    while side.tree().count(Role::Shim) > 0 {
        ensure!(asked.elapsed() < PATIENCE, "the containers of pods that are gone do not end");
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}

async fn many(side: &Side, count: usize, round: usize, image: &str, figures: &mut Figures) -> Result<()> {
    let (before, image) = (side.tree(), image.to_owned());
    let (cpu, pss) = (before.cpu(), before.pss_mb());
    let seconds = side.ask(|config| pods::burst(config, count, round, image)).await?;
    let cpu = side.tree().cpu().since(&cpu);
    let mut add = |figure: &str, unit, sample| figures.add(side.who, &format!("{count} pods{figure}"), unit, sample);
    add(" at once: created to all Ready", Unit::Seconds, seconds)?;
    add(" at once: CPU of control plane and node until then", Unit::CpuSeconds, cpu)?;
    tokio::time::sleep(SETTLE).await;
    let (tree, began) = (side.tree(), Instant::now());
    let cpu = tree.cpu();
    tokio::time::sleep(WINDOW).await;
    let idle = 100.0 * side.tree().cpu().since(&cpu) / began.elapsed().as_secs_f64();
    add(" idle: CPU of control plane and node", Unit::PercentOfCore, idle)?;
    for (figure, megabytes) in memory(&tree, pss, count)? {
        add(figure, Unit::Megabytes, megabytes)?;
    }
    let seconds = side.ask(|config| pods::end_all(config, count)).await?;
    add(" deleted at once: all gone", Unit::Seconds, seconds)?;
    no_shims(side).await
}

/// Of a side that holds so many pods, and had so many megabytes before.
fn memory(tree: &Tree, before: f64, count: usize) -> Result<[(&'static str, f64); 4]> {
    let each = |megabytes: f64| megabytes / count as f64;
    ensure!(tree.count(Role::Shim) == count, "{} shims hold {count} pods", tree.count(Role::Shim));
    Ok([
        (" idle: shim of each, PSS", each(tree.pss_mb_of(Role::Shim)?)),
        (" idle: growth of control plane and node for each, PSS", each(tree.pss_mb() - before)),
        (" idle: RSS of kubelet and containerd, or of Orlop with its control plane", tree.rss_mb_of(Role::Node)?),
        (" idle: PSS of control plane and node", tree.pss_mb()),
    ])
}
