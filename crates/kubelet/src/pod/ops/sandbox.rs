//! A pod's sandbox and its network.

use orlop_api::typed::kinds::RuntimeClass;
use orlop_base::error::chain;
use orlop_runtime::{HostNamespaces, PortMapping, Sandbox, SandboxConfig};
use tokio_util::sync::CancellationToken;

use super::SetupError;
use crate::context::Context;
use crate::files::hostname::{kernel_name, pod_name};
use crate::names;
use crate::node::object::HANDLERS;
use crate::pod::spec::NodePod;
use crate::resources::cgroup::pod_cgroup;
use crate::resources::qos::qos_class;
use crate::users;

/// Makes the sandbox and attaches it to the network; a sandbox without its network is not left
/// behind.
pub async fn run(
    context: &Context,
    pod: &NodePod,
    attempt: u32,
    cancelled: &CancellationToken,
) -> Result<(), SetupError> {
    let failed = |why: String| {
        context.metrics.started_pods_errors.inc();
        SetupError::new("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {why}"))
    };
    check_handler(context, pod).await.map_err(failed)?;
    let config = config(context, pod, attempt).map_err(failed)?;
    let sandbox = context.runtime.run_sandbox(&config).await.map_err(|error| failed(error.to_string()))?;
    if let Err(why) = attach(context, pod, &sandbox, cancelled).await {
        undo(context, &sandbox).await;
        return Err(failed(why));
    }
    context.metrics.started_pods.inc();
    context.observed.sandbox_made(sandbox);
    Ok(())
}

/// There is one runtime here; a RuntimeClass may ask for another.
async fn check_handler(context: &Context, pod: &NodePod) -> Result<(), String> {
    let Some(class) = pod.spec().runtime_class_name.as_deref().filter(|name| !name.is_empty()) else { return Ok(()) };
    let found = context.client.all::<RuntimeClass>().get_opt(class).await;
    let found = found.map_err(|error| format!("failed to lookup RuntimeClass {class}: {}", chain(&error)))?;
    let handler = found.ok_or_else(|| format!("runtimeclass.node.k8s.io \"{class}\" not found"))?.handler;
    if HANDLERS.contains(&handler.as_str()) { Ok(()) } else { Err(format!("no runtime for {handler:?} is configured")) }
}

async fn attach(
    context: &Context,
    pod: &NodePod,
    sandbox: &Sandbox,
    cancelled: &CancellationToken,
) -> Result<(), String> {
    if cancelled.is_cancelled() {
        return Err("the pod is being terminated".to_owned());
    }
    if pod.host_network() {
        return Ok(());
    }
    let attached = context.network.attach(sandbox, &host_ports(pod)).await;
    attached.map(drop).map_err(|error| format!("failed to setup network for sandbox {:?}: {error}", sandbox.id))
}

async fn undo(context: &Context, sandbox: &Sandbox) {
    if let Err(error) = context.network.detach(&sandbox.id).await {
        tracing::warn!(sandbox = sandbox.id, %error, "detaching a failed sandbox");
    }
    let stopped = context.runtime.stop_sandbox(&sandbox.id).await;
    if let Err(error) = async {
        stopped?;
        context.runtime.remove_sandbox(&sandbox.id).await
    }
    .await
    {
        tracing::warn!(sandbox = sandbox.id, %error, "removing a failed sandbox");
    }
}

fn config(context: &Context, pod: &NodePod, attempt: u32) -> Result<SandboxConfig, String> {
    let spec = pod.spec();
    let hostname = if pod.host_network() {
        String::new()
    } else {
        kernel_name(pod, &pod_name(pod, &context.config.cluster_domain)?)?
    };
    let users = users::of(context, pod)?;
    let sysctls = spec.security_context.iter().flat_map(|c| c.sysctls.iter().flatten());
    Ok(SandboxConfig {
        pod_uid: pod.uid().to_owned(),
        pod_name: pod.name().to_owned(),
        pod_namespace: pod.namespace().to_owned(),
        attempt,
        hostname,
        host: HostNamespaces {
            network: pod.host_network(),
            pid: spec.host_pid == Some(true),
            ipc: spec.host_ipc == Some(true),
        },
        share_pid: spec.share_process_namespace == Some(true),
        users,
        sysctls: sysctls.map(|s| (dotted(&s.name), s.value.clone())).collect(),
        cgroup: pod_cgroup(qos_class(spec), pod.uid()),
        labels: names::pod_labels(pod),
        annotations: pod.object.metadata.annotations.clone().unwrap_or_default(),
    })
}

/// `net/ipv4/ip_forward` and `net.ipv4.ip_forward` are the same; whichever separator comes first
/// is the separator.
pub fn dotted(name: &str) -> String {
    match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'/') => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                c => c,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn host_ports(pod: &NodePod) -> Vec<PortMapping> {
    let sidecars = pod.init_containers().iter().filter(|c| crate::pod::spec::is_sidecar(c));
    let ports = pod.main_containers().iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let wanted = ports.filter_map(|port| {
        let host_port = port.host_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0)?;
        Some(PortMapping {
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
            host_port,
            container_port: u16::try_from(port.container_port).ok()?,
        })
    });
    wanted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctl_names() {
        assert_eq!(dotted("net.ipv4.conf.eth0/1.rp"), "net.ipv4.conf.eth0/1.rp");
        assert_eq!(dotted("net/ipv4/conf/eth0.1/rp"), "net.ipv4.conf.eth0/1.rp");
    }
}
