//! Which groups there are, in the order clients look through them, and who serves their versions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::aggregation::{Remote, Remotes};
use crate::resource::{Resource, Resources};

/// Upstream's of groups and versions that custom resources make.
const CUSTOM_PRIORITY: (i64, i64) = (1000, 100);

pub struct Group<'a> {
    pub name: String,
    /// Preferred first.
    pub versions: Vec<Version<'a>>,
}

pub struct Version<'a> {
    pub name: String,
    pub source: Source<'a>,
}

pub enum Source<'a> {
    Own(Vec<Resource>),
    Remote(&'a Remote),
}

/// Built-in groups in their list's order, the core group first; then the others by priority and name.
pub fn all<'a>(resources: &Resources, remotes: &'a Remotes) -> Vec<Group<'a>> {
    let mut own: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for resource in resources.iter() {
        own.entry(&resource.info().group).or_default().push(resource);
    }
    let builtin = orlop_api::kinds::all().iter().map(|kind| &*kind.info().group);
    let mut others: Vec<(i64, &str)> = own.keys().map(|name| (CUSTOM_PRIORITY.0, *name)).collect();
    others.extend(remotes.values().map(|remote| (remote.priority().0, &*remote.group)));
    others.sort_by_key(|(priority, name)| (Reverse(*priority), *name));
    let mut known = BTreeSet::new();
    let names = builtin.chain(others.into_iter().map(|(_, name)| name)).filter(|name| known.insert(*name));
    let group = |name: &str| {
        let members = own.get(name).map(Vec::as_slice).unwrap_or_default();
        Group { name: name.to_owned(), versions: versions(members, remotes, name) }
    };
    names.map(group).filter(|group| !group.versions.is_empty()).collect()
}

/// By priority, stability and number. Who registered a version serves it, whoever else would.
fn versions<'a>(own: &[&Resource], remotes: &'a Remotes, group: &str) -> Vec<Version<'a>> {
    let remotes = remotes.values().filter(|remote| remote.group == group);
    let mut versions: Vec<(i64, Version<'a>)> = remotes
        .map(|remote| (remote.priority().1, Version { name: remote.version.clone(), source: Source::Remote(remote) }))
        .collect();
    for resource in own {
        match versions.iter_mut().find(|(_, version)| version.name == resource.version()) {
            Some((_, Version { source: Source::Own(members), .. })) => members.push((*resource).clone()),
            Some(_) => {}
            None => {
                let source = Source::Own(vec![(*resource).clone()]);
                versions.push((CUSTOM_PRIORITY.1, Version { name: resource.version().to_owned(), source }));
            }
        }
    }
    versions.sort_by_key(|(priority, version)| Reverse((*priority, rank(&version.name))));
    versions.into_iter().map(|(_, version)| version).collect()
}

/// Stable before beta before alpha; higher before lower.
fn rank(version: &str) -> (u8, u32, u32) {
    let digits = |text: &str| text.parse().unwrap_or(0);
    let rest = version.strip_prefix('v').unwrap_or(version);
    for (mark, stability) in [("beta", 1), ("alpha", 0)] {
        if let Some((major, minor)) = rest.split_once(mark) {
            return (stability, digits(major), digits(minor));
        }
    }
    (2, digits(rest), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rank_by_stability() {
        let mut versions = vec!["v1alpha1", "v1", "v2beta1", "v2", "v1beta2"];
        versions.sort_by_key(|v| std::cmp::Reverse(rank(v)));
        assert_eq!(versions, ["v2", "v1", "v2beta1", "v1beta2", "v1alpha1"]);
    }
}
