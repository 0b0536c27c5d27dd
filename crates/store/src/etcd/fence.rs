//! One linearizable read for all who asked before it began.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::grpc::Failure;
use crate::Revision;

#[derive(Default)]
pub(crate) struct Fence {
    asked: AtomicU64,
    last: Mutex<Option<Passed>>,
}

/// The last read.
struct Passed {
    /// It began after the first so many had asked.
    asked: u64,
    result: Result<Revision, Failure>,
}

impl Fence {
    /// What `read`, begun by somebody after this call, answers.
    pub async fn pass<R>(&self, read: impl FnOnce() -> R) -> Result<Revision, Failure>
    where
        R: Future<Output = Result<Revision, Failure>>,
    {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.lock().await;
        if let Some(passed) = &*last
            && passed.asked >= mine
        {
            return passed.result.clone();
        }
        let asked = self.asked.load(Ordering::SeqCst);
        let result = read().await;
        *last = Some(Passed { asked, result: result.clone() });
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn who_asks_meanwhile_shares_the_next_read() {
        let (fence, reads, gate) = (Fence::default(), AtomicU64::new(0), Semaphore::new(0));
        let read = || async {
            let read = reads.fetch_add(1, Ordering::SeqCst) + 1;
            gate.acquire().await.unwrap().forget();
            Ok(read)
        };
        let asking = join_all((0..10).map(|_| fence.pass(read)));
        let (answers, ()) = tokio::join!(asking, async { gate.add_permits(10) });
        // The first one's read began before the others asked.
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(fence.pass(read).await.unwrap(), 3, "never an answer from before");
    }
}
