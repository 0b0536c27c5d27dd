//! The one door for the server.

use serde_json::{Map, Value, json};

use super::apply::{Applied, apply};
use super::compare::CompareError;
use super::conflict::conflict_error;
use super::convert::Versions;
use super::entries::{self, ManagerId, Managers};
use super::last_applied;
use super::update::{Write, update};
use crate::kind::Kind;
use crate::meta;
use crate::status::StatusError;

/// Keeps `managedFields` through one write of one object.
#[derive(Clone, Copy)]
pub struct FieldManager<'a> {
    pub kind: &'a dyn Kind,
    /// The version in the request's URL.
    pub version: &'a str,
    /// Empty for the main resource.
    pub subresource: &'a str,
    /// Who writes: see [`manager_name`].
    pub manager: &'a str,
    /// Now, RFC 3339 in seconds.
    pub now: &'a str,
}

/// Entries that a write starts from; trusted ones are the store's.
struct Start {
    /// Null when there are none.
    entries: Value,
    trusted: bool,
}

/// The manager's name of those objects of which nobody knows who wrote what.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

impl FieldManager<'_> {
    /// The creator owns all it set.
    pub fn on_create(&self, new: &mut Value) {
        self.on_update(None, new);
    }

    /// The writer owns what it changed, others lose that. Objects are of the request's version or of the
    /// storage version. Where `new` brings `managedFields` of its own, those count; an empty list, or a
    /// list of one empty entry, stops tracking.
    pub fn on_update(&self, live: Option<&Value>, new: &mut Value) {
        let sent = meta::metadata_mut(new).remove("managedFields");
        let live_entries = live.map_or(&Value::Null, |live| &live["metadata"]["managedFields"]);
        let start = self.start(live_entries, sent);
        // An object that is not tracked stays so, until someone applies.
        if live.is_some() && start.entries.is_null() {
            return;
        }
        // Rather old entries than none.
        set_entries(new, self.updated(live, new, start).unwrap_or_else(|_| live_entries.clone()));
    }

    /// As [`FieldManager::on_update`], for the outcome of any patch but apply.
    pub fn on_patch(&self, live: &Value, new: &mut Value) {
        self.on_update(Some(live), new);
    }

    /// The live object with `applied` on top, in the request's version, with `managedFields` set. Fields
    /// this manager applied before and now leaves out go, unless someone else owns them.
    ///
    /// 409 when that changes what others own and `force` is off; 400 when `applied` is of another kind
    /// or brings `managedFields`.
    pub fn on_apply(&self, live: Option<&Value>, applied: &Value, force: bool) -> Result<Value, StatusError> {
        let versions = Versions { kind: self.kind };
        let api_version = self.api_version();
        self.check_applied(applied)?;
        let new_object = json!({ "apiVersion": api_version, "kind": self.kind.info().kind, "metadata": {} });
        let live = live.unwrap_or(&new_object);
        let live = versions.convert(live, &api_version).unwrap_or(std::borrow::Cow::Borrowed(live));
        let mut managers = entries::decode(live["metadata"]["managedFields"].clone(), true)
            .map_err(|why| StatusError::new(500, "", format!("failed to decode managed fields: {why}")))?;
        let mut live = live.into_owned();
        meta::remove(&mut live, "managedFields");
        if managers.is_empty() {
            managers = self.before_first_apply(&live, &new_object);
        }
        let id = ManagerId::apply(self.manager, self.subresource);
        let write = self.write(&versions, &api_version);
        let outcome = match apply(&write, &live, applied, managers.clone(), &id, force) {
            Err(Applied::Conflicts(conflicts)) if self.manager == last_applied::MANAGER => {
                // Whoever used client-side apply before owns what it applied.
                let conflicts = last_applied::not_excused(&write, &live, conflicts);
                if conflicts.is_empty() {
                    apply(&write, &live, applied, managers, &id, true)
                } else {
                    Err(Applied::Conflicts(conflicts))
                }
            }
            outcome => outcome,
        };
        let (mut object, managers) = match outcome {
            Ok((Some(object), mut managers)) => {
                if let Some(owned) = managers.get_mut(&id) {
                    owned.time = Some(self.now.into());
                }
                (object, managers)
            }
            Ok((None, managers)) => (live, managers),
            Err(Applied::Conflicts(conflicts)) => return Err(conflict_error(&conflicts)),
            Err(Applied::Error(error)) => return Err(error),
        };
        if self.manager == last_applied::MANAGER {
            last_applied::follow(&mut object, applied);
        }
        set_entries(&mut object, entries::encode(managers));
        Ok(object)
    }

    fn api_version(&self) -> String {
        self.kind.info().api_version(self.version)
    }

    fn write<'b>(&'b self, versions: &'b Versions<'b>, api_version: &'b str) -> Write<'b> {
        Write { versions, api_version, reset: self.kind.reset_fields(self.subresource), now: self.now }
    }

    fn start(&self, live: &Value, sent: Option<Value>) -> Start {
        let of_live = || Start { entries: some_entries(live.clone()), trusted: true };
        match sent {
            Some(sent) if sent == *live => Start { entries: some_entries(sent), trusted: true },
            // Through a subresource nobody can set managedFields.
            Some(sent) if self.subresource.is_empty() => match entries::decode(sent.clone(), false) {
                _ if is_reset(&sent) => Start { entries: Value::Null, trusted: true },
                Ok(managers) if !managers.is_empty() => Start { entries: sent, trusted: false },
                _ => of_live(),
            },
            _ => of_live(),
        }
    }

    /// The entries after the write.
    fn updated(&self, live: Option<&Value>, new: &Value, start: Start) -> Result<Value, CompareError> {
        let versions = Versions { kind: self.kind };
        let api_version = self.api_version();
        let nothing = Value::Object(Map::new());
        let write = self.write(&versions, &api_version);
        let id = ManagerId::update(self.manager, &api_version, self.subresource);
        let Start { entries, trusted } = start;
        let decode = |entries| entries::decode(entries, trusted).unwrap_or_default();
        let mut entries = Some(entries);
        let changed =
            update(&write, live.unwrap_or(&nothing), new, || decode(entries.take().unwrap_or_default()), &id)?;
        Ok(match changed {
            Some(mut managers) => {
                entries::cap_updates(&mut managers);
                entries::encode(managers)
            }
            None if trusted => entries.unwrap_or_default(),
            None => entries::encode(decode(entries.unwrap_or_default())),
        })
    }

    /// What stood there before anyone applied belongs to a manager of its own.
    fn before_first_apply(&self, live: &Value, new_object: &Value) -> Managers {
        let before = FieldManager { manager: BEFORE_FIRST_APPLY, ..*self };
        let start = Start { entries: Value::Null, trusted: true };
        let entries = before.updated(Some(new_object), live, start).unwrap_or_default();
        entries::decode(entries, true).unwrap_or_default()
    }

    fn check_applied(&self, applied: &Value) -> Result<(), StatusError> {
        let info = self.kind.info();
        let (api_version, kind) = (&applied["apiVersion"], &applied["kind"]);
        if *api_version != self.api_version() || *kind != *info.kind {
            let gvk = group_version_kind(api_version.as_str().unwrap_or_default(), kind.as_str().unwrap_or_default());
            return Err(StatusError::bad_request(format!("invalid object type: {gvk}")));
        }
        if !applied["metadata"]["managedFields"].is_null() {
            return Err(StatusError::bad_request("metadata.managedFields must be nil"));
        }
        Ok(())
    }
}

/// `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`: as Go prints it.
pub fn group_version_kind(api_version: &str, kind: &str) -> String {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    format!("{group}/{version}, Kind={kind}")
}

/// An empty list is no entries either.
fn some_entries(entries: Value) -> Value {
    if entries.as_array().is_some_and(Vec::is_empty) { Value::Null } else { entries }
}

fn is_reset(entries: &Value) -> bool {
    match entries.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([one]) => one.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

fn set_entries(object: &mut Value, entries: Value) {
    if entries.is_null() {
        meta::remove(object, "managedFields");
    } else {
        meta::set(object, "managedFields", entries);
    }
}

/// The manager of a request: what it says, else the first part of its user agent.
pub fn manager_name(field_manager: &str, user_agent: &str) -> String {
    /// `FieldManagerMaxLength` of `apimachinery/pkg/apis/meta/v1/validation`, in bytes.
    const MAX_BYTES: usize = 128;
    if !field_manager.is_empty() {
        return field_manager.to_owned();
    }
    let mut name = String::new();
    for c in user_agent.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > MAX_BYTES {
            break;
        }
        name.push(c);
    }
    name
}

/// Where `new` differs from `old` in the times of its entries alone, gives it the old ones, so that the
/// write can be seen to change nothing.
pub fn keep_times_of_noop(old: &Value, new: &mut Value) {
    let without_times = |object: &Value| -> Vec<Value> {
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries
            .into_iter()
            .map(|mut entry| {
                if let Some(entry) = entry.as_object_mut() {
                    entry.remove("time");
                }
                entry
            })
            .collect()
    };
    let (old_entries, new_entries) = (&old["metadata"]["managedFields"], &new["metadata"]["managedFields"]);
    if old_entries == new_entries || without_times(old) != without_times(new) {
        return;
    }
    let mut rest = new.clone();
    set_entries(&mut rest, old_entries.clone());
    // The resource version is the store's; a request may or may not carry it.
    let bare = |object: &Value| {
        let mut object = object.clone();
        meta::remove(&mut object, "resourceVersion");
        object
    };
    if bare(&rest) == bare(old) {
        *new = rest;
    }
}
