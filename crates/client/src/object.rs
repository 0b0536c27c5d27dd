//! What an API can hold: typed kinds, dynamic objects, bare metadata.

use std::ops::{Deref, DerefMut};

use orlop_api::kind::Text;
use orlop_api::typed::Typed;
use serde_json::Value;

/// Names one resource on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Empty for the core group.
    pub group: Text,
    pub version: Text,
    pub plural: Text,
    pub kind: Text,
    pub namespaced: bool,
}

impl Resource {
    pub fn of<K: Typed>() -> Self {
        Self {
            group: K::GROUP.into(),
            version: K::VERSION.into(),
            plural: K::PLURAL.into(),
            kind: K::KIND.into(),
            namespaced: K::NAMESPACED,
        }
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of a collection, of one object or of its subresource. `namespace` empty: the whole
    /// cluster; `name` and `subresource` empty: left out.
    pub fn path(&self, namespace: &str, name: &str, subresource: &str) -> String {
        let mut path = String::with_capacity(64);
        path.push_str(if self.group.is_empty() { "/api" } else { "/apis" });
        for part in [&*self.group, &*self.version] {
            push_segment(&mut path, part);
        }
        if !namespace.is_empty() {
            push_segment(&mut path, "namespaces");
            push_segment(&mut path, namespace);
        }
        for part in [&*self.plural, name, subresource] {
            push_segment(&mut path, part);
        }
        path
    }
}

fn push_segment(path: &mut String, segment: &str) {
    if !segment.is_empty() {
        path.push('/');
        path.push_str(segment);
    }
}

/// Makes something of the JSON of one object.
pub(crate) type Decode<T> = fn(&[u8]) -> Result<T, serde_json::Error>;

/// Something that travels as the JSON of one object.
pub trait Object: Clone + Send + Sync + 'static {
    /// Decodes JSON; unknown fields are ignored.
    fn decode(json: &[u8]) -> Result<Self, serde_json::Error>;
    /// Encodes JSON with apiVersion and kind.
    fn encode(&self) -> Vec<u8>;
    fn name(&self) -> &str;
    /// Empty for cluster-scoped objects.
    fn namespace(&self) -> &str;
    fn uid(&self) -> &str;
    fn resource_version(&self) -> &str;
    /// `(uid, controller)` of every owner reference.
    fn owner_uids(&self) -> Vec<(&str, bool)>;
    /// Without what caches need not hold (`managedFields`).
    #[must_use]
    fn trimmed(self) -> Self;
    /// What `Accept` asks for; lists and watches of bare metadata say so here.
    const ACCEPT: &'static str = "application/json";
    /// `Accept` of a list, where it differs.
    const ACCEPT_LIST: &'static str = Self::ACCEPT;
}

impl<K: Typed> Object for K {
    fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        <K as Typed>::decode(json)
    }
    fn encode(&self) -> Vec<u8> {
        <K as Typed>::encode(self)
    }
    fn name(&self) -> &str {
        <K as Typed>::name(self)
    }
    fn namespace(&self) -> &str {
        <K as Typed>::namespace(self)
    }
    fn uid(&self) -> &str {
        <K as Typed>::uid(self)
    }
    fn resource_version(&self) -> &str {
        <K as Typed>::resource_version(self)
    }
    fn owner_uids(&self) -> Vec<(&str, bool)> {
        let owners = self.meta().owner_references.as_deref().unwrap_or_default();
        owners.iter().map(|o| (o.uid.as_str(), o.controller == Some(true))).collect()
    }
    fn trimmed(mut self) -> Self {
        self.meta_mut().managed_fields = None;
        self
    }
}

/// Any object, as its JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dynamic(pub Value);

impl Deref for Dynamic {
    type Target = Value;
    fn deref(&self) -> &Value {
        &self.0
    }
}

impl DerefMut for Dynamic {
    fn deref_mut(&mut self) -> &mut Value {
        &mut self.0
    }
}

impl Object for Dynamic {
    fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json).map(Self)
    }
    fn encode(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }
    fn name(&self) -> &str {
        orlop_api::meta::name(&self.0)
    }
    fn namespace(&self) -> &str {
        orlop_api::meta::namespace(&self.0)
    }
    fn uid(&self) -> &str {
        orlop_api::meta::uid(&self.0)
    }
    fn resource_version(&self) -> &str {
        orlop_api::meta::resource_version(&self.0)
    }
    fn owner_uids(&self) -> Vec<(&str, bool)> {
        let owners = self.0["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        owners.iter().filter_map(|o| Some((o["uid"].as_str()?, o["controller"] == true))).collect()
    }
    fn trimmed(mut self) -> Self {
        orlop_api::meta::remove(&mut self.0, "managedFields");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_api::typed::kinds::{Deployment, Node, Pod};

    #[test]
    fn paths_are_upstreams() {
        let pods = Resource::of::<Pod>();
        assert_eq!(pods.path("", "", ""), "/api/v1/pods");
        assert_eq!(pods.path("a", "b", "log"), "/api/v1/namespaces/a/pods/b/log");
        assert_eq!(Resource::of::<Node>().path("", "n", ""), "/api/v1/nodes/n");
        let path = Resource::of::<Deployment>().path("a", "d", "status");
        assert_eq!(path, "/apis/apps/v1/namespaces/a/deployments/d/status");
    }
}
