//! FlowSchemas and PriorityLevelConfigurations as they apply now.

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::{Value, meta};
use orlop_client::transport::UserInfo;
use orlop_store::Snapshot;
use tokio::time::Instant;

use super::level::Level;
use super::metrics;
use super::schema::Schema;
use super::settings::Settings;
use crate::bootstrap::flow_control;
use crate::request::RequestInfo;

pub const SCHEMAS: &str = "flowcontrol.apiserver.k8s.io/flowschemas";
pub const LEVELS: &str = "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations";
const CATCH_ALL: &str = "catch-all";

pub struct Plan {
    /// By precedence, then name; the first that matches decides.
    schemas: Vec<Schema>,
    levels: BTreeMap<Arc<str>, Arc<Level>>,
    /// For what nothing matches: the mandatory catch-all.
    last: Schema,
}

impl Plan {
    /// Levels that were there `before` keep their queues and those who sit in them; what others want is counted by
    /// periods from `start`.
    pub fn read(snapshot: &Snapshot, before: Option<&Self>, total: usize, start: Instant) -> Self {
        let objects = |key: &str| -> Vec<Value> {
            snapshot.range(key, None, None).filter_map(|entry| serde_json::from_slice(&entry.json).ok()).collect()
        };
        let (mut schemas, mut levels) = (objects(SCHEMAS), objects(LEVELS));
        // The mandatory ones apply also where nobody has made them yet.
        for wanted in flow_control::mandatory() {
            let list = if wanted["kind"] == "FlowSchema" { &mut schemas } else { &mut levels };
            if !list.iter().any(|object| meta::name(object) == meta::name(&wanted)) {
                list.push(wanted);
            }
        }
        let shares = levels.iter().map(Settings::shares).sum();
        let mut known = BTreeMap::new();
        for object in &levels {
            let settings = Settings::read(object, total, shares);
            let old = before.and_then(|before| before.levels.get(meta::name(object)));
            let level = old.cloned().unwrap_or_else(|| Arc::new(Level::new(meta::name(object), start)));
            level.set(settings);
            known.insert(level.name.clone(), level);
        }
        metrics::set_room(
            known.values().map(|level| level.settings().nominal).sum(),
            known.values().filter_map(|level| level.settings().room()).sum(),
        );
        let read = |object: &Value| Schema::read(object, |name| known.get(name).cloned());
        let mut applying: Vec<Schema> = schemas.iter().filter_map(read).collect();
        applying.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        let mandatory = flow_control::mandatory();
        let last = schemas.iter().chain(&mandatory).filter(|schema| meta::name(schema) == CATCH_ALL).find_map(read);
        Self {
            schemas: applying,
            levels: known,
            last: last.expect("the mandatory schema and its level are always there"),
        }
    }

    pub fn classify(&self, user: &UserInfo, info: &RequestInfo) -> &Schema {
        self.schemas.iter().find(|schema| schema.matches(user, info)).unwrap_or(&self.last)
    }

    pub fn levels(&self) -> Vec<Arc<Level>> {
        self.levels.values().cloned().collect()
    }
}
