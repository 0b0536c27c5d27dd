//! Which names definitions hold, in each group: what another definition of the group cannot have.

use std::collections::{BTreeMap, BTreeSet};

use orlop_api::{Value, meta};

/// What can be in use: `plural`, `singular` and short names are of one sort, `kind` and `listKind` of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    Resource,
    Kind,
}

type Name = (String, Sort, String);

/// By name, so that one definition more or less costs the same however many there are.
#[derive(Default)]
pub struct Names {
    holders: BTreeMap<Name, BTreeSet<String>>,
    /// By definition.
    held: BTreeMap<String, Vec<Name>>,
}

impl Names {
    pub fn of<'a>(definitions: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut names = Self::default();
        definitions.into_iter().for_each(|definition| names.put(definition));
        names
    }

    /// What a definition's status says that it holds now.
    pub fn put(&mut self, definition: &Value) {
        let own = meta::name(definition);
        self.remove(own);
        let names = held_by(definition);
        for name in &names {
            self.holders.entry(name.clone()).or_default().insert(own.to_owned());
        }
        self.held.insert(own.to_owned(), names);
    }

    pub fn remove(&mut self, definition: &str) {
        for name in self.held.remove(definition).unwrap_or_default() {
            if let Some(holders) = self.holders.get_mut(&name) {
                holders.remove(definition);
                if holders.is_empty() {
                    self.holders.remove(&name);
                }
            }
        }
    }

    /// Whether another definition of the group holds a name.
    pub fn is_taken(&self, definition: &Value, sort: Sort, name: &str) -> bool {
        let group = text(&definition["spec"]["group"]);
        let holders = self.holders.get(&(group.to_owned(), sort, name.to_owned()));
        holders.is_some_and(|holders| holders.iter().any(|holder| holder != meta::name(definition)))
    }
}

fn held_by(definition: &Value) -> Vec<Name> {
    let (group, names) = (text(&definition["spec"]["group"]), &definition["status"]["acceptedNames"]);
    let short = names["shortNames"].as_array().into_iter().flatten();
    let resources = ["plural", "singular"].into_iter().map(|field| &names[field]).chain(short);
    let kinds = ["kind", "listKind"].into_iter().map(|field| &names[field]);
    let of = |sort| move |name: &Value| Some((group.to_owned(), sort, name.as_str()?.to_owned()));
    resources.filter_map(of(Sort::Resource)).chain(kinds.filter_map(of(Sort::Kind))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
