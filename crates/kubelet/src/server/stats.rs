//! `/stats/summary`: what pods and node use (`k8s.io/kubelet/pkg/apis/stats/v1alpha1`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use http::Response;
use orlop_base::disk_usage::DiskUsage;
use orlop_client::transport::Body;
use orlop_runtime::Stats;
use serde_json::{Value, json};

use super::reply;
use crate::context::Context;
use crate::node::gauges::FileSystem;
use crate::pods::PodHandle;
use crate::resources::cgroup::KUBEPODS;
use crate::usage::{self, ContainerUsage, Depth};

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

    fn keep(&self, keys: &BTreeSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| keys.contains(key));
    }
}

pub async fn summary(context: &Context, samples: &Samples) -> Response<Body> {
    let mut seen = BTreeSet::new();
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

async fn pod(context: &Context, samples: &Samples, handle: &PodHandle, seen: &mut BTreeSet<String>) -> Value {
    let pod = handle.pod();
    let usage = usage::of_pod(context, &pod, Depth::Files).await;
    seen.extend(usage.containers.iter().map(|c| c.id.clone()));
    let disk = context.gauges.file_system(&context.config.dirs.root);
    let volumes = usage.volumes.iter().map(|(name, used)| {
        let mut value = file_system(disk, *used);
        value["name"] = name.as_str().into();
        value
    });
    let mut value = json!({
        "podRef": {"name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()},
        "startTime": handle.status().start_time.as_ref().map(|t| t.0.to_string()),
        "containers": usage.containers.iter().map(|c| container(samples, c, disk)).collect::<Vec<_>>(),
        "volume": volumes.collect::<Vec<_>>(),
        "ephemeral-storage": file_system(disk, usage.disk()),
    });
    if let Some(whole) = &usage.whole {
        seen.insert(pod.uid().to_owned());
        value["cpu"] = cpu(whole, samples.rate(pod.uid(), whole));
        value["memory"] = memory(whole, None);
        value["process_stats"] = json!({"process_count": whole.pids});
    }
    value
}

fn container(samples: &Samples, used: &ContainerUsage, disk: Option<FileSystem>) -> Value {
    let stats = &used.stats;
    let written = DiskUsage { bytes: stats.writable_layer_bytes, inodes: stats.writable_layer_inodes };
    json!({
        "name": used.name,
        "startTime": crate::status::nanos(used.started_nanos).0.to_string(),
        "cpu": cpu(stats, samples.rate(&used.id, stats)),
        "memory": memory(stats, None),
        "rootfs": file_system(disk, written),
        "logs": file_system(disk, used.logs),
    })
}

async fn node(context: &Context, samples: &Samples, seen: &mut BTreeSet<String>) -> Value {
    let disk = context.gauges.file_system(&context.config.dirs.root);
    let all = disk.map(|d| DiskUsage { bytes: d.used_bytes, inodes: d.inodes - d.inodes_free }).unwrap_or_default();
    let mut value = json!({
        "nodeName": context.config.node_name,
        "startTime": crate::status::nanos(context.started_nanos).0.to_string(),
        "fs": file_system(disk, all),
        "rlimit": {
            "time": orlop_base::clock::rfc3339(), "maxpid": context.machine.max_pids, "curproc": context.gauges.tasks(),
        },
    });
    let whole = node_stats(context);
    seen.insert(String::new());
    value["cpu"] = cpu(&whole, samples.rate("", &whole));
    value["memory"] = memory(&whole, Some(context.gauges.memory_available_bytes()));
    if let Ok(stats) = context.runtime.cgroup_stats(KUBEPODS).await {
        seen.insert(KUBEPODS.to_owned());
        let pods = json!({
            "name": "pods", "startTime": value["startTime"],
            "cpu": cpu(&stats, samples.rate(KUBEPODS, &stats)), "memory": memory(&stats, None),
        });
        value["systemContainers"] = json!([pods]);
    }
    if let Ok((bytes, inodes)) = context.images.disk_usage().await {
        value["runtime"] = json!({"imageFs": file_system(disk, DiskUsage { bytes, inodes })});
    }
    value
}

/// The whole machine's CPU time and memory.
pub fn node_stats(context: &Context) -> Stats {
    let used = context.machine.memory_bytes.saturating_sub(context.gauges.memory_available_bytes());
    let used = u64::try_from(used).unwrap_or(0);
    Stats {
        unix_nanos: orlop_base::clock::unix_nanos(),
        cpu_usage_nanos: context.gauges.cpu_busy_nanos(),
        memory_usage_bytes: used,
        memory_working_set_bytes: used,
        ..Stats::default()
    }
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

fn file_system(disk: Option<FileSystem>, used: DiskUsage) -> Value {
    let disk = disk.unwrap_or_default();
    json!({
        "time": orlop_base::clock::rfc3339(), "availableBytes": disk.available_bytes,
        "capacityBytes": disk.total_bytes, "usedBytes": used.bytes,
        "inodesFree": disk.inodes_free, "inodes": disk.inodes, "inodesUsed": used.inodes,
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
    }
}
