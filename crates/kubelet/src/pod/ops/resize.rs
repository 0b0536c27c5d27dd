//! Bringing running containers in line with what is granted to them (KEP-1287).

use crate::context::Context;
use crate::corev1::ResourceRequirements;
use crate::pod::spec::NodePod;
use crate::resources::cgroup::{container_resources, pod_cgroup, pod_resources};
use crate::resources::qos::qos_class;

/// What is in effect now, by container id, and why it stopped there if it did.
#[derive(Debug, Default)]
pub struct Resized {
    pub in_effect: Vec<(String, ResourceRequirements)>,
    pub error: Option<String>,
}

/// The pod's cgroup grows before its containers and shrinks after them, so that no container is
/// ever held below its own limit.
pub async fn run(context: &Context, pod: &NodePod, ids: &[String]) -> Resized {
    let mut done = Resized::default();
    let path = pod_cgroup(qos_class(pod.spec()), pod.uid());
    let mut target = pod_resources(pod.spec(), context.config.pod_pids_limit);
    let view = context.observed.view(pod.uid());
    // Lifted while containers change, since they may grow and shrink at once.
    let limits = (target.cpu_quota_us.take(), target.memory_limit_bytes.take());
    if let Err(error) = context.runtime.ensure_cgroup(&path, &target).await {
        done.error = Some(error.to_string());
        return done;
    }
    for id in ids {
        let Some((_, container)) = view.by_id(id).and_then(|i| pod.container(i.name())) else { continue };
        let resources = container_resources(pod.spec(), container, context.machine.memory_bytes);
        match shrinks_below_use(context, id, resources.memory_limit_bytes).await {
            Some(why) => done.error = Some(why),
            None => match context.runtime.update_resources(id, &resources).await {
                Ok(()) => done.in_effect.push((id.clone(), container.resources.clone().unwrap_or_default())),
                Err(error) => done.error = Some(error.to_string()),
            },
        }
    }
    (target.cpu_quota_us, target.memory_limit_bytes) = limits;
    if let Err(error) = context.runtime.ensure_cgroup(&path, &target).await {
        done.error = Some(error.to_string());
    }
    done
}

/// A limit below what is used would end in an OOM kill: it is refused instead.
async fn shrinks_below_use(context: &Context, id: &str, limit: Option<i64>) -> Option<String> {
    let limit = u64::try_from(limit?).ok()?;
    let stats = context.runtime.container_stats(id).await.ok()?;
    (stats.memory_usage_bytes >= limit).then(|| {
        let usage = stats.memory_usage_bytes;
        format!("cannot decrease memory limits: attempting to set container memory limit ({limit}) below current usage ({usage})")
    })
}
