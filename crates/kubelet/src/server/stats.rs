//! `/stats/summary`: what pods and node use (`k8s.io/kubelet/pkg/apis/stats/v1alpha1`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use http::Response;
use orlop_client::transport::Body;
use orlop_runtime::Stats;
use serde_json::{Value, json};

use super::reply;
use crate::context::Context;
use crate::node::machine;
use crate::pod::view::Instance;
use crate::pods::PodHandle;
use crate::resources::cgroup::{KUBEPODS, pod_cgroup};
use crate::resources::qos::qos_class;

/// A rate is reckoned over at least this long.
const MIN_SPAN_NANOS: i64 = 1_000_000_000;

/// CPU time used when last asked, by what used it: rates need two looks.
#[derive(Default)]
pub struct Samples(Mutex<BTreeMap<String, Sample>>);

#[derive(Clone, Copy)]
struct Sample {
    at_nanos: i64,
    used_nanos: u64,
    /// The rate this sample ended.
    nano_cores: Option<u64>,
}

impl Samples {
    /// Nano-cores used since the last look.
    fn rate(&self, key: &str, stats: &Stats) -> Option<u64> {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Sample { at_nanos: stats.unix_nanos, used_nanos: stats.cpu_usage_nanos, nano_cores: None };
        let Some(last) = samples.get(key).copied() else {
            samples.insert(key.to_owned(), now);
            return None;
        };
        let span = now.at_nanos - last.at_nanos;
        if span < MIN_SPAN_NANOS {
            return last.nano_cores;
        }
        let used = now.used_nanos.saturating_sub(last.used_nanos);
        let rate = u64::try_from(u128::from(used) * 1_000_000_000 / u128::from(span.unsigned_abs())).ok();
        samples.insert(key.to_owned(), Sample { nano_cores: rate, ..now });
        rate
    }

    fn keep(&self, keys: &std::collections::BTreeSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| keys.contains(key));
    }
}

pub async fn summary(context: &Context, samples: &Samples) -> Response<Body> {
    let mut seen = std::collections::BTreeSet::new();
    let mut pods = Vec::new();
    for handle in context.pods.all() {
        if !handle.is_done() {
            pods.push(pod(context, samples, &handle, &mut seen).await);
        }
    }
    let node = node(context, samples, &mut seen).await;
    samples.keep(&seen);
    reply::json(&json!({"node": node, "pods": pods}))
}

async fn pod(
    context: &Context,
    samples: &Samples,
    handle: &PodHandle,
    seen: &mut std::collections::BTreeSet<String>,
) -> Value {
    let pod = handle.pod();
    let view = context.observed.view(pod.uid());
    let mut containers = Vec::new();
    for instance in view.running() {
        if let Ok(stats) = context.runtime.container_stats(instance.id()).await {
            seen.insert(instance.id().to_owned());
            containers.push(container(samples, instance, &stats));
        }
    }
    let cgroup = pod_cgroup(qos_class(pod.spec()), pod.uid());
    let mut value = json!({
        "podRef": {"name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()},
        "startTime": handle.status().start_time.as_ref().map(|t| t.0.to_string()),
        "containers": containers,
    });
    if let Ok(stats) = context.runtime.cgroup_stats(&cgroup).await {
        seen.insert(cgroup.clone());
        value["cpu"] = cpu(&stats, samples.rate(&cgroup, &stats));
        value["memory"] = memory(&stats, None);
        value["process_stats"] = json!({"process_count": stats.pids});
    }
    let used: u64 = containers_written(&value);
    value["ephemeral-storage"] = file_system(&context.config.dirs.root, Some(used));
    value
}

fn containers_written(pod: &Value) -> u64 {
    let containers = pod["containers"].as_array().into_iter().flatten();
    containers.filter_map(|c| c["rootfs"]["usedBytes"].as_u64()).sum()
}

fn container(samples: &Samples, instance: &Instance, stats: &Stats) -> Value {
    json!({
        "name": instance.name(),
        "startTime": crate::status::nanos(instance.runtime.started_unix_nanos).0.to_string(),
        "cpu": cpu(stats, samples.rate(instance.id(), stats)),
        "memory": memory(stats, None),
        "rootfs": {"time": time(stats), "usedBytes": stats.writable_layer_bytes},
        "logs": log_size(&instance.runtime.log_path, stats),
    })
}

fn log_size(path: &Path, stats: &Stats) -> Value {
    let dir = path.parent().map(std::fs::read_dir);
    let files = dir.into_iter().flatten().flatten().flatten();
    let bytes: u64 = files.filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).sum();
    json!({"time": time(stats), "usedBytes": bytes})
}

async fn node(context: &Context, samples: &Samples, seen: &mut std::collections::BTreeSet<String>) -> Value {
    let mut value = json!({
        "nodeName": context.config.node_name,
        "startTime": crate::status::nanos(context.started_nanos).0.to_string(),
        "fs": file_system(&context.config.dirs.root, None),
        "rlimit": {"time": orlop_base::clock::rfc3339(), "maxpid": context.machine.max_pids, "curproc": processes()},
    });
    let whole = node_stats(context);
    seen.insert(String::new());
    value["cpu"] = cpu(&whole, samples.rate("", &whole));
    value["memory"] = memory(&whole, Some(machine::memory_available_bytes()));
    if let Ok(stats) = context.runtime.cgroup_stats(KUBEPODS).await {
        seen.insert(KUBEPODS.to_owned());
        let pods = json!({
            "name": "pods", "startTime": value["startTime"],
            "cpu": cpu(&stats, samples.rate(KUBEPODS, &stats)), "memory": memory(&stats, None),
        });
        value["systemContainers"] = json!([pods]);
    }
    if let Ok((bytes, inodes)) = context.images.disk_usage().await {
        let mut images = file_system(&context.config.dirs.root, Some(bytes));
        images["inodesUsed"] = inodes.into();
        value["runtime"] = json!({"imageFs": images});
    }
    value
}

/// The whole machine's CPU time and memory.
pub fn node_stats(context: &Context) -> Stats {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let used = context.machine.memory_bytes.saturating_sub(machine::memory_available_bytes());
    let used = u64::try_from(used).unwrap_or(0);
    Stats {
        unix_nanos: orlop_base::clock::unix_nanos(),
        cpu_usage_nanos: busy_nanos(&stat),
        memory_usage_bytes: used,
        memory_working_set_bytes: used,
        ..Stats::default()
    }
}

/// Ticks of the first line but idle and iowait, a hundred to the second (`USER_HZ`).
fn busy_nanos(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).map(|n| n.parse::<u64>().unwrap_or(0));
    let busy: u64 = ticks.take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, n)| n).sum();
    busy * 10_000_000
}

/// Tasks of all kinds, from the fourth field of `/proc/loadavg`.
fn processes() -> i64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let tasks = text.split_whitespace().nth(3).and_then(|field| field.split('/').nth(1)?.parse().ok());
    tasks.unwrap_or(0)
}

fn cpu(stats: &Stats, rate: Option<u64>) -> Value {
    let mut value = json!({"time": time(stats), "usageCoreNanoSeconds": stats.cpu_usage_nanos});
    if let Some(rate) = rate {
        value["usageNanoCores"] = rate.into();
    }
    value
}

fn memory(stats: &Stats, available: Option<i64>) -> Value {
    let mut value = json!({
        "time": time(stats), "usageBytes": stats.memory_usage_bytes,
        "workingSetBytes": stats.memory_working_set_bytes, "rssBytes": stats.memory_rss_bytes,
    });
    if let Some(available) = available {
        value["availableBytes"] = available.into();
    }
    value
}

fn file_system(path: &Path, used: Option<u64>) -> Value {
    let Ok(fs) = rustix::fs::statvfs(path) else { return json!({}) };
    let total = fs.f_blocks * fs.f_frsize;
    let free = fs.f_bavail * fs.f_frsize;
    json!({
        "time": orlop_base::clock::rfc3339(), "availableBytes": free, "capacityBytes": total,
        "usedBytes": used.unwrap_or_else(|| (fs.f_blocks - fs.f_bfree) * fs.f_frsize),
        "inodesFree": fs.f_favail, "inodes": fs.f_files, "inodesUsed": fs.f_files - fs.f_ffree,
    })
}

fn time(stats: &Stats) -> String {
    crate::status::nanos(stats.unix_nanos).0.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_looks() {
        let samples = Samples::default();
        let at = |seconds: i64, used: u64| Stats {
            unix_nanos: seconds * 1_000_000_000,
            cpu_usage_nanos: used,
            ..Stats::default()
        };
        assert_eq!(samples.rate("a", &at(10, 0)), None);
        assert_eq!(samples.rate("a", &at(12, 1_000_000_000)), Some(500_000_000));
        assert_eq!(busy_nanos("cpu  1 2 3 100 100 4 5 6 7 8\ncpu0 1\n"), 210_000_000);
    }
}
