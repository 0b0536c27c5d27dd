//! Everything at one revision.

use super::grpc::Failure;
use super::rpc::{self, Found, Watched};
use super::shared::Shared;
use crate::{Revision, State};

/// Objects of a page: a few MiB mostly.
const PAGE: u64 = 1000;

/// All objects as they were at `revision`; now for 0. Answers at which revision that was.
pub(crate) async fn list(shared: &Shared, mut revision: Revision) -> Result<(Revision, State), Failure> {
    let root = shared.layout.root();
    let (mut start, end) = (root.to_vec(), rpc::end_of(root));
    let mut state = State::default();
    loop {
        let answer = shared.cluster.ask(rpc::RANGE, &rpc::page(&start, &end, PAGE, revision)).await?;
        let found = Found::parse(&answer)?;
        if revision == 0 {
            revision = found.revision;
        }
        for kv in &found.kvs {
            if let Some(entry) = shared.entry(kv, &state) {
                state.put(entry);
            }
        }
        match found.kvs.last() {
            // The first key after it.
            Some(last) if found.more => start = [&last.key[..], &[0]].concat(),
            _ => return Ok((revision, state)),
        }
    }
}

/// The oldest revision that is not forgotten, given one that is.
pub(crate) async fn oldest_after(shared: &Shared, forgotten: Revision) -> Result<Revision, Failure> {
    let root = shared.layout.root();
    let request = rpc::watch(root, &rpc::end_of(root), forgotten);
    let (_, mut stream) = shared.cluster.stream(rpc::WATCH, &request).await?;
    while let Some(answer) = stream.answers.next().await? {
        let watched = Watched::parse(&answer)?;
        if watched.compacted > 0 {
            return Ok(watched.compacted);
        }
    }
    Err(Failure::Broken("the watch ended".into()))
}
