//! What the kernel tells of processes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use orlop_api::typed::kinds::Node;

use super::cluster::{Cluster, Role};
use super::pods::{self, Phase};
use super::report::{Goal, Row};

const WINDOWS: usize = 3;
const WINDOW: Duration = Duration::from_secs(20);

/// The whole cluster in one process, with no pods but its own.
pub async fn idle(orlop: &Path) -> Result<Vec<Row>> {
    let cluster = Cluster::ready(orlop, Role::Node).await?;
    pods::reached::<Node>(&cluster.client()?, 1, Phase::Ready).await?;
    tokio::time::sleep(WINDOW / 2).await;
    let (mut rss, mut anonymous, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WINDOWS {
        let (before, began) = (cpu_seconds(cluster.pid())?, Instant::now());
        tokio::time::sleep(WINDOW).await;
        cpu.push(100.0 * (cpu_seconds(cluster.pid())? - before) / began.elapsed().as_secs_f64());
        let status = format!("/proc/{}/status", cluster.pid());
        rss.push(megabytes(&status, "VmRSS:")?);
        anonymous.push(megabytes(&status, "RssAnon:")?);
    }
    Ok(vec![
        Row::new("idle: RSS", Goal::AtMost(60.0), "MB", rss),
        Row::new("idle: RSS, of it anonymous", Goal::None, "MB", anonymous),
        Row::new("idle: CPU", Goal::AtMost(0.3), "% of a core", cpu),
    ])
}

/// Of all threads; the scheduler's nanoseconds, as ticks are too coarse for an idle process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanoseconds += text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or_default();
    }
    Ok(nanoseconds / 1e9)
}

pub fn pss_mb(pid: u32) -> Result<f64> {
    megabytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// The kernel says kB and means 1,024 bytes.
pub fn megabytes(file: &str, field: &str) -> Result<f64> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(number.with_context(|| format!("{file} has no {field}"))? * 1024.0 / 1e6)
}

/// Processes that hold pods of this server: they run the same program, as another role.
pub fn shims(server: u32) -> Vec<u32> {
    let program = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let own = program(&server.to_string());
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let names = processes.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let shims = names.filter(|pid| command_line(pid).get(1).is_some_and(|role| role == "shim") && program(pid) == own);
    shims.filter_map(|pid| pid.parse().ok()).collect()
}

pub fn command_line(pid: &str) -> Vec<String> {
    let bytes = std::fs::read(Path::new("/proc").join(pid).join("cmdline")).unwrap_or_default();
    bytes.split(|b| *b == 0).filter(|a| !a.is_empty()).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}
