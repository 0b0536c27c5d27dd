//! WATCH: initial state, then changes, as a stream of lines or frames
//! (`k8s.io/apiserver/pkg/endpoints/handlers/watch.go`, `pkg/storage/cacher`).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use orlop_api::status::StatusError;
use orlop_base::id;
use orlop_client::transport::{Body, BoxError};
use orlop_store::{Batch, Entry, Event, Revision, StoreError, Watch};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{get, list};
use crate::Server;
use crate::call::Call;
use crate::events::{Encoder, EventType};
use crate::filter::Filter;
use crate::flow::WatchGuard;
use crate::metrics::LongRunning;
use crate::observe::in_cache;
use crate::options::{ListOptions, VersionMatch};
use crate::resource::Resource;
use crate::server::store_failed;
use crate::wire::draft;
use crate::wire::negotiate::Media;
use crate::wire::shape::Include;

/// About how often an idle watcher hears how far it has got.
const BOOKMARK_PERIOD: Duration = Duration::from_mins(1);
/// A last bookmark comes this long before the end, so that the next watch starts fresh.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Events sent in one chunk at most: initial state comes in bulk.
const CHUNK: usize = 64 * 1024;

pub(crate) async fn watch(server: &Arc<Server>, call: &Call) -> Result<Response<Body>, StatusError> {
    let output = call.output(true)?;
    let options = ListOptions::parse(&call.info, true)?;
    let filter = Filter::parse(&call.info, &call.resource)?;
    let include = Include::parse(call.info.query("includeObject").unwrap_or_default())?;
    let encoder = Encoder::new(server.clone(), call.resource.clone(), output, include);
    get::check_revision(&options.resource_version)?;
    let started = in_cache("cacher.Watch", &call.resource, start(server, call, &options, &filter)).await;
    let end = Instant::now() + timeout(&options, server.limits.min_watch_seconds);
    let mut stream = EventStream {
        server: server.clone(),
        resource: call.resource.clone(),
        filter,
        encoder,
        source: None,
        initial: VecDeque::new(),
        initial_end: None,
        bookmarks: options.allow_watch_bookmarks,
        next_bookmark: Box::pin(sleep_until(end)),
        end: Box::pin(sleep_until(end)),
        failed: None,
        shutdown: Box::pin(server.health.shutdown().cancelled_owned()),
        retired: retired(call.resource.clone()),
        _running: (
            server.metrics.long_running(&call.info, &call.head.headers),
            server.flow.watchers.add(&call.info.resource),
        ),
    };
    match started {
        Ok(start) => stream.begin(start, &options),
        // Past negotiation and parsing, failures come as events.
        Err(error) => stream.failed = Some(error),
    }
    let media = match output.media {
        Media::Json | Media::Yaml => Media::Json.name(),
        Media::Protobuf | Media::Cbor => output.media.stream_name(),
    };
    let frames = stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(chunk)), stream))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(response)
}

fn retired(resource: Resource) -> BoxFuture<'static, ()> {
    Box::pin(async move { resource.retired().await })
}

/// Watches without `timeoutSeconds` do not all end at once.
fn timeout(options: &ListOptions, least: u64) -> Duration {
    let seconds = options
        .timeout_seconds
        .filter(|seconds| *seconds > 0)
        .unwrap_or_else(|| least + id::with_rng(|rng| rng.u64(..=least)));
    Duration::from_secs(seconds)
}

/// Where a watch starts.
struct Start {
    source: Watch,
    initial: VecDeque<Arc<Entry>>,
    revision: Revision,
}

async fn start(server: &Server, call: &Call, options: &ListOptions, filter: &Filter) -> Result<Start, StatusError> {
    let resource = &call.resource;
    let namespace = list::scope(call, filter);
    let version = get::parse(&options.resource_version)?;
    let key = resource.storage_key();
    let from_state = match options.send_initial_events {
        Some(initial) => initial,
        None => version == 0,
    };
    if options.send_initial_events.is_some() || version == 0 {
        let snapshot = get::snapshot_not_older(server, resource, &options.resource_version).await?;
        let state = if from_state { snapshot.range(key, namespace, None).cloned().collect() } else { Vec::new() };
        let initial = server.pick(resource, filter, state).await?.into();
        let after = match (from_state, version, options.version_match) {
            // Without initial events, changes since the version asked for count.
            (false, asked, Some(VersionMatch::NotOlderThan)) if asked > 0 => asked,
            _ => snapshot.revision(),
        };
        let source = server.store.watch(key, namespace, after).map_err(lost)?;
        return Ok(Start { source, initial, revision: snapshot.revision() });
    }
    get::wait_for(server, version).await?;
    let source = server.store.watch(key, namespace, version).map_err(lost)?;
    Ok(Start { source, initial: VecDeque::new(), revision: version })
}

fn lost(error: StoreError) -> StatusError {
    match error {
        StoreError::Compacted { requested, oldest } => {
            StatusError::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        StoreError::Future { requested, newest } => get::too_large(requested, newest),
        other => store_failed(other),
    }
}

/// The state of one watch between two chunks.
struct EventStream {
    server: Arc<Server>,
    resource: Resource,
    filter: Filter,
    encoder: Encoder,
    source: Option<Watch>,
    /// Entries still to be sent as ADDED.
    initial: VecDeque<Arc<Entry>>,
    /// Revision of the bookmark that ends the initial state, while it is owed.
    initial_end: Option<Revision>,
    bookmarks: bool,
    // Timers live as long as the watch: a thousand watchers do not set them anew for each event.
    next_bookmark: Pin<Box<Sleep>>,
    end: Pin<Box<Sleep>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    /// What is watched is no longer served as it was.
    retired: BoxFuture<'static, ()>,
    /// Sent as the last event.
    failed: Option<StatusError>,
    _running: (LongRunning, WatchGuard),
}

impl EventStream {
    fn begin(&mut self, start: Start, options: &ListOptions) {
        self.source = Some(start.source);
        self.initial = start.initial;
        if self.bookmarks && options.send_initial_events == Some(true) {
            self.initial_end = Some(start.revision);
        }
        self.plan_bookmark();
    }

    fn plan_bookmark(&mut self) {
        let now = Instant::now();
        let soon = now + BOOKMARK_PERIOD;
        let last = self.end.deadline().checked_sub(BOOKMARK_BEFORE_END);
        self.next_bookmark.as_mut().reset(last.filter(|last| *last < soon && *last > now).unwrap_or(soon));
    }

    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.take_initial() {
                return Some(chunk);
            }
            if let Some(error) = self.failed.take() {
                self.source = None;
                return Some(self.encoder.error(&error));
            }
            let source = self.source.as_mut()?;
            let batch = tokio::select! {
                biased;
                () = &mut self.shutdown => return None,
                () = &mut self.end => return None,
                () = &mut self.retired => return None,
                batch = source.next() => batch,
                () = &mut self.next_bookmark, if self.bookmarks => {
                    let revision = source.progress();
                    self.plan_bookmark();
                    return Some(self.encoder.bookmark(revision, false));
                }
            };
            match batch {
                Ok(batch) => match self.encode_all(&batch).await {
                    Ok(Some(bytes)) => return Some(bytes),
                    Ok(None) => {}
                    Err(error) => self.failed = Some(error),
                },
                // Clean end: clients start a new watch where this one stopped.
                Err(StoreError::Closed) => return None,
                Err(error) => self.failed = Some(lost(error)),
            }
        }
    }

    async fn encode_all(&mut self, batch: &Batch) -> Result<Option<Bytes>, StatusError> {
        let mut out = Chunk::default();
        if self.resource.conversion().is_some() {
            let events: Vec<Event> = batch.iter().cloned().collect();
            let converted = self.server.present_events(&self.resource, &events).await?;
            converted.iter().filter_map(|event| self.encode(event)).for_each(|bytes| out.push(bytes));
        } else {
            batch.iter().filter_map(|event| self.encode(event)).for_each(|bytes| out.push(bytes));
        }
        Ok(out.finish())
    }

    /// Initial state in bulk, then its closing bookmark.
    fn take_initial(&mut self) -> Option<Bytes> {
        let mut out = Chunk::default();
        while out.len() < CHUNK {
            let Some(entry) = self.initial.pop_front() else { break };
            out.push(self.encoder.initial(&entry));
        }
        if self.initial.is_empty()
            && let Some(revision) = self.initial_end.take()
        {
            out.push(self.encoder.bookmark(revision, true));
        }
        out.finish()
    }

    /// What this watcher sees of a change: objects enter and leave its selection.
    fn encode(&mut self, event: &Event) -> Option<Bytes> {
        let matches = |entry: &Entry| self.filter.matches(&self.resource, entry);
        let now = !event.deleted && matches(&event.entry);
        // What could not be read was shown to nobody.
        let shown = |entry: &Entry| event.deleted || entry.unreadable().is_none();
        let before = event.previous.as_deref().is_some_and(|entry| shown(entry) && matches(entry));
        Some(match (before, now) {
            (false, false) => return None,
            (false, true) => self.encoder.event(EventType::Added, &event.entry),
            (true, true) => self.encoder.event(EventType::Modified, &event.entry),
            (true, false) if event.deleted => self.encoder.event(EventType::Deleted, &event.entry),
            (true, false) => {
                // It left the selection: the client gets what it knew, at the revision of the change.
                let previous = event.previous.as_ref()?;
                let json = draft::with_revision(&previous.json, event.revision);
                self.encoder.left_selection(event, &json)
            }
        })
    }
}

/// Events of one chunk; a single one is not copied.
#[derive(Default)]
struct Chunk {
    first: Option<Bytes>,
    more: Option<BytesMut>,
}

impl Chunk {
    fn push(&mut self, bytes: Bytes) {
        match (&mut self.first, &mut self.more) {
            (None, _) => self.first = Some(bytes),
            (Some(first), None) => {
                let mut buffer = BytesMut::with_capacity((first.len() + bytes.len()) * 2);
                buffer.extend_from_slice(first);
                buffer.extend_from_slice(&bytes);
                self.more = Some(buffer);
            }
            (_, Some(buffer)) => buffer.extend_from_slice(&bytes),
        }
    }

    fn len(&self) -> usize {
        self.more.as_ref().map_or_else(|| self.first.as_ref().map_or(0, Bytes::len), BytesMut::len)
    }

    fn finish(self) -> Option<Bytes> {
        self.more.map(BytesMut::freeze).or(self.first)
    }
}
