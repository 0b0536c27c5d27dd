//! `metadata.managedFields` of an object: who owns which fields, read and written.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::FieldSet;

/// Update managers beyond this many are put together, oldest first (`DefaultMaxUpdateManagers`).
const MAX_UPDATE_MANAGERS: usize = 10;
const OLD_UPDATES: &str = "ancient-changes";

/// Who an entry belongs to. Of appliers the version is not part of it: they keep one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManagerId {
    pub manager: String,
    pub applied: bool,
    /// Empty for appliers.
    pub api_version: String,
    pub subresource: String,
}

impl ManagerId {
    pub fn update(manager: &str, api_version: &str, subresource: &str) -> Self {
        Self {
            manager: if manager.is_empty() { "unknown" } else { manager }.to_owned(),
            applied: false,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    pub fn apply(manager: &str, subresource: &str) -> Self {
        Self { applied: true, ..Self::update(manager, "", subresource) }
    }

    fn operation(&self) -> &'static str {
        if self.applied { "Apply" } else { "Update" }
    }
}

/// What a manager owns, in which version it said so, and when.
#[derive(Clone, Debug)]
pub struct Owned {
    pub api_version: String,
    /// RFC 3339; an applier that changed nothing has none.
    pub time: Option<Value>,
    fields: Fields,
}

/// Sets stay JSON until someone needs to look inside.
#[derive(Clone, Debug)]
enum Fields {
    Json(Value),
    Set(FieldSet),
}

impl Owned {
    pub fn new(api_version: &str, set: FieldSet, time: Option<Value>) -> Self {
        Self { api_version: api_version.to_owned(), time, fields: Fields::Set(set) }
    }

    /// What was read as JSON was found readable.
    pub fn set(&self) -> FieldSet {
        match &self.fields {
            Fields::Json(json) => FieldSet::from_json(json).unwrap_or_default(),
            Fields::Set(set) => set.clone(),
        }
    }

    /// Replaces the set by what `change` makes of it.
    pub fn change(&mut self, change: impl FnOnce(FieldSet) -> FieldSet) {
        self.fields = Fields::Set(change(self.set()));
    }

    /// Shares a path with `other`.
    pub fn touches(&self, other: &FieldSet) -> bool {
        match &self.fields {
            Fields::Json(json) => other.touches(json),
            Fields::Set(set) => !set.intersection(other).is_empty(),
        }
    }

    fn is_empty(&self) -> bool {
        match &self.fields {
            Fields::Json(json) => json.as_object().is_none_or(Map::is_empty),
            Fields::Set(set) => set.is_empty(),
        }
    }
}

/// All entries of an object.
pub type Managers = BTreeMap<ManagerId, Owned>;

/// Why `managedFields` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    #[error("invalid fieldsType {0:?} in managed fields entry {1}")]
    FieldsType(String, usize),
    #[error("error decoding set: {0}")]
    Set(#[from] super::element::ParseElementError),
}

/// Reads entries. `trusted` ones were written by [`encode`], and their sets need no look.
pub fn decode(entries: Value, trusted: bool) -> Result<Managers, DecodeError> {
    let mut managers = Managers::new();
    let Value::Array(entries) = entries else { return Ok(managers) };
    for (i, mut entry) in entries.into_iter().enumerate() {
        let json = entry.get_mut("fieldsV1").map(Value::take).unwrap_or_default();
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let applied = match text("operation") {
            "Apply" => true,
            "Update" => false,
            _ => return Err(DecodeError::Operation),
        };
        if text("apiVersion").is_empty() {
            return Err(DecodeError::ApiVersion);
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(DecodeError::NoFieldsType(i)),
            other => return Err(DecodeError::FieldsType(other.to_owned(), i)),
        }
        let api_version = text("apiVersion").to_owned();
        let id = ManagerId {
            manager: text("manager").to_owned(),
            applied,
            api_version: if applied { String::new() } else { api_version.clone() },
            subresource: text("subresource").to_owned(),
        };
        let fields = if trusted { Fields::Json(json) } else { Fields::Set(FieldSet::from_json(&json)?) };
        managers.insert(id, Owned { api_version, time: entry.get("time").filter(|t| !t.is_null()).cloned(), fields });
    }
    Ok(managers)
}

/// Writes entries in upstream's order; null when there are none.
pub fn encode(managers: Managers) -> Value {
    if managers.is_empty() {
        return Value::Null;
    }
    let mut entries: Vec<(ManagerId, Owned)> = managers.into_iter().collect();
    entries.sort_by(|(a_id, a), (b_id, b)| {
        let time = |owned: &Owned| owned.time.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        (a_id.operation(), time(a), &a_id.manager, &a.api_version, &a_id.subresource).cmp(&(
            b_id.operation(),
            time(b),
            &b_id.manager,
            &b.api_version,
            &b_id.subresource,
        ))
    });
    entries.into_iter().map(|(id, owned)| entry(&id, owned)).collect()
}

fn entry(id: &ManagerId, owned: Owned) -> Value {
    let fields = match owned.fields {
        Fields::Json(json) => json,
        Fields::Set(set) => set.to_json(),
    };
    let mut entry = json!({
        "apiVersion": owned.api_version, "fieldsType": "FieldsV1", "fieldsV1": fields, "operation": id.operation(),
    });
    for (field, text) in [("manager", &id.manager), ("subresource", &id.subresource)] {
        if !text.is_empty() {
            entry[field] = text.as_str().into();
        }
    }
    if let Some(time) = owned.time {
        entry["time"] = time;
    }
    entry
}

/// Drops entries that own nothing.
pub fn drop_empty(managers: &mut Managers) {
    managers.retain(|_, owned| !owned.is_empty());
}

/// Puts the oldest update entries of each version together while there are too many.
pub fn cap_updates(managers: &mut Managers) {
    let mut updates: Vec<ManagerId> = managers.keys().filter(|id| !id.applied).cloned().collect();
    let mut count = updates.len();
    let time = |id: &ManagerId| managers[id].time.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    updates.sort_by_cached_key(|id| (time(id), id.clone()));
    let mut first_of_version: BTreeMap<String, ManagerId> = BTreeMap::new();
    for id in updates {
        if count <= MAX_UPDATE_MANAGERS {
            return;
        }
        let version = managers[&id].api_version.clone();
        let bucket = ManagerId::update(OLD_UPDATES, &version, "");
        let Some(first) = first_of_version.get(&version) else {
            first_of_version.insert(version, id);
            continue;
        };
        if !managers.contains_key(&bucket)
            && let Some(owned) = managers.remove(first)
        {
            managers.insert(bucket.clone(), owned);
        }
        if id != bucket
            && let Some(newer) = managers.remove(&id)
            && let Some(owned) = managers.get_mut(&bucket)
        {
            owned.time.clone_from(&newer.time);
            owned.change(|set| set.union(newer.set()));
        }
        count -= 1;
    }
}
