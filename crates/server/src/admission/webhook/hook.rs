//! One webhook of a configuration: whom it is asked about, and how it is called.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_api::selector::Selector;
use orlop_api::{Value, meta};
use orlop_store::Revision;

use crate::Server;
use crate::admission::{Attributes, Conditions, Operation, rules};
use crate::resource::Resource;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Hook {
    pub name: String,
    /// Tells hooks apart across configurations.
    pub id: String,
    pub configuration: String,
    /// Its place among all hooks that are asked.
    pub index: usize,
    pub client: Value,
    pub conditions: Conditions,
    pub fails_open: bool,
    pub bears_dry_run: bool,
    pub reinvoke_if_needed: bool,
    pub timeout: Duration,
    rules: Vec<Value>,
    namespaces: Selector,
    objects: Selector,
    /// Rules for another version of the same kind count, too.
    equivalent: bool,
    review_versions: Vec<String>,
}

/// What the rounds of one request's admission remember of hooks that were asked.
#[derive(Default)]
pub struct Reinvocation {
    /// The second round: only hooks that asked for it see the object again.
    pub second: bool,
    /// Somebody changed the object after others had seen it.
    pub wanted: bool,
    pub again: BTreeSet<String>,
    pub seen: BTreeSet<String>,
    pub output: Option<Value>,
}

impl Reinvocation {
    pub fn require(&mut self) {
        self.again.append(&mut self.seen);
    }
}

impl Hook {
    fn read(configuration: &Value, index: usize, hook: &Value) -> Self {
        let text = |field: &str| hook[field].as_str().unwrap_or_default();
        let list = |field: &str| hook[field].as_array().cloned().unwrap_or_default();
        Self {
            name: text("name").to_owned(),
            id: format!("{}/{}/{index}", meta::name(configuration), text("name")),
            configuration: meta::name(configuration).to_owned(),
            index: 0,
            client: hook["clientConfig"].clone(),
            conditions: Conditions::compile(&hook["matchConditions"], false),
            fails_open: text("failurePolicy") == "Ignore",
            bears_dry_run: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
            reinvoke_if_needed: text("reinvocationPolicy") == "IfNeeded",
            timeout: hook["timeoutSeconds"].as_u64().map_or(DEFAULT_TIMEOUT, Duration::from_secs),
            rules: list("rules"),
            namespaces: selector(&hook["namespaceSelector"]),
            objects: selector(&hook["objectSelector"]),
            equivalent: text("matchPolicy") != "Exact",
            review_versions: list("admissionReviewVersions")
                .iter()
                .filter_map(|version| version.as_str().map(str::to_owned))
                .collect(),
        }
    }

    /// The first version of the review that both sides know.
    pub fn review_version(&self) -> Option<&str> {
        self.review_versions.iter().map(String::as_str).find(|version| matches!(*version, "v1" | "v1beta1"))
    }

    /// Whether the hook is asked about a request, and in which version of its resource.
    pub fn concerns(&self, server: &Server, a: &Attributes) -> Option<Resource> {
        let resource = rules::matching(server, a, &self.rules, !self.equivalent)?;
        (self.selects_namespace(server, a) && self.selects_object(a)).then_some(resource)
    }

    /// Cluster-scoped objects have no namespace to select by, but a namespace has its own labels.
    fn selects_namespace(&self, server: &Server, a: &Attributes) -> bool {
        if self.namespaces.is_empty() {
            return true;
        }
        if a.is("", "namespaces") && matches!(a.operation, Operation::Create | Operation::Update) {
            return self.namespaces.matches_object(&a.object);
        }
        let name = if a.is("", "namespaces") { &a.name } else { &a.namespace };
        if name.is_empty() {
            return true;
        }
        let key = orlop_store::Key { resource: "namespaces".into(), namespace: "".into(), name: name.as_str().into() };
        let stored = server.store.newest(&key).and_then(|entry| serde_json::from_slice::<Value>(&entry.json).ok());
        stored.is_some_and(|namespace| self.namespaces.matches_object(&namespace))
    }

    fn selects_object(&self, a: &Attributes) -> bool {
        let old = a.old_object.as_deref().unwrap_or(&Value::Null);
        self.objects.is_empty()
            || [&a.object, old].into_iter().any(|object| !object.is_null() && self.objects.matches_object(object))
    }
}

/// Absent and empty select everything; what cannot be read selects nothing.
fn selector(typed: &Value) -> Selector {
    if typed.is_null() {
        return Selector::default();
    }
    let typed = serde_json::from_value(typed.clone()).ok();
    typed.and_then(|typed| Selector::from_typed(&typed).ok()).unwrap_or_else(Selector::nothing)
}

/// The hooks of one kind of configuration, read again when one changes.
pub struct Hooks {
    key: &'static str,
    read: Mutex<(Vec<Revision>, Arc<[Hook]>)>,
}

impl Hooks {
    pub fn new(key: &'static str) -> Self {
        Self { key, read: Mutex::new((Vec::new(), Arc::new([]))) }
    }

    /// In the order of their configurations' names.
    pub fn all(&self, server: &Server) -> Arc<[Hook]> {
        let snapshot = server.store.snapshot();
        let revisions: Vec<Revision> = snapshot.range(self.key, None, None).map(|entry| entry.revision).collect();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0 != revisions {
            let configurations = snapshot.range(self.key, None, None);
            let hooks = configurations.filter_map(|entry| serde_json::from_slice::<Value>(&entry.json).ok()).flat_map(
                |configuration| {
                    let hooks = configuration["webhooks"].as_array().cloned().unwrap_or_default();
                    hooks.iter().enumerate().map(|(i, hook)| Hook::read(&configuration, i, hook)).collect::<Vec<_>>()
                },
            );
            let hooks = hooks.enumerate().map(|(index, hook)| Hook { index, ..hook });
            *read = (revisions, hooks.collect());
        }
        read.1.clone()
    }
}

/// No webhook may stand in the way of repairing webhooks.
pub fn is_exempt(a: &Attributes) -> bool {
    a.resource.info().group == "admissionregistration.k8s.io"
}
