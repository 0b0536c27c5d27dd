//! What a pod uses: memory, processes, disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop_base::disk_usage::{DiskUsage, disk_usage};
use orlop_runtime::Stats;

use crate::context::Context;
use crate::pod::spec::NodePod;
use crate::resources::cgroup::pod_cgroup;
use crate::resources::qos::qos_class;
use crate::volumes::on_disk;

#[derive(Clone, Debug, Default)]
pub struct PodUsage {
    /// The pod's cgroup as a whole; `None` while it has none.
    pub whole: Option<Stats>,
    /// Its running containers.
    pub containers: Vec<ContainerUsage>,
    /// Volumes on the node's disk.
    pub volumes: Vec<(String, DiskUsage)>,
}

#[derive(Clone, Debug, Default)]
pub struct ContainerUsage {
    pub name: String,
    pub id: String,
    pub image: String,
    pub started_nanos: i64,
    pub stats: Stats,
    pub logs: DiskUsage,
}

impl ContainerUsage {
    pub fn disk(&self) -> DiskUsage {
        let written = DiskUsage { bytes: self.stats.writable_layer_bytes, inodes: self.stats.writable_layer_inodes };
        sum([written, self.logs])
    }
}

impl PodUsage {
    pub fn working_set(&self) -> i64 {
        self.whole.as_ref().map_or(0, |s| i64::try_from(s.memory_working_set_bytes).unwrap_or(i64::MAX))
    }

    /// Layers, logs and local volumes.
    pub fn disk(&self) -> DiskUsage {
        let volumes = self.volumes.iter().map(|(_, usage)| *usage);
        sum(self.containers.iter().map(ContainerUsage::disk).chain(volumes))
    }
}

fn sum(parts: impl IntoIterator<Item = DiskUsage>) -> DiskUsage {
    parts.into_iter().fold(DiskUsage::default(), |all, part| DiskUsage {
        bytes: all.bytes + part.bytes,
        inodes: all.inodes + part.inodes,
    })
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the kernel has counted.
    Counters,
    /// Log files and volumes too, which are walked.
    Files,
}

pub async fn of_pod(context: &Context, pod: &NodePod, depth: Depth) -> PodUsage {
    let cgroup = pod_cgroup(qos_class(pod.spec()), pod.uid());
    let mut usage = PodUsage { whole: context.runtime.cgroup_stats(&cgroup).await.ok(), ..PodUsage::default() };
    let view = context.observed.view(pod.uid());
    let mut log_dirs = Vec::new();
    for instance in view.running() {
        let Ok(stats) = context.runtime.container_stats(instance.id()).await else { continue };
        log_dirs.push(instance.runtime.log_path.parent().map(Path::to_owned));
        usage.containers.push(ContainerUsage {
            name: instance.name().to_owned(),
            id: instance.id().to_owned(),
            image: instance.runtime.image.clone(),
            started_nanos: instance.runtime.started_unix_nanos,
            stats,
            logs: DiskUsage::default(),
        });
    }
    if depth == Depth::Files {
        let volumes = on_disk(&context.pod_dir(pod), pod);
        let walked = tokio::task::spawn_blocking(move || walk(&log_dirs, volumes)).await;
        let Ok((logs, volumes)) = walked else { return usage };
        for (container, logs) in usage.containers.iter_mut().zip(logs) {
            container.logs = logs;
        }
        usage.volumes = volumes;
    }
    usage
}

type Walked = (Vec<DiskUsage>, Vec<(String, DiskUsage)>);

fn walk(log_dirs: &[Option<PathBuf>], volumes: Vec<(String, PathBuf)>) -> Walked {
    // What cannot be read now is counted the next time.
    let of = |dir: &Path| disk_usage(dir).unwrap_or_default();
    let logs = log_dirs.iter().map(|dir| dir.as_deref().map(of).unwrap_or_default()).collect();
    (logs, volumes.into_iter().map(|(name, dir)| (name, of(&dir))).collect())
}

/// All pods that may still use something, with what they use.
pub async fn of_all(context: &Context, depth: Depth) -> Vec<(Arc<NodePod>, PodUsage)> {
    let mut all = Vec::new();
    for handle in context.pods.all() {
        if !handle.is_done() {
            let pod = handle.pod();
            let usage = of_pod(context, &pod, depth).await;
            all.push((pod, usage));
        }
    }
    all
}
