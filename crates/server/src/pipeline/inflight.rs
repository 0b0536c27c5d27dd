//! A bound on requests served at once (`k8s.io/apiserver/pkg/server/filters/maxinflight.go`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use orlop_api::status::StatusError;
use orlop_client::transport::UserInfo;

use crate::request::RequestInfo;

pub struct Inflight {
    reads: Lane,
    writes: Lane,
}

struct Lane {
    limit: usize,
    busy: Arc<AtomicUsize>,
}

/// Held while a request is served.
pub struct Slot(Option<Arc<AtomicUsize>>);

impl Inflight {
    pub fn new(reads: usize, writes: usize) -> Self {
        let lane = |limit| Lane { limit, busy: Arc::default() };
        Self { reads: lane(reads), writes: lane(writes) }
    }

    /// 429 when the lane is full; administrators always get in.
    pub fn enter(&self, user: &UserInfo, info: &RequestInfo) -> Result<Slot, StatusError> {
        let lane = self.lane(info);
        let busy = lane.busy.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(Some(lane.busy.clone()));
        if busy >= lane.limit && !user.groups.iter().any(|group| group == "system:masters") {
            return Err(StatusError::too_many_requests("Too many requests, please try again later.", 1));
        }
        Ok(slot)
    }

    fn lane(&self, info: &RequestInfo) -> &Lane {
        if matches!(&*info.verb, "get" | "list" | "watch") { &self.reads } else { &self.writes }
    }

    /// Reads and writes under way.
    pub fn busy(&self) -> (usize, usize) {
        (self.reads.busy.load(Ordering::Relaxed), self.writes.busy.load(Ordering::Relaxed))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(busy) = self.0.take() {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn full_lanes_refuse_all_but_administrators() {
        let inflight = Inflight::new(1, 1);
        let user = UserInfo::default();
        let admin = UserInfo { groups: vec!["system:masters".into()], ..UserInfo::default() };
        let read = RequestInfo::parse(&Method::GET, "/api/v1/pods");
        let write = RequestInfo::parse(&Method::POST, "/api/v1/namespaces/a/pods");
        let first = inflight.enter(&user, &read).unwrap();
        assert_eq!(inflight.enter(&user, &read).err().unwrap().code, 429);
        assert!(inflight.enter(&admin, &read).is_ok());
        assert!(inflight.enter(&user, &write).is_ok());
        drop(first);
        assert_eq!(inflight.busy(), (0, 0));
        assert!(inflight.enter(&user, &read).is_ok());
    }
}
