//! Lifecycle hooks: what runs after a container's start and before its stop
//! (`pkg/kubelet/lifecycle`).

use std::time::Duration;

use orlop_client::events::EventType;

use crate::context::Context;
use crate::corev1::{Container, LifecycleHandler};
use crate::pod::spec::NodePod;
use crate::probes::{command, http, tcp};

/// Output of a failing hook that its message shows.
const MAX_OUTPUT_BYTES: u64 = 4 << 10;
/// How long a hook's request may take when nothing else limits it.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a hook to its end; the error is the waiting container's message.
pub async fn run(
    context: &Context,
    pod: &NodePod,
    container: &Container,
    container_id: &str,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    let place = format!("for Container {:?} in Pod {:?}", container.name, pod.described());
    if let Some(exec) = &handler.exec {
        let words = exec.command.as_deref().unwrap_or_default();
        let ended = command::run(&*context.runtime, container_id, words, None, MAX_OUTPUT_BYTES).await;
        let (error, output) = match ended {
            Ok(ended) if ended.exit_code == 0 => return Ok(()),
            Ok(ended) => (format!("command exited with {}", ended.exit_code), ended.output),
            Err(error) => (error.to_string(), Vec::new()),
        };
        let (words, output) = (words.join(" "), String::from_utf8_lossy(&output).into_owned());
        return Err(format!("Exec lifecycle hook ([{words}]) {place} failed - error: {error}, message: {output:?}"));
    }
    if let Some(action) = &handler.http_get {
        let path = action.path.as_deref().unwrap_or_default();
        let result = request(context, pod, container, action).await;
        return result.map_err(|error| format!("HTTP lifecycle hook ({path}) {place} failed - error: {error}"));
    }
    if let Some(action) = &handler.tcp_socket {
        // No longer in upstream's runner, but still in the API.
        let host = action.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| pod_ip(context, pod));
        let port = http::resolve_port(&action.port, container)?;
        return tcp::connect(&host, port, HTTP_TIMEOUT).await.map(drop);
    }
    if let Some(action) = &handler.sleep {
        let seconds = u64::try_from(action.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        return Ok(());
    }
    Err("Cannot run handler: invalid handler".to_owned())
}

async fn request(
    context: &Context,
    pod: &NodePod,
    container: &Container,
    action: &crate::corev1::HTTPGetAction,
) -> Result<(), String> {
    let ip = pod_ip(context, pod);
    let get = http::Get::new(action, container, &ip, "lifecycle")?;
    match http::hook(get.clone(), HTTP_TIMEOUT).await {
        Ok(_) => Ok(()),
        Err(error) if get.is_https() => {
            // Hooks were never checked for TLS before v1.25: a server without it still gets its call.
            let Ok(_) = http::hook(get.plain(), HTTP_TIMEOUT).await else { return Err(error) };
            let message = format!("request to HTTPS lifecycle hook {ip} got HTTP response, retry with HTTP succeeded");
            context.pod_event(pod, EventType::Warning, "LifecycleHTTPFallback", message);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn pod_ip(context: &Context, pod: &NodePod) -> String {
    let view = context.observed.view(pod.uid());
    let own = if pod.host_network() { None } else { view.ips.first().copied() };
    own.unwrap_or_else(|| context.config.node_ip()).to_string()
}
