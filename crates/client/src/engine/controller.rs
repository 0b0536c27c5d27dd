//! A controller as a value.

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::plan::Plan;
use super::source::Source;
use super::view::{Key, View};
use crate::client::Client;
use crate::error::Result;

/// A rule of the role a controller runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub group: &'static str,
    /// With subresources as `pods/status`.
    pub resources: &'static [&'static str],
    pub verbs: &'static [&'static str],
}

impl Grant {
    pub const fn new(group: &'static str, resources: &'static [&'static str], verbs: &'static [&'static str]) -> Self {
        Self { group, resources, verbs }
    }

    /// What every controller that records events needs (upstream's `eventsRule`).
    pub const EVENTS: [Self; 2] = [
        Self::new("", &["events"], &["create", "update", "patch"]),
        Self::new("events.k8s.io", &["events"], &["create", "update", "patch"]),
    ];

    /// Whether this rule lets `verb` through.
    pub fn allows(&self, verb: &str, group: &str, resource: &str) -> bool {
        let has = |list: &[&str], item: &str| list.iter().any(|i| *i == item || *i == "*");
        self.group_matches(group) && has(self.resources, resource) && has(self.verbs, verb)
    }

    fn group_matches(&self, group: &str) -> bool {
        self.group == group || self.group == "*"
    }
}

/// Gathers what no cache holds before a decision: `None` when there is nothing to decide about.
/// The returned view is what the decision sees.
pub type Look = Box<dyn Fn(Client, Key, View) -> BoxFuture<'static, Result<View>> + Send + Sync>;

pub type Decide = Box<dyn Fn(&Key, &View, Timestamp) -> Plan + Send + Sync>;

/// One controller; what the engine needs to run it.
pub struct Controller {
    /// Upstream's service account (`replicaset-controller`): who writes.
    pub name: &'static str,
    /// The source of its events; the same as `name` mostly.
    pub event_source: &'static str,
    /// The queue's name in metrics (`replicaset`).
    pub queue: &'static str,
    pub sources: Vec<Source>,
    pub grants: Vec<Grant>,
    /// Subjects worked on at a time.
    pub workers: usize,
    pub look: Option<Look>,
    pub decide: Decide,
}

impl Controller {
    /// Upstream's usual number of workers.
    pub const WORKERS: usize = 5;

    /// A controller without `look`.
    pub fn new(
        name: &'static str,
        queue: &'static str,
        sources: Vec<Source>,
        grants: Vec<Grant>,
        decide: impl Fn(&Key, &View, Timestamp) -> Plan + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            event_source: name,
            queue,
            sources,
            grants,
            workers: Self::WORKERS,
            look: None,
            decide: Box::new(decide),
        }
    }

    /// A view that holds exactly `objects` (values with apiVersion and kind), for tests: each goes
    /// to the source of its kind; a kind without a source is a mistake of the test.
    pub fn view_of(&self, objects: &[serde_json::Value]) -> View {
        let mut view = View::default();
        for source in &self.sources {
            source.fixture(objects, &mut view);
        }
        for object in objects {
            let known = self.sources.iter().any(|s| s.is_of(object));
            assert!(known, "{} reads no {} {}", self.name, object["apiVersion"], object["kind"]);
        }
        view
    }
}
