//! Reading again what nobody could read.

use std::sync::Arc;

use serde_json::Value;

use crate::{Action, Draft, Durability, Entry, Kept, Store, StoreError};

impl Store {
    /// Tries again to read what could not be read; what can be is written anew, unchanged, for all to see. Answers how
    /// many were.
    pub async fn reread(&self) -> usize {
        let mut read = 0;
        let snapshot = self.snapshot();
        for entry in snapshot.state().entries().filter(|entry| entry.unreadable().is_some()) {
            match self.write_anew(entry).await {
                Some(Ok(_)) => read += 1,
                // Somebody else was faster.
                Some(Err(StoreError::Conflict(_) | StoreError::NotFound)) | None => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, path = entry.key.path(), "could not write anew what was read");
                }
            }
        }
        read
    }

    /// `None`: it still cannot be read.
    async fn write_anew(&self, entry: &Arc<Entry>) -> Option<Result<Arc<Entry>, StoreError>> {
        let Some(Kept::Unreadable { sealed, .. }) = entry.memo.kept.get() else { return None };
        let key = entry.key.clone();
        let opened = self.transformer()?.open(&key.resource, &key.path(), sealed).ok()?;
        let object: Value = serde_json::from_slice(opened.json.as_deref().unwrap_or(sealed)).ok()?;
        let action = Action::Update { expected: entry.revision, draft: Draft::encode(&object) };
        Some(self.write(key, action, Durability::Flushed, None).await)
    }
}
