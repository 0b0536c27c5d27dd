//! Makes sure that an image is here before a container starts (`pkg/kubelet/images`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use orlop_client::events::EventType;
use orlop_image::{Image, ImageError, Reference};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::keyring::Keyring;
use crate::context::Context;
use crate::corev1::{Container, Secret};
use crate::env::Found;
use crate::pod::backoff::{BackoffTable, IMAGE_PULL};
use crate::pod::spec::NodePod;

/// When to ask the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Always,
    IfNotPresent,
    Never,
}

impl Policy {
    /// The API's default when the spec is silent: `Always` for `:latest`.
    pub fn parse(text: Option<&str>, reference: &str) -> Self {
        match text {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some("IfNotPresent") => Self::IfNotPresent,
            _ => {
                let name = reference.rsplit('/').next().unwrap_or_default();
                let latest = !name.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
                if latest { Self::Always } else { Self::IfNotPresent }
            }
        }
    }
}

/// One image for one pod.
pub struct Wanted<'a> {
    pub pod: &'a NodePod,
    /// Whose events tell of it; `None`: the pod's own (image volumes).
    pub container: Option<&'a Container>,
    pub reference: &'a str,
    pub policy: Policy,
}

/// Why a container waits for its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullFailure {
    /// `ErrImagePull`, `ImagePullBackOff`, ...
    pub reason: &'static str,
    pub message: String,
    /// When to look again, wall clock.
    pub retry_nanos: i64,
}

const SECOND: i64 = 1_000_000_000;
/// After a failed pull the next look says that there is a back-off; upstream's worker takes about
/// as long to come round.
const TELL_BACKOFF_NANOS: i64 = 2 * SECOND;
/// What cannot be helped by waiting is looked at again like any failed start.
const RETRY_NANOS: i64 = 10 * SECOND;

#[derive(Default)]
pub struct Puller {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By pod uid and image.
    backoff: BackoffTable,
    /// What the last pull failed with.
    failures: BTreeMap<String, String>,
    /// Images being pulled: one pull of each at a time.
    pulls: BTreeMap<String, Arc<AsyncMutex<()>>>,
}

impl Puller {
    pub async fn ensure(&self, context: &Context, wanted: &Wanted<'_>, now: i64) -> Result<Image, PullFailure> {
        let reference = Reference::parse(wanted.reference).map_err(|error| {
            let message = format!("Failed to apply default image tag {:?}: {error}", wanted.reference);
            tell(context, wanted, EventType::Warning, "InspectFailed", &message);
            PullFailure { reason: "InvalidImageName", message, retry_nanos: now + RETRY_NANOS }
        })?;
        if wanted.policy != Policy::Always {
            match context.images.get(wanted.reference).await {
                Ok(Some(image)) => {
                    let text = "already present on machine and can be accessed by the pod";
                    let message = format!("Container image {:?} {text}", wanted.reference);
                    tell(context, wanted, EventType::Normal, "Pulled", &message);
                    return Ok(image);
                }
                Ok(None) if wanted.policy == Policy::Never => return Err(never(context, wanted, now)),
                Ok(None) => {}
                Err(error) => {
                    let message = format!("Failed to inspect image {:?}: {error}", wanted.reference);
                    tell(context, wanted, EventType::Warning, "InspectFailed", &message);
                    return Err(PullFailure { reason: "ImageInspectError", message, retry_nanos: now + RETRY_NANOS });
                }
            }
        }
        self.pull(context, wanted, &reference, now).await
    }

    async fn pull(
        &self,
        context: &Context,
        wanted: &Wanted<'_>,
        reference: &Reference,
        now: i64,
    ) -> Result<Image, PullFailure> {
        let image = tagged(wanted.reference, reference);
        let key = format!("{}_{image}", wanted.pod.uid());
        if let Some(failure) = self.backing_off(&key, &image, now) {
            tell(context, wanted, EventType::Normal, "BackOff", &format!("Back-off pulling image {image:?}"));
            return Err(failure);
        }
        let (secrets, missing) = pull_secrets(context, wanted.pod).await;
        let credentials = Keyring::of(secrets.iter().map(|s| &**s)).lookup(&reference.name());
        tell(context, wanted, EventType::Normal, "Pulling", &format!("Pulling image {image:?}"));
        let began = Instant::now();
        let turn = self.turn(&image);
        let guard = turn.lock().await;
        let pulling = Instant::now();
        let result = context.images.pull(wanted.reference, &credentials).await;
        drop(guard);
        self.release(&image);
        match result {
            Ok(pulled) => {
                context.metrics.image_pull_seconds.observe(pulling.elapsed().as_secs_f64());
                context.node_changed.notify_one();
                let message = format!(
                    "Successfully pulled image {image:?} in {} ({} including waiting). Image size: {} bytes.",
                    go_millis(pulling.elapsed()),
                    go_millis(began.elapsed()),
                    pulled.size_bytes
                );
                tell(context, wanted, EventType::Normal, "Pulled", &message);
                Ok(pulled)
            }
            Err(error) => {
                if !missing.is_empty() {
                    let text = format!(
                        "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                        missing.join(", ")
                    );
                    context.pod_event(wanted.pod, EventType::Warning, "FailedToRetrieveImagePullSecret", text);
                }
                let message = format!("Failed to pull image {image:?}: {error}");
                tell(context, wanted, EventType::Warning, "Failed", &message);
                Err(self.failed(&key, &error, orlop_base::clock::unix_nanos()))
            }
        }
    }

    fn backing_off(&self, key: &str, image: &str, now: i64) -> Option<PullFailure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wait) = state.backoff.waiting_since_update(key, now, IMAGE_PULL) else {
            state.failures.remove(key);
            return None;
        };
        let cause = state.failures.get(key).map(|cause| format!(": {cause}")).unwrap_or_default();
        let message = format!("Back-off pulling image {image:?}{cause}");
        Some(PullFailure { reason: "ImagePullBackOff", message, retry_nanos: wait.until_nanos })
    }

    fn failed(&self, key: &str, error: &ImageError, now: i64) -> PullFailure {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.backoff.next(key, now, now, IMAGE_PULL);
        let message = error.to_string();
        state.failures.insert(key.to_owned(), format!("ErrImagePull: {message}"));
        PullFailure { reason: "ErrImagePull", message, retry_nanos: now + TELL_BACKOFF_NANOS }
    }

    fn turn(&self, image: &str) -> Arc<AsyncMutex<()>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pulls.entry(image.to_owned()).or_default().clone()
    }

    fn release(&self, image: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Two handles: the table's and the caller's; more means others wait.
        if state.pulls.get(image).is_some_and(|turn| Arc::strong_count(turn) <= 2) {
            state.pulls.remove(image);
        }
    }

    /// Forgets a pod that is gone.
    pub fn forget(&self, pod_uid: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let own = format!("{pod_uid}_");
        state.backoff.retain(|key| !key.starts_with(&own));
        state.failures.retain(|key, _| !key.starts_with(&own));
    }
}

fn never(context: &Context, wanted: &Wanted<'_>, now: i64) -> PullFailure {
    let message = format!("Container image {:?} is not present with pull policy of Never", wanted.reference);
    tell(context, wanted, EventType::Warning, "ErrImageNeverPull", &message);
    PullFailure { reason: "ErrImageNeverPull", message, retry_nanos: now + RETRY_NANOS }
}

fn tell(context: &Context, wanted: &Wanted<'_>, kind: EventType, reason: &str, message: &str) {
    match wanted.container {
        Some(container) => context.container_event(wanted.pod, &container.name, kind, reason, message),
        None => context.pod_event(wanted.pod, kind, reason, message),
    }
}

/// As the spec has it, with the default tag where it has neither tag nor digest.
fn tagged(text: &str, reference: &Reference) -> String {
    let identifier = reference.identifier();
    let has = text.contains('@') || text.ends_with(&format!(":{identifier}"));
    if has { text.to_owned() } else { format!("{text}:{identifier}") }
}

/// The pod's pull secrets, and the names of those that cannot be had.
async fn pull_secrets(context: &Context, pod: &NodePod) -> (Vec<Arc<Secret>>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let names: BTreeSet<&str> = pod.spec().image_pull_secrets.iter().flatten().map(|r| r.name.as_str()).collect();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        match context.objects.secrets.get(pod.uid(), pod.namespace(), name).await {
            Found::Object(secret) => found.push(secret),
            Found::Missing | Found::Failed(_) => missing.push(name.to_owned()),
        }
    }
    (found, missing)
}

/// A duration in whole milliseconds, as Go prints it: `850ms`, `1.25s`, `1m2s`.
fn go_millis(duration: std::time::Duration) -> String {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    orlop_api::duration::format(millis.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_is_always_asked_for() {
        for (text, reference, policy) in [
            (None, "nginx", Policy::Always),
            (None, "nginx:latest", Policy::Always),
            (None, "localhost:5000/nginx", Policy::Always),
            (None, "nginx:1.27", Policy::IfNotPresent),
            (None, "nginx@sha256:abc", Policy::IfNotPresent),
            (Some("Never"), "nginx", Policy::Never),
        ] {
            assert_eq!(Policy::parse(text, reference), policy, "{reference}");
        }
    }

    #[test]
    fn a_failure_is_told_then_waited_out() {
        let puller = Puller::default();
        let failure = puller.failed("u_x", &ImageError::NotFound("x".into()), 0);
        assert_eq!((failure.reason, failure.message.as_str()), ("ErrImagePull", "x: not found"));
        let failure = puller.backing_off("u_x", "x", 2 * SECOND).expect("waiting");
        assert_eq!(failure.message, "Back-off pulling image \"x\": ErrImagePull: x: not found");
        assert_eq!((failure.reason, failure.retry_nanos), ("ImagePullBackOff", 10 * SECOND));
        assert!(puller.backing_off("u_x", "x", 10 * SECOND).is_none());
    }
}
