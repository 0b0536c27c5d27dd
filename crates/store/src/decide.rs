//! Whether a change may happen, decided on the newest state.

use std::sync::Arc;

use crate::{Action, Entry, Key, State, StoreError};

/// The entry that the change replaces, or why it may not.
pub(crate) fn decide(state: &State, key: &Key, action: &Action) -> Result<Option<Arc<Entry>>, StoreError> {
    match (action, state.find(key)) {
        (Action::Create(_), None) => Ok(None),
        (Action::Create(_), Some(_)) => Err(StoreError::Exists),
        (Action::Update { .. } | Action::Delete { .. }, None) => Err(StoreError::NotFound),
        (Action::Update { expected, .. } | Action::Delete { expected, .. }, Some(newest)) => {
            if newest.revision == *expected {
                Ok(Some(newest.clone()))
            } else {
                Err(StoreError::Conflict(newest.clone()))
            }
        }
    }
}
