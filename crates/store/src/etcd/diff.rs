//! What changed between two states, when the events are forgotten.

use std::sync::Arc;

use super::shared::memo;
use super::value;
use crate::{Entry, Event, Revision, State};

/// In revision order. When something disappeared is not known: at `revision`, that of `new`, or just
/// before its successor came.
pub(crate) fn diff(old: &State, new: &State, revision: Revision) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for before in old.entries() {
        match new.find(&before.key) {
            None => events.extend(deletion(before, revision)),
            Some(after) if after.created != before.created => events.extend(deletion(before, after.created - 1)),
            Some(_) => {}
        }
    }
    for after in new.entries() {
        let before = old.find(&after.key).filter(|before| before.created == after.created);
        if before.is_none_or(|before| before.revision != after.revision) {
            let previous = before.cloned();
            events.push(Event { revision: after.revision, entry: after.clone(), previous, deleted: false });
        }
    }
    // Stable: what disappeared comes first.
    events.sort_by_key(|event| event.revision);
    events
}

/// The event of `before` disappearing at `revision`: the object as it was, as upstream shows it.
pub(crate) fn deletion(before: &Arc<Entry>, revision: Revision) -> Option<Event> {
    // What nobody could read, nobody can show.
    let json = match before.unreadable() {
        Some(_) => before.json.clone(),
        None => value::at_revision(&before.json, revision).ok()?,
    };
    let (key, created) = (before.key.clone(), before.created);
    let entry = Arc::new(Entry { key, revision, created, json, memo: memo(before.memo.kept.get().cloned()) });
    Some(Event { revision, entry, previous: Some(before.clone()), deleted: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Memo};

    fn state(entries: &[(&str, Revision, Revision)]) -> State {
        let mut state = State::default();
        for (name, created, revision) in entries {
            let json = format!(r#"{{"metadata":{{"resourceVersion":"{revision}"}}}}"#).into();
            let key = Key { resource: "pods".into(), namespace: "a".into(), name: (*name).into() };
            let (created, revision) = (*created, *revision);
            state.put(Arc::new(Entry { key, revision, created, json, memo: Memo::default() }));
        }
        state
    }

    #[test]
    fn each_difference_once_in_order() {
        let old = state(&[("changed", 1, 2), ("gone", 3, 3), ("new", 4, 4), ("same", 5, 5)]);
        let new = state(&[("changed", 1, 9), ("new", 8, 8), ("other", 7, 7), ("same", 5, 5)]);
        let events = diff(&old, &new, 10);
        let told: Vec<_> = events.iter().map(|e| (&*e.entry.key.name, e.revision, e.deleted)).collect();
        let want =
            [("new", 7, true), ("other", 7, false), ("new", 8, false), ("changed", 9, false), ("gone", 10, true)];
        assert_eq!(told, want);
        assert_eq!(&events[4].entry.json[..], br#"{"metadata":{"resourceVersion":"10"}}"#);
        assert_eq!(events[3].previous.as_ref().unwrap().revision, 2);
        assert!(events[2].previous.is_none());
        assert!(diff(&new, &new, 11).is_empty());
    }
}
