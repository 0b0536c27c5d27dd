//! The fate of a group of writes, awaited by all its writers.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::StoreError;

#[derive(Default)]
pub(crate) struct Commit {
    outcome: OnceLock<Option<Arc<io::Error>>>,
    bell: Notify,
}

impl Commit {
    pub fn finish(&self, failure: Option<Arc<io::Error>>) {
        if self.outcome.set(failure).is_ok() {
            self.bell.notify_waiters();
        }
    }

    pub async fn wait(&self) -> Result<(), StoreError> {
        let mut rung = std::pin::pin!(self.bell.notified());
        // Listening before looking.
        rung.as_mut().enable();
        if self.outcome.get().is_none() {
            rung.await;
        }
        match self.outcome.get() {
            Some(None) => Ok(()),
            Some(Some(failure)) => Err(StoreError::Io(failure.clone())),
            None => Err(StoreError::Closed),
        }
    }
}
