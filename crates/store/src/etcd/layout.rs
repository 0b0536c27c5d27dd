//! Which key of etcd an object has: upstream's layout, so that what people know and their tools hold
//! (`pkg/kubeapiserver/default_storage_factory_builder.go`, `apiserver/pkg/server/storage`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Key;

/// Where upstream does not use the resource's plural.
const SPECIAL: &[(&str, &str)] = &[
    ("endpoints", "services/endpoints"),
    ("networking.k8s.io/ingresses", "ingress"),
    ("nodes", "minions"),
    ("replicationcontrollers", "controllers"),
    ("services", "services/specs"),
];

/// Groups of servers that upstream runs as ones of their own: they keep their group, as custom resources do.
const GROUPED: &[&str] = &["apiextensions.k8s.io/", "apiregistration.k8s.io/"];

#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: String,
    to_path: BTreeMap<Arc<str>, String>,
    to_resource: BTreeMap<String, Arc<str>>,
}

impl Layout {
    /// `builtin` are the storage keys of built-in kinds: without their group in etcd.
    pub fn new<'a>(prefix: &str, builtin: impl IntoIterator<Item = &'a str>) -> Layout {
        let root = format!("/{}/", prefix.trim_matches('/'));
        let mut layout = Layout { root, to_path: BTreeMap::new(), to_resource: BTreeMap::new() };
        let grouped = |resource: &str| GROUPED.iter().any(|group| resource.starts_with(group));
        for resource in builtin.into_iter().filter(|resource| !grouped(resource)) {
            layout.add(resource, resource.rsplit('/').next().unwrap_or(resource));
        }
        SPECIAL.iter().for_each(|(resource, path)| layout.add(resource, path));
        layout
    }

    fn add(&mut self, resource: &str, path: &str) {
        let resource: Arc<str> = resource.into();
        if let Some(before) = self.to_path.insert(resource.clone(), path.to_owned()) {
            self.to_resource.remove(&before);
        }
        self.to_resource.insert(path.to_owned(), resource);
    }

    /// What all keys start with.
    pub fn root(&self) -> &[u8] {
        self.root.as_bytes()
    }

    pub fn encode(&self, key: &Key) -> Vec<u8> {
        let namespace = if key.namespace.is_empty() { String::new() } else { format!("{}/", key.namespace) };
        let path = self.to_path.get(&key.resource).map_or(&*key.resource, String::as_str);
        format!("{}{path}/{namespace}{}", self.root, key.name).into_bytes()
    }

    /// Holds the mark of the last deletion.
    pub fn of_deletions(&self) -> Vec<u8> {
        [self.root(), b"deletion"].concat()
    }

    /// Written with every write of a resource that must not overlook another.
    pub fn of_turns(&self, resource: &str) -> Vec<u8> {
        // Without a slash it is no object's.
        format!("{}turn:{}", self.root, resource.replace('/', ":")).into_bytes()
    }

    /// `None` for keys that are no object's.
    pub fn decode(&self, key: &[u8]) -> Option<Key> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.root)?;
        let (path, object) = self.split(rest)?;
        let (namespace, name) = object.split_once('/').unwrap_or(("", object));
        if name.is_empty() || name.contains('/') {
            return None;
        }
        let resource = self.to_resource.get(path).cloned().unwrap_or_else(|| path.into());
        Some(Key { resource, namespace: namespace.into(), name: name.into() })
    }

    /// A path has a second part when the first is a group, which has a dot, or together they are special.
    fn split<'a>(&self, rest: &'a str) -> Option<(&'a str, &'a str)> {
        let first = rest.find('/')?;
        if let Some(second) = rest[first + 1..].find('/').map(|at| first + 1 + at)
            && (rest[..first].contains('.') || self.to_resource.contains_key(&rest[..second]))
        {
            return Some((&rest[..second], &rest[second + 1..]));
        }
        Some((&rest[..first], &rest[first + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_upstreams() {
        let builtin =
            ["pods", "apps/deployments", "coordination.k8s.io/leases", "apiregistration.k8s.io/apiservices", "nodes"];
        let layout = Layout::new("/registry", builtin);
        let cases = [
            (("pods", "default", "a"), "/registry/pods/default/a"),
            (("apps/deployments", "default", "a"), "/registry/deployments/default/a"),
            (("coordination.k8s.io/leases", "kube-system", "a"), "/registry/leases/kube-system/a"),
            (("nodes", "", "n"), "/registry/minions/n"),
            (("namespaces", "", "n"), "/registry/namespaces/n"),
            (("services", "default", "a"), "/registry/services/specs/default/a"),
            (("endpoints", "default", "a"), "/registry/services/endpoints/default/a"),
            (("networking.k8s.io/ingresses", "default", "a"), "/registry/ingress/default/a"),
            (("apiregistration.k8s.io/apiservices", "", "v1."), "/registry/apiregistration.k8s.io/apiservices/v1."),
            (("example.com/widgets", "", "a"), "/registry/example.com/widgets/a"),
            (("example.com/widgets", "default", "a"), "/registry/example.com/widgets/default/a"),
            (("pods", "services", "a.b"), "/registry/pods/services/a.b"),
        ];
        for ((resource, namespace, name), want) in cases {
            let key = Key { resource: resource.into(), namespace: namespace.into(), name: name.into() };
            assert_eq!(String::from_utf8(layout.encode(&key)).unwrap(), want);
            assert_eq!(layout.decode(want.as_bytes()), Some(key), "{want}");
        }
        let others =
            ["/registry/health", "/other/pods/default/a", "/registry/pods/a/b/c", "/registry/pods/", "compact_rev_key"];
        let ours = [layout.of_deletions(), layout.of_turns("services"), layout.of_turns("example.com/widgets")];
        for other in others.map(|key| key.as_bytes().to_vec()).into_iter().chain(ours) {
            assert_eq!(layout.decode(&other), None, "{}", String::from_utf8_lossy(&other));
        }
    }
}
