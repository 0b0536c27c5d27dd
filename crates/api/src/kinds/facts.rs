//! The terse way to write down a kind's [`KindInfo`].

use std::borrow::Cow;

use crate::kind::{KindInfo, List, Subresource, Text};

/// Declares a kind file's `static FACTS: KindInfo`, built on first use.
macro_rules! facts {
    ($facts:expr) => {
        static FACTS: std::sync::LazyLock<KindInfo> = std::sync::LazyLock::new(|| $facts.0);
    };
}
pub(super) use facts;

/// All that a stored resource can do, in discovery's order.
const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

/// A [`KindInfo`] under construction.
pub struct Facts(pub KindInfo);

/// A namespaced kind with all verbs, served and stored as `v1`.
pub fn namespaced(group: &'static str, kind: &'static str, plural: &'static str) -> Facts {
    let mut facts = cluster(group, kind, plural);
    facts.0.namespaced = true;
    facts
}

/// A cluster-scoped kind with all verbs, served and stored as `v1`.
pub fn cluster(group: &'static str, kind: &'static str, plural: &'static str) -> Facts {
    Facts(KindInfo {
        group: group.into(),
        kind: kind.into(),
        list_kind: format!("{kind}List").into(),
        plural: plural.into(),
        singular: kind.to_lowercase().into(),
        short_names: Cow::Borrowed(&[]),
        categories: Cow::Borrowed(&[]),
        namespaced: false,
        versions: texts(&["v1"]),
        storage_version: "v1".into(),
        verbs: texts(ALL_VERBS),
        subresources: Cow::Borrowed(&[]),
        has_generation: false,
        storage_key: if group.is_empty() { plural.into() } else { format!("{group}/{plural}").into() },
    })
}

impl Facts {
    pub fn short(mut self, names: &[&'static str]) -> Self {
        self.0.short_names = texts(names);
        self
    }

    pub fn categories(mut self, names: &[&'static str]) -> Self {
        self.0.categories = texts(names);
        self
    }

    /// Served versions, preferred first; that one is also stored.
    pub fn versions(mut self, names: &[&'static str]) -> Self {
        self.0.versions = texts(names);
        self.0.storage_version = names[0].into();
        self
    }

    /// Objects stand in the store as another kind's, under `key` and in the apiVersion
    /// `storage_version` (see [`KindInfo::storage_version`]).
    pub fn stored_as(mut self, key: &'static str, storage_version: &'static str) -> Self {
        self.0.storage_key = key.into();
        self.0.storage_version = storage_version.into();
        self
    }

    pub fn verbs(mut self, verbs: &[&'static str]) -> Self {
        self.0.verbs = texts(verbs);
        self
    }

    /// `metadata.generation` counts changes.
    pub fn generation(mut self) -> Self {
        self.0.has_generation = true;
        self
    }

    pub fn status(self) -> Self {
        let kind = self.0.kind.clone();
        self.push("status", "", "", kind, STATUS_VERBS)
    }

    pub fn scale(self) -> Self {
        self.push("scale", "autoscaling", "v1", "Scale".into(), STATUS_VERBS)
    }

    /// A subresource whose body is of the parent's group and version.
    pub fn subresource(self, name: &'static str, kind: &'static str, verbs: &[&'static str]) -> Self {
        self.push(name, "", "", kind.into(), verbs)
    }

    /// A subresource whose body is `kind` of another `group` and `version`.
    pub fn subresource_of(
        self,
        name: &'static str,
        (group, version, kind): (&'static str, &'static str, &'static str),
        verbs: &[&'static str],
    ) -> Self {
        self.push(name, group, version, kind.into(), verbs)
    }

    fn push(
        mut self,
        name: &'static str,
        group: &'static str,
        version: &'static str,
        kind: Text,
        verbs: &[&'static str],
    ) -> Self {
        let subresource =
            Subresource { name: name.into(), kind, group: group.into(), version: version.into(), verbs: texts(verbs) };
        self.0.subresources.to_mut().push(subresource);
        self
    }
}

fn texts(names: &[&'static str]) -> List<Text> {
    names.iter().map(|name| Text::Borrowed(name)).collect()
}
