//! Having etcd forget what is older than the interval before the last (`apiserver/pkg/storage/etcd3/compact.go`).
//!
//! Of several API servers, upstream's included, one does it: who first raises the version of a key that all
//! know. The others take over its new version and try again an interval later.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, warn};

use super::failure::Reason as _;
use super::grpc::Failure;
use super::rpc::{self, Done};
use super::shared::Shared;
use crate::Revision;

/// Upstream's compactRevKey, outside every prefix.
const KEY: &[u8] = b"compact_rev_key";

/// What the last round left.
#[derive(Default)]
struct Round {
    /// The key's version.
    version: u64,
    /// The cluster's revision then: forgotten in this round. 0: not known.
    revision: Revision,
}

pub(crate) async fn run(shared: &Shared, interval: Duration) {
    let mut round = Round::default();
    loop {
        sleep(interval).await;
        match compact(shared, &round).await {
            Ok(next) => round = next,
            Err(failure) => warn!(%failure, "compacting etcd failed; trying again after the interval"),
        }
    }
}

async fn compact(shared: &Shared, round: &Round) -> Result<Round, Failure> {
    let put = rpc::op_put(KEY, round.revision.to_string().as_bytes());
    let request = rpc::txn([rpc::equal(KEY, rpc::VERSION, round.version)], [put], rpc::op_get(KEY));
    let done = Done::parse(&shared.cluster.ask(rpc::TXN, &request).await?)?;
    if !done.succeeded {
        let version = done.found.map_or(0, |kv| kv.version);
        return Ok(Round { version, revision: done.revision });
    }
    let next = Round { version: round.version + 1, revision: done.revision };
    if round.revision > 0 {
        match shared.cluster.ask(rpc::COMPACT, &rpc::compact(round.revision)).await {
            Ok(_) => debug!(revision = round.revision, "etcd was compacted"),
            // By an earlier try, or by hand.
            Err(failure) if failure.is_compacted() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(next)
}
