//! Bindings, and the index that finds them by subject.

use std::collections::{BTreeMap, BTreeSet};

use orlop_api::Value;
use orlop_client::transport::UserInfo;

use super::RoleRef;

/// The bindings of one namespace.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    pub by_name: BTreeMap<String, Binding>,
    /// Names of the bindings that name a user or a group.
    pub by_user: BTreeMap<String, BTreeSet<String>>,
    pub by_group: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug)]
pub(super) struct Binding {
    pub role: RoleRef,
    pub subjects: Vec<Subject>,
}

/// A subject, and how refusals and grants call it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub who: Who,
    pub text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Who {
    User(String),
    Group(String),
}

impl Bindings {
    pub fn set(&mut self, name: &str, binding: Option<Binding>) {
        if let Some(old) = self.by_name.remove(name) {
            for subject in &old.subjects {
                let (index, key) = self.index(&subject.who);
                if let Some(names) = index.get_mut(key) {
                    names.remove(name);
                    if names.is_empty() {
                        index.remove(key);
                    }
                }
            }
        }
        let Some(binding) = binding else { return };
        for subject in &binding.subjects {
            let (index, key) = self.index(&subject.who);
            index.entry(key.clone()).or_default().insert(name.to_owned());
        }
        self.by_name.insert(name.to_owned(), binding);
    }

    fn index<'a>(&mut self, who: &'a Who) -> (&mut BTreeMap<String, BTreeSet<String>>, &'a String) {
        match who {
            Who::User(name) => (&mut self.by_user, name),
            Who::Group(name) => (&mut self.by_group, name),
        }
    }
}

impl Binding {
    pub fn of(value: &Value, namespace: &str) -> Self {
        let subjects = value["subjects"].as_array().into_iter().flatten();
        Self { role: RoleRef::of(value), subjects: subjects.filter_map(|s| Subject::of(s, namespace)).collect() }
    }
}

impl Subject {
    /// `None` for one that is nobody: an unknown kind, or a ServiceAccount without a namespace.
    fn of(value: &Value, binding_namespace: &str) -> Option<Self> {
        let text = |field: &str| value[field].as_str().unwrap_or_default();
        let (kind, name) = (text("kind"), text("name"));
        let who = match kind {
            "User" => Who::User(name.to_owned()),
            "Group" => Who::Group(name.to_owned()),
            "ServiceAccount" => {
                let namespace = if text("namespace").is_empty() { binding_namespace } else { text("namespace") };
                if namespace.is_empty() {
                    return None;
                }
                let who = Who::User(format!("system:serviceaccount:{namespace}:{name}"));
                return Some(Self { who, text: format!("ServiceAccount \"{name}/{namespace}\"") });
            }
            _ => return None,
        };
        Some(Self { who, text: format!("{kind} {name:?}") })
    }
}

impl Who {
    pub fn is(&self, user: &UserInfo) -> bool {
        match self {
            Self::User(name) => *name == user.name,
            Self::Group(name) => user.groups.contains(name),
        }
    }
}
