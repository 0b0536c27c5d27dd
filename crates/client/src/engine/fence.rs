//! The own-writes fence: what the caches must show before a subject is decided again.
//!
//! A decision that reads caches older than its own last write would do the same thing twice. A
//! write that succeeded names the revision to wait for. One whose fate is unknown names none: then
//! the newest revision is asked for at the server, after the fact, and waited for.

use std::sync::Arc;
use std::time::Duration;

use orlop_base::backoff::Backoff;

use super::source::Sources;
use crate::object::Resource;

/// Between questions to a server that does not answer.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(30) };

/// A cache this long behind is broken rather than late (upstream's expectations time out so too).
const PATIENCE: Duration = Duration::from_mins(5);

/// One thing to wait for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Until {
    /// The cache has seen this revision.
    Revision(u64),
    /// The cache shows this object gone or terminating.
    Gone { key: String, uid: String },
    /// The cache has seen whatever the server has by now.
    Now,
}

/// Everything one plan has to wait for.
#[derive(Default)]
pub(super) struct Fence(Vec<(Resource, Until)>);

impl Fence {
    pub fn add(&mut self, resource: &Resource, until: Until) {
        // Of several revisions of one resource only the newest matters.
        if let Until::Revision(new) = until
            && let Some((_, Until::Revision(known))) =
                self.0.iter_mut().find(|(r, u)| r == resource && matches!(u, Until::Revision(_)))
        {
            *known = new.max(*known);
            return;
        }
        self.0.push((resource.clone(), until));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns once every cache has caught up. Resources nobody reads are not waited for.
    pub async fn passed(self, sources: &Arc<Sources>) {
        for (resource, until) in self.0 {
            let wait = pass(sources, &resource, until);
            if tokio::time::timeout(PATIENCE, wait).await.is_err() {
                tracing::warn!(resource = %resource.plural, "a cache has not shown an own write for 5 minutes; going on");
            }
        }
    }
}

async fn pass(sources: &Arc<Sources>, resource: &Resource, until: Until) {
    let Some(source) = sources.of(resource) else { return };
    match until {
        Until::Revision(revision) => source.reached(revision).await,
        Until::Gone { key, uid } => source.gone(key, uid).await,
        Until::Now => {
            let mut failures = 0;
            let newest = loop {
                match source.newest().await {
                    Ok(revision) => break revision,
                    Err(_) => failures += 1,
                }
                tokio::time::sleep(crate::client::jitter(BACKOFF.delay(failures))).await;
            };
            source.reached(newest).await;
        }
    }
}
