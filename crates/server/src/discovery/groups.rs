//! Which groups there are, in the order clients look through them, and who serves their versions.

use std::cmp::Reverse;

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
    let mut names: Vec<String> = Vec::new();
    for kind in orlop_api::kinds::all() {
        add(&mut names, &kind.info().group);
    }
    let own = resources.iter().map(|resource| &*resource.info().group);
    let mut others: Vec<(i64, &str)> = own.map(|name| (CUSTOM_PRIORITY.0, name)).collect();
    others.extend(remotes.values().map(|remote| (remote.priority().0, &*remote.group)));
    others.sort_by_key(|(priority, name)| (Reverse(*priority), *name));
    for (_, name) in others {
        add(&mut names, name);
    }
    let groups = names.into_iter().map(|name| Group { versions: versions(resources, remotes, &name), name });
    groups.filter(|group| !group.versions.is_empty()).collect()
}

fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

/// By priority, stability and number. Who registered a version serves it, whoever else would.
fn versions<'a>(resources: &Resources, remotes: &'a Remotes, group: &str) -> Vec<Version<'a>> {
    let remotes = remotes.values().filter(|remote| remote.group == group);
    let mut versions: Vec<(i64, Version<'a>)> = remotes
        .map(|remote| (remote.priority().1, Version { name: remote.version.clone(), source: Source::Remote(remote) }))
        .collect();
    for resource in resources.iter().filter(|resource| resource.info().group == group) {
        match versions.iter_mut().find(|(_, version)| version.name == resource.version()) {
            Some((_, Version { source: Source::Own(members), .. })) => members.push(resource.clone()),
            Some(_) => {}
            None => {
                let source = Source::Own(vec![resource.clone()]);
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
