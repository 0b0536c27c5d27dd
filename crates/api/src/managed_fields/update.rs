//! What a write that was not an apply does to ownership.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{CompareError, Comparison, compare_objects};
use super::conflict::Conflict;
use super::convert::{Versions, root};
use super::entries::{ManagerId, Managers, Owned, drop_empty};
use super::set::{FieldSet, pattern};
use crate::kind::ResetFields;

/// One write, as far as ownership is concerned.
pub struct Write<'a> {
    pub versions: &'a Versions<'a>,
    /// Of the request.
    pub api_version: &'a str,
    pub reset: ResetFields,
    pub now: &'a str,
}

impl Write<'_> {
    /// Without the fields that the write cannot change.
    pub fn filter(&self, set: FieldSet) -> FieldSet {
        match self.reset {
            ResetFields::Only(paths) => set.difference_below(&FieldSet::of_fields(paths)),
            ResetFields::AllBut(paths) => {
                let patterns: Vec<_> = paths.iter().map(|path| pattern(path)).collect();
                set.only(&patterns)
            }
        }
    }

    /// What the write changed, in one version; `None` when that version is not served.
    pub fn compare(&self, old: &Value, new: &Value, api_version: &str) -> Result<Option<Comparison>, CompareError> {
        let (Some(old), Some(new)) = (self.versions.convert(old, api_version), self.versions.convert(new, api_version))
        else {
            return Ok(None);
        };
        let schema = self.versions.schema(api_version);
        let ignored = if let ResetFields::Only(paths) = self.reset { paths } else { &[] };
        Ok(Some(compare_objects(&old, &new, root(schema.as_ref()), ignored)?.map(|set| self.filter(set))))
    }
}

/// Entries after `manager` turned `old` into `new`; `None` when nothing changed, and `managers` was not
/// asked for.
pub fn update(
    write: &Write<'_>,
    old: &Value,
    new: &Value,
    managers: impl FnOnce() -> Managers,
    manager: &ManagerId,
) -> Result<Option<Managers>, CompareError> {
    let Some(comparison) = write.compare(old, new, write.api_version)?.filter(|c| !c.is_empty()) else {
        return Ok(None);
    };
    let mut managers = managers();
    let set_now = comparison.set_by_new();
    Taking { write, old, new, by_version: BTreeMap::new() }.take(comparison, &mut managers, None)?;
    if !set_now.is_empty() {
        let before = managers.remove(manager).map(|owned| owned.set()).unwrap_or_default();
        let owned = Owned::new(write.api_version, set_now.union(before), Some(write.now.into()));
        managers.insert(manager.clone(), owned);
    }
    Ok(Some(managers))
}

/// Takes what an apply changed away from all managers but the applying one. Returns what they held of
/// the fields that now have another value.
pub fn take_from_others(
    write: &Write<'_>,
    old: &Value,
    new: &Value,
    comparison: Comparison,
    managers: &mut Managers,
    applier: &ManagerId,
) -> Result<Vec<Conflict>, CompareError> {
    Taking { write, old, new, by_version: BTreeMap::new() }.take(comparison, managers, Some(applier))
}

struct Taking<'a> {
    write: &'a Write<'a>,
    old: &'a Value,
    new: &'a Value,
    by_version: BTreeMap<String, Option<Change>>,
}

/// What changed, in one version.
struct Change {
    set_now: FieldSet,
    removed: FieldSet,
}

impl Taking<'_> {
    /// Also forgets managers of versions that are no longer served.
    fn take(
        mut self,
        comparison: Comparison,
        managers: &mut Managers,
        applier: Option<&ManagerId>,
    ) -> Result<Vec<Conflict>, CompareError> {
        self.by_version.insert(self.write.api_version.to_owned(), Some(comparison.into()));
        let mut conflicts = Vec::new();
        let mut obsolete = Vec::new();
        for (id, owned) in managers.iter_mut().filter(|(id, _)| applier != Some(id)) {
            let Some(change) = self.change_in(&owned.api_version)? else {
                obsolete.push(id.clone());
                continue;
            };
            if !owned.touches(&change.set_now) && !owned.touches(&change.removed) {
                continue;
            }
            if applier.is_some() {
                owned.set().intersection(&change.set_now).for_each(&mut |path| {
                    conflicts.push(Conflict { manager: id.clone(), path: path.to_vec() });
                });
            }
            owned.change(|set| set.difference(&change.set_now).difference(&change.removed));
        }
        managers.retain(|id, _| !obsolete.contains(id));
        drop_empty(managers);
        Ok(conflicts)
    }

    fn change_in(&mut self, api_version: &str) -> Result<Option<&Change>, CompareError> {
        if !self.by_version.contains_key(api_version) {
            let comparison = self.write.compare(self.old, self.new, api_version)?;
            self.by_version.insert(api_version.to_owned(), comparison.map(Change::from));
        }
        Ok(self.by_version.get(api_version).and_then(Option::as_ref))
    }
}

impl From<Comparison> for Change {
    fn from(comparison: Comparison) -> Self {
        Self { set_now: comparison.modified.union(comparison.added), removed: comparison.removed }
    }
}
