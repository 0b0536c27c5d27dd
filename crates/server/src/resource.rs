//! A kind in one served version: what a URL's group, version and resource resolve to.

use std::ops::Deref;
use std::sync::Arc;

use orlop_api::kind::{Kind, KindInfo};
use orlop_api::schema::ObjectRef;
use orlop_api::status::GroupResource;

/// A built-in kind or one made at run time.
#[derive(Clone)]
pub enum KindRef {
    Static(&'static dyn Kind),
    Dynamic(Arc<dyn Kind>),
}

impl Deref for KindRef {
    type Target = dyn Kind;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Static(kind) => *kind,
            Self::Dynamic(kind) => &**kind,
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Resource(Arc<Inner>);

struct Inner {
    kind: KindRef,
    version: String,
    api_version: String,
    schema: Option<ObjectRef>,
}

impl Resource {
    pub fn new(kind: KindRef, version: &str) -> Self {
        let api_version = kind.info().api_version(version);
        let schema = kind.schema(version);
        Self(Arc::new(Inner { kind, version: version.to_owned(), api_version, schema }))
    }

    pub fn kind(&self) -> &dyn Kind {
        &*self.0.kind
    }

    pub fn info(&self) -> &KindInfo {
        self.0.kind.info()
    }

    /// The version in the URL.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> &str {
        &self.0.api_version
    }

    pub fn schema(&self) -> Option<&ObjectRef> {
        self.0.schema.as_ref()
    }

    /// For error texts.
    pub fn group_resource(&self) -> GroupResource<'_> {
        let info = self.info();
        GroupResource { group: &info.group, resource: &info.plural }
    }
}
