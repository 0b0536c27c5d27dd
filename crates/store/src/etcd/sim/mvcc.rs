//! etcd's data: every key at every revision that is not forgotten.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::rpc::{Changed, KeyValue};
use super::wire::{Compare, Operation, Range, Refusal, Txn};
use crate::Revision;

#[derive(Clone)]
pub(super) struct Mvcc {
    pub revision: Revision,
    pub compacted: Revision,
    /// In order of revision; a deletion has no `created`.
    keys: BTreeMap<Bytes, Vec<KeyValue>>,
    /// What changed at each revision after the compacted one.
    log: BTreeMap<Revision, Vec<Changed>>,
    /// All that ever did.
    pub past: Vec<Changed>,
}

#[derive(Default)]
pub(super) struct Page {
    pub kvs: Vec<KeyValue>,
    pub more: bool,
}

impl Default for Mvcc {
    /// An empty etcd is at 1.
    fn default() -> Mvcc {
        Mvcc { revision: 1, compacted: 0, keys: BTreeMap::new(), log: BTreeMap::new(), past: Vec::new() }
    }
}

impl Mvcc {
    pub fn range(&self, range: &Range) -> Result<Page, Refusal> {
        let at = if range.revision == 0 { self.revision } else { range.revision };
        if at > self.revision {
            return Err(Refusal::Future);
        }
        if at < self.compacted {
            return Err(Refusal::Compacted);
        }
        let found = self.keys.range(range.key.clone()..).take_while(|(key, _)| range.holds(key));
        let mut kvs: Vec<_> = found.filter_map(|(_, versions)| alive(versions, at).cloned()).collect();
        let limit = if range.limit == 0 { usize::MAX } else { range.limit as usize };
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        Ok(Page { kvs, more })
    }

    /// Whether the comparisons held, and what the last read among the operations found.
    pub fn txn(&mut self, txn: &Txn) -> Result<(bool, Option<Page>), Refusal> {
        let holds = txn.compares.iter().all(|compare| self.holds(compare));
        let operations = if holds { &txn.then } else { &txn.otherwise };
        let (revision, mut page) = (self.revision + 1, None);
        for operation in operations {
            match operation {
                Operation::Get(range) => page = Some(self.range(range)?),
                Operation::Put { key, value } => self.put(revision, key, value),
                Operation::Delete { key } => self.delete(revision, key),
            }
        }
        if let Some(changed) = self.log.get(&revision) {
            self.past.extend_from_slice(changed);
            self.revision = revision;
        }
        Ok((holds, page))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let none = KeyValue::default();
        let found = self.keys.get(&compare.key).and_then(|versions| alive(versions, self.revision));
        let found = found.unwrap_or(&none);
        let is = if compare.of_version { found.version } else { found.modified };
        if compare.less { is < compare.value } else { is == compare.value }
    }

    fn put(&mut self, revision: Revision, key: &Bytes, value: &Bytes) {
        let versions = self.keys.entry(key.clone()).or_default();
        let (created, version) = match versions.last().filter(|last| last.created > 0) {
            Some(last) => (last.created, last.version + 1),
            None => (revision, 1),
        };
        let kv = KeyValue { key: key.clone(), value: value.clone(), created, modified: revision, version };
        versions.push(kv.clone());
        self.log.entry(revision).or_default().push(Changed { deleted: false, kv });
    }

    fn delete(&mut self, revision: Revision, key: &Bytes) {
        let Some(versions) = self.keys.get_mut(key).filter(|versions| alive(versions, revision).is_some()) else {
            return;
        };
        let kv = KeyValue { key: key.clone(), modified: revision, ..KeyValue::default() };
        versions.push(kv.clone());
        self.log.entry(revision).or_default().push(Changed { deleted: true, kv });
    }

    pub fn compact(&mut self, revision: Revision) -> Result<(), Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.revision {
            return Err(Refusal::Future);
        }
        self.compacted = revision;
        self.log = self.log.split_off(&(revision + 1));
        self.keys.retain(|_, versions| {
            let newest = versions.iter().rposition(|version| version.modified <= revision).unwrap_or(0);
            let dead = versions[newest].created == 0 && versions[newest].modified <= revision;
            versions.drain(..newest + usize::from(dead));
            !versions.is_empty()
        });
        Ok(())
    }

    /// Everything in the range that changed from `start` on.
    pub fn changes(&self, range: &Range, start: Revision) -> Vec<Changed> {
        let changed = self.log.range(start..).flat_map(|(_, changed)| changed);
        changed.filter(|changed| range.holds(&changed.kv.key)).cloned().collect()
    }
}

/// The key as it was at a revision, if it was there.
fn alive(versions: &[KeyValue], at: Revision) -> Option<&KeyValue> {
    versions.iter().rfind(|version| version.modified <= at).filter(|version| version.created > 0)
}
