//! Giving back what a pod held: first what it used, later what remembers it.

use std::io;
use std::path::Path;

use orlop_runtime::RuntimeError;

use crate::context::Context;
use crate::names;
use crate::pod::spec::NodePod;
use crate::resources::cgroup::pod_cgroup;
use crate::resources::qos::qos_class;
use crate::volumes;

/// Volumes and cgroup of a pod whose containers have all stopped.
pub async fn release(context: &Context, pod: &NodePod) -> Result<(), String> {
    let (mounter, dir) = (context.mounter.clone(), context.pod_dir(pod));
    let work = tokio::task::spawn_blocking(move || volumes::tear_down(&*mounter, &dir));
    work.await.map_err(|e| e.to_string())?.map_err(|e| format!("tearing down volumes: {e}"))?;
    let path = pod_cgroup(qos_class(pod.spec()), pod.uid());
    context.runtime.remove_cgroup(&path).await.map_err(|e| format!("removing the pod's cgroup: {e}"))?;
    context.tokens.forget(pod.uid());
    context.objects.forget(pod.uid());
    context.puller.forget(pod.uid());
    Ok(())
}

/// Containers, sandboxes, logs and directories of a pod that the API has no more.
pub async fn purge(context: &Context, uid: &str, log_dir: Option<&Path>) -> Result<(), String> {
    let view = context.observed.view(uid);
    for container in &view.containers {
        remove_container(context, container.id()).await?;
    }
    for sandbox in &view.sandboxes {
        context.network.detach(&sandbox.id).await.map_err(|e| e.to_string())?;
        match context.runtime.remove_sandbox(&sandbox.id).await {
            Ok(()) | Err(RuntimeError::NotFound(_)) => context.observed.sandbox_removed(&sandbox.id),
            Err(error) => return Err(error.to_string()),
        }
    }
    // The pod's own directory last: it says that the logs are this node's.
    let dirs = [log_dir.map(Path::to_path_buf), Some(context.pods_dir().join(uid))];
    for dir in dirs.into_iter().flatten() {
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("removing {}: {error}", dir.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

pub async fn remove_container(context: &Context, id: &str) -> Result<(), String> {
    let link = context.observed.find(id).and_then(|(_, instance)| log_link(context, &instance.runtime));
    match context.runtime.remove_container(id).await {
        Ok(()) | Err(RuntimeError::NotFound(_)) => context.observed.container_removed(id),
        Err(error) => return Err(error.to_string()),
    }
    if let Some(link) = link {
        // A link that was never made is as good.
        let _ = std::fs::remove_file(link);
    }
    Ok(())
}

fn log_link(context: &Context, container: &orlop_runtime::Container) -> Option<std::path::PathBuf> {
    let dir = context.config.dirs.container_logs.as_ref()?;
    let label = |name: &str| container.labels.get(name);
    let (pod, namespace) = (label(names::POD_NAME)?, label(names::POD_NAMESPACE)?);
    Some(dir.join(format!("{pod}_{namespace}_{}-{}.log", container.name, container.id)))
}
