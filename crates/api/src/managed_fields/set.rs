//! Sets of paths, as a tree.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::element::{ParseElementError, PathElement};

/// A set of paths below one point. Entries are sorted, and none is without content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) entries: Vec<Entry>,
}

/// All paths that go through one element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub element: PathElement,
    /// The path that ends here is in the set.
    pub member: bool,
    pub children: FieldSet,
}

impl Entry {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl FieldSet {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a path; the empty one, the whole object, is owned by nobody.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else { return };
        let at = match self.position(first) {
            Ok(at) => at,
            Err(at) => {
                let entry = Entry { element: first.clone(), member: false, children: Self::default() };
                self.entries.insert(at, entry);
                at
            }
        };
        if rest.is_empty() {
            self.entries[at].member = true;
        } else {
            self.entries[at].children.insert(rest);
        }
    }

    /// The set of the dotted paths, each naming fields.
    pub fn of_fields(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<PathElement> = path.split('.').map(PathElement::field).collect();
            set.insert(&path);
        }
        set
    }

    /// Appends an entry that sorts after all others; empty ones are left out.
    pub(super) fn push(&mut self, element: impl FnOnce() -> PathElement, member: bool, children: Self) {
        if member || !children.is_empty() {
            self.entries.push(Entry { element: element(), member, children });
        }
    }

    pub(super) fn sort(&mut self) {
        self.entries.sort_by(|a, b| a.element.cmp(&b.element));
    }

    pub fn get(&self, element: &PathElement) -> Option<&Entry> {
        self.position(element).ok().map(|at| &self.entries[at])
    }

    pub fn has(&self, path: &[PathElement]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        self.get(first).is_some_and(|entry| if rest.is_empty() { entry.member } else { entry.children.has(rest) })
    }

    fn position(&self, element: &PathElement) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.element.cmp(element))
    }

    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let mut out = Vec::with_capacity(self.entries.len().max(other.entries.len()));
        let (mut ours, mut theirs) = (self.entries.into_iter().peekable(), other.entries.into_iter().peekable());
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            match a.element.cmp(&b.element) {
                Ordering::Less => out.extend(ours.next()),
                Ordering::Greater => out.extend(theirs.next()),
                Ordering::Equal => {
                    if let (Some(a), Some(b)) = (ours.next(), theirs.next()) {
                        let (member, children) = (a.member || b.member, a.children.union(b.children));
                        out.push(Entry { element: a.element, member, children });
                    }
                }
            }
        }
        out.extend(ours);
        out.extend(theirs);
        Self { entries: out }
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = self.entries.iter().filter_map(|a| {
            let b = other.get(&a.element)?;
            let (member, children) = (a.member && b.member, a.children.intersection(&b.children));
            Some(Entry { element: a.element.clone(), member, children })
        });
        Self { entries: both.filter(|entry| !entry.is_empty()).collect() }
    }

    /// Without the paths of `other`; what lies below them stays.
    #[must_use]
    pub fn difference(self, other: &Self) -> Self {
        let rest = self.entries.into_iter().map(|a| match other.get(&a.element) {
            None => a,
            Some(b) => Entry { member: a.member && !b.member, children: a.children.difference(&b.children), ..a },
        });
        Self { entries: rest.filter(|entry| !entry.is_empty()).collect() }
    }

    /// Without the paths of `other` and all that lies below them.
    #[must_use]
    pub fn difference_below(self, other: &Self) -> Self {
        let rest = self.entries.into_iter().filter_map(|a| match other.get(&a.element) {
            None => Some(a),
            Some(b) if b.member => None,
            Some(b) => Some(Entry { children: a.children.difference_below(&b.children), ..a }),
        });
        Self { entries: rest.filter(|entry| !entry.is_empty()).collect() }
    }

    /// Only paths on the way to, at, or below one of `patterns`; an empty pattern is reached.
    #[must_use]
    pub fn only(self, patterns: &[Pattern<'_>]) -> Self {
        if patterns.iter().any(Vec::is_empty) {
            return self;
        }
        let kept = self.entries.into_iter().filter_map(|entry| {
            let further: Vec<Pattern<'_>> = patterns
                .iter()
                .filter(|pattern| {
                    pattern[0].is_none_or(|name| matches!(&entry.element, PathElement::Field(f) if f == name))
                })
                .map(|pattern| pattern[1..].to_vec())
                .collect();
            if further.is_empty() {
                return None;
            }
            Some(Entry { children: entry.children.only(&further), ..entry })
        });
        Self { entries: kept.filter(|entry| !entry.is_empty()).collect() }
    }

    /// Calls `visit` with every path: those that end here first, then those that go on.
    pub fn for_each(&self, visit: &mut impl FnMut(&[PathElement])) {
        self.visit(&mut Vec::new(), visit);
    }

    fn visit(&self, prefix: &mut Vec<PathElement>, visit: &mut impl FnMut(&[PathElement])) {
        for entry in self.entries.iter().filter(|entry| entry.member) {
            prefix.push(entry.element.clone());
            visit(prefix);
            prefix.pop();
        }
        for entry in self.entries.iter().filter(|entry| !entry.children.is_empty()) {
            prefix.push(entry.element.clone());
            entry.children.visit(prefix, visit);
            prefix.pop();
        }
    }

    /// `fieldsV1`: an object of elements; `.` marks an element that is in the set and has others below.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        for entry in &self.entries {
            let mut below = entry.children.to_json();
            if entry.member && !entry.children.is_empty() {
                below["."] = Value::Object(Map::new());
            }
            out.insert(entry.element.json_key(), below);
        }
        Value::Object(out)
    }

    /// Reads `fieldsV1`; null is empty.
    pub fn from_json(fields: &Value) -> Result<Self, ParseElementError> {
        let mut entries = Vec::new();
        for (key, below) in fields.as_object().into_iter().flatten().filter(|(key, _)| *key != ".") {
            let Some(element) = PathElement::parse(key)? else { continue };
            let children = Self::from_json(below)?;
            let member = children.is_empty() || is_member(below);
            entries.push(Entry { element, member, children });
        }
        let mut set = Self { entries };
        set.sort();
        Ok(set)
    }

    /// Whether a set in its JSON form shares a path with this one, without reading it whole.
    pub fn touches(&self, fields: &Value) -> bool {
        self.entries.iter().any(|entry| {
            fields.get(entry.element.json_key()).is_some_and(|below| {
                entry.member && is_member(below) || !entry.children.is_empty() && entry.children.touches(below)
            })
        })
    }
}

/// Field names from the root; `None` stands for any element.
pub type Pattern<'a> = Vec<Option<&'a str>>;

/// Reads `spec.containers[].resources`.
pub fn pattern(path: &str) -> Pattern<'_> {
    let step = |step| match str::strip_suffix(step, "[]") {
        Some(list) => vec![Some(list), None],
        None => vec![Some(step)],
    };
    path.split('.').flat_map(step).collect()
}

fn is_member(below: &Value) -> bool {
    below.as_object().is_none_or(|below| below.is_empty() || below.contains_key("."))
}

/// `.spec.containers[name="web"].image`
pub fn display(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}
