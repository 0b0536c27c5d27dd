//! Directories, cgroup and volumes of a pod.

use std::os::unix::fs::DirBuilderExt;

use orlop_runtime::Resources;
use tokio_util::sync::CancellationToken;

use super::SetupError;
use crate::context::Context;
use crate::pod::spec::NodePod;
use crate::resources::cgroup::{KUBEPODS, milli_cpu_to_shares, pod_cgroup, pod_resources};
use crate::resources::qos::{QosClass, qos_class};
use crate::resources::requests::pod_requests;
use crate::resources::{Amount, CPU};
use crate::volumes::{self, Prepared, Setup};

pub async fn run(
    context: &Context,
    pod: &NodePod,
    now: i64,
    cancelled: &CancellationToken,
) -> Result<Prepared, SetupError> {
    cgroup(context, pod).await?;
    directories(context, pod)?;
    let setup = Setup { context, pod, now, cancelled };
    volumes::prepare(&setup).await.map_err(|error| SetupError::new("FailedMount", error.to_string()))
}

/// The pod's cgroup below that of its class; the burstable class weighs what its pods ask for.
pub async fn cgroup(context: &Context, pod: &NodePod) -> Result<(), SetupError> {
    let failed = |error: orlop_runtime::RuntimeError| {
        SetupError::new("FailedCreatePodContainer", format!("unable to ensure pod container exists: {error}"))
    };
    weigh_classes(context).await.map_err(failed)?;
    let path = pod_cgroup(qos_class(pod.spec()), pod.uid());
    let resources = pod_resources(pod.spec(), context.config.pod_pids_limit);
    context.runtime.ensure_cgroup(&path, &resources).await.map_err(failed)
}

async fn weigh_classes(context: &Context) -> Result<(), orlop_runtime::RuntimeError> {
    let burstable: i64 = context
        .pods
        .all()
        .iter()
        .filter(|handle| !handle.is_done())
        .map(|handle| handle.pod())
        .filter(|pod| qos_class(pod.spec()) == QosClass::Burstable)
        .map(|pod| Amount::of(Some(&pod_requests(pod.spec())), CPU).milli_value())
        .sum();
    let shares = |shares| Resources { cpu_shares: Some(shares), ..Resources::default() };
    context.runtime.ensure_cgroup(&format!("{KUBEPODS}/burstable"), &shares(milli_cpu_to_shares(burstable))).await?;
    context.runtime.ensure_cgroup(&format!("{KUBEPODS}/besteffort"), &shares(milli_cpu_to_shares(0))).await
}

fn directories(context: &Context, pod: &NodePod) -> Result<(), SetupError> {
    let dir = context.pod_dir(pod);
    for part in ["volumes", "plugins", "containers"] {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir.join(part));
        made.map_err(|error| SetupError::new("Failed", format!("error making pod data directories: {error}")))?;
    }
    Ok(())
}
