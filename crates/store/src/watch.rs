//! Following one resource from a revision on.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::channel::{Channel, Read};
use crate::view::View;
use crate::{Event, Revision, StoreError};

/// A cursor into the events of a resource (and namespace). It holds nothing back: when it falls
/// behind the history window it ends with [`StoreError::Compacted`].
pub struct Watch {
    view: Arc<View>,
    bell: Arc<Notify>,
    cursor: Cursor,
}

struct Cursor {
    channel: Arc<Channel>,
    namespace: Option<Arc<str>>,
    /// Everything up to here has been delivered or does not concern this watch.
    at: Revision,
}

impl Watch {
    pub(crate) fn new(
        view: Arc<View>,
        resource: &str,
        namespace: Option<&str>,
        after: Revision,
    ) -> Result<Watch, StoreError> {
        let newest = view.revision();
        if after > newest {
            return Err(StoreError::Future { requested: after, newest });
        }
        let channel = view.channel(resource);
        let namespace: Option<Arc<str>> = namespace.map(Arc::from);
        let bell = channel.subscribe(namespace.as_ref());
        let watch = Watch { view, bell, cursor: Cursor { channel, namespace, at: after } };
        match watch.cursor.channel.read(after, |_| true) {
            Read::Lost(oldest) => Err(StoreError::Compacted { requested: after, oldest }),
            _ => Ok(watch),
        }
    }

    /// The next events, in order; waits for some. Safe to cancel.
    ///
    /// Errors: `Compacted` when events were missed, `Closed` after the last one of a closed store.
    pub async fn next(&mut self) -> Result<Batch, StoreError> {
        loop {
            // A thousand watchers share the bell: it is touched only by those who are about to sleep.
            if let Some(batch) = self.cursor.try_next()? {
                return Ok(batch);
            }
            let mut rung = std::pin::pin!(self.bell.notified());
            // Listening before looking again: what comes in between is not slept through.
            rung.as_mut().enable();
            if let Some(batch) = self.cursor.try_next()? {
                return Ok(batch);
            }
            rung.await;
        }
    }

    /// Like [`Watch::next`], with `None` instead of waiting.
    pub fn try_next(&mut self) -> Result<Option<Batch>, StoreError> {
        self.cursor.try_next()
    }

    /// A revision up to which everything that concerns this watch has been delivered: what a bookmark
    /// may carry. Moves on with the whole store's revision, also while the watched resource is idle.
    pub fn progress(&mut self) -> Revision {
        // In this order: events are there before their revision shows.
        let durable = self.view.revision();
        let cursor = &mut self.cursor;
        if matches!(cursor.read(), Read::Empty | Read::Closed) {
            cursor.at = cursor.at.max(durable);
        }
        cursor.at
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(namespace) = &self.cursor.namespace {
            self.cursor.channel.unsubscribe(namespace, std::mem::take(&mut self.bell));
        }
    }
}

impl Cursor {
    fn try_next(&mut self) -> Result<Option<Batch>, StoreError> {
        match self.read() {
            Read::Batch(events) => {
                let after = self.at;
                self.at = events.last().map_or(after, |event| event.revision);
                Ok(Some(Batch { events, after, namespace: self.namespace.clone() }))
            }
            Read::Empty => Ok(None),
            Read::Lost(oldest) => Err(StoreError::Compacted { requested: self.at, oldest }),
            Read::Closed => Err(StoreError::Closed),
        }
    }

    fn read(&self) -> Read {
        self.channel.read(self.at, |event| concerns(event, self.namespace.as_deref()))
    }
}

fn concerns(event: &Event, namespace: Option<&str>) -> bool {
    namespace.is_none_or(|namespace| *event.entry.key.namespace == *namespace)
}

/// Events that became durable together, shared by everybody who watches them.
#[derive(Clone, Debug)]
pub struct Batch {
    events: Arc<[Event]>,
    after: Revision,
    namespace: Option<Arc<str>>,
}

impl Batch {
    /// Never empty.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        let after = self.after;
        let namespace = self.namespace.as_deref();
        self.events.iter().filter(move |event| event.revision > after && concerns(event, namespace))
    }

    /// After this batch the watch has seen everything up to here.
    pub fn revision(&self) -> Revision {
        self.events.last().map_or(self.after, |event| event.revision)
    }
}
