//! `/containerLogs`: one container's log, as long as it is wanted.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use orlop_client::transport::{Body, BoxError};

use super::reply::plain;
use super::routes::Target;
use super::{Server, find_pod};
use crate::corev1::{ContainerState, ContainerStatus, PodStatus};
use crate::logs::options::LogOptions;
use crate::logs::read::{LogReader, Piece};
use crate::logs::watch::DirChanges;
use crate::names;
use crate::pods::PodHandle;
use crate::status::container_status;

pub async fn serve(server: &Server, target: &Target, query: &[(String, String)]) -> Response<Body> {
    match open(server, target, query).await {
        Ok(follower) => {
            let pieces = futures_util::stream::unfold(follower, |mut follower| async move {
                let piece = follower.next().await?;
                Some((piece.map(Frame::data), follower))
            });
            let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
            let text = http::HeaderValue::from_static("text/plain");
            response.headers_mut().insert(http::header::CONTENT_TYPE, text);
            response
        }
        Err((status, text)) => plain(status, text),
    }
}

type Refusal = (StatusCode, String);

async fn open(server: &Server, target: &Target, query: &[(String, String)]) -> Result<Follower, Refusal> {
    let pairs = query.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let options = LogOptions::from_query(pairs, orlop_base::clock::now()).map_err(|error| {
        let invalid = error == crate::logs::options::OptionsError::Invalid;
        (if invalid { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST }, error.to_string())
    })?;
    let handle = find_pod(&server.context, target)
        .ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod {:?} does not exist", target.pod)))?;
    if handle.pod().container(&target.container).is_none() {
        let text = format!("container {:?} not found in pod {:?}", target.container, target.pod);
        return Err((StatusCode::NOT_FOUND, text));
    }
    let bad = |text: String| (StatusCode::BAD_REQUEST, text);
    let id = container_id(&handle.status(), &target.pod, &target.container, options.previous).map_err(bad)?;
    let gone = || bad(format!("unable to retrieve container logs for {}", names::container_id(&id)));
    let (_, instance) = server.context.observed.find(&id).ok_or_else(gone)?;
    let path = instance.runtime.log_path.clone();
    let changes = if options.follow { Some(watch(server, &path).map_err(|e| bad(e.to_string()))?) } else { None };
    let reader = LogReader::open(&path, options).await;
    let quoted = path.to_string_lossy();
    let reader =
        reader.map_err(|error| bad(format!("failed to try resolving symlinks in path {quoted:?}: {error}")))?;
    Ok(Follower { server: server.context.clone(), handle, id, reader, changes, over: false })
}

fn watch(server: &Server, path: &std::path::Path) -> std::io::Result<DirChanges> {
    server.log_watcher()?.watch(path.parent().unwrap_or(path))
}

/// Which instance's log is meant, in upstream's words where there is none.
fn container_id(status: &PodStatus, pod: &str, name: &str, previous: bool) -> Result<String, String> {
    let place = format!("container {name:?} in pod {pod:?}");
    let Some(status) = container_status(status, name) else { return Err(format!("{place} is not available")) };
    let ended = |state: &Option<ContainerState>| -> Option<Option<String>> {
        let end = state.as_ref()?.terminated.as_ref()?;
        Some(end.container_id.clone().filter(|id| !id.is_empty()))
    };
    let ContainerStatus { state, last_state, container_id, .. } = status;
    let last = ended(last_state);
    let id = if previous {
        let missing = || format!("previous terminated container {name:?} in pod {pod:?} not found");
        last.flatten().ok_or_else(missing)?
    } else if state.as_ref().is_some_and(|s| s.running.is_some()) {
        container_id.clone().unwrap_or_default()
    } else if let Some(end) = ended(state) {
        end.or(last.flatten()).ok_or_else(|| format!("{place} is terminated"))?
    } else if let Some(end) = last {
        end.ok_or_else(|| format!("{place} is terminated"))?
    } else {
        let waiting = state.as_ref().and_then(|s| s.waiting.as_ref());
        let Some(waiting) = waiting else { return Err(format!("{place} is waiting to start - no logs yet")) };
        let why = match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            reason => reason,
        };
        return Err(format!("{place} is waiting to start: {why}"));
    };
    Ok(names::bare_id(&id).to_owned())
}

struct Follower {
    server: Arc<crate::context::Context>,
    handle: Arc<PodHandle>,
    id: String,
    reader: LogReader,
    /// `None`: the end of the file is the end.
    changes: Option<DirChanges>,
    /// The container has ended: what is there now is all.
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        let mut statuses = self.handle.status_changes();
        loop {
            match self.reader.next().await {
                Ok(Piece::Text(text)) => return Some(Ok(text)),
                Ok(Piece::Full) => return None,
                Ok(Piece::End) => {}
                Err(error) => return Some(Err(error.into())),
            }
            let changes = self.changes.as_mut()?;
            if self.over {
                return None;
            }
            // Looked at before waiting, so that an end between reading and waiting is not missed.
            let running = self.server.observed.find(&self.id).is_some_and(|(_, i)| i.is_running());
            if !running {
                self.over = true;
                continue;
            }
            tokio::select! {
                biased;
                () = changes.next() => {}
                changed = statuses.changed() => if changed.is_err() {
                    self.over = true;
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use orlop_api::typed::Typed;
    use serde_json::{Value, json};

    use super::*;
    use crate::corev1::Pod;

    fn of(status: Value, previous: bool) -> Result<String, String> {
        let pod = json!({"status": {"containerStatuses": [status]}});
        let pod = Pod::decode(pod.to_string().as_bytes()).unwrap();
        container_id(&pod.status.unwrap(), "p", "c", previous)
    }

    #[test]
    fn the_instance_that_is_meant() {
        let status = |state: Value, last: Value| {
            json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "containerID": "orlop://now", "state": state, "lastState": last})
        };
        let end = |id: &str| json!({"terminated": {"exitCode": 1, "containerID": id}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        for (status, previous, expected) in [
            (status(json!({"running": {}}), json!({})), false, Ok("now")),
            (status(json!({"running": {}}), end("orlop://old")), true, Ok("old")),
            (status(end("orlop://x"), json!({})), false, Ok("x")),
            (status(waiting("CrashLoopBackOff"), end("orlop://old")), false, Ok("old")),
            (
                status(json!({"running": {}}), json!({})),
                true,
                Err("previous terminated container \"c\" in pod \"p\" not found"),
            ),
            (
                status(waiting("ImagePullBackOff"), json!({})),
                false,
                Err("container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image"),
            ),
            (
                status(waiting("ContainerCreating"), json!({})),
                false,
                Err("container \"c\" in pod \"p\" is waiting to start: ContainerCreating"),
            ),
        ] {
            assert_eq!(of(status, previous), expected.map(str::to_owned).map_err(str::to_owned));
        }
    }
}
