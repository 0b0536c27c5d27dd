//! A kind in one served version: what a URL's group, version and resource resolve to.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use orlop_api::Value;
use orlop_api::kind::{Kind, KindInfo};
use orlop_api::schema::ObjectRef;
use orlop_api::status::{GroupResource, StatusError};
use orlop_store::{Entry, Key, Revision};
use tokio_util::sync::CancellationToken;

use crate::custom::Conversion;
use crate::encryption::unreadable;
use crate::observe::{Layer, counted};

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
    storage_api_version: String,
    storage_key: Arc<str>,
    schema: Option<ObjectRef>,
    /// Of the stored version; built-in kinds only.
    stored_schema: Option<ObjectRef>,
    custom: Option<Custom>,
}

/// What only kinds made at run time have.
pub struct Custom {
    /// Objects of up to this revision may have been stored under another definition: they are brought in line as
    /// they are read.
    pub since: Revision,
    /// Cancelled when the definition changes or goes; ends watches.
    pub retired: CancellationToken,
    /// Only a webhook can convert between versions.
    pub conversion: Option<Conversion>,
}

/// The same kind of the same definition, not merely one of the same names.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Resource {
    pub fn new(kind: KindRef, version: &str) -> Self {
        Self::make(kind, version, None)
    }

    pub fn custom(kind: Arc<dyn Kind>, version: &str, custom: Custom) -> Self {
        Self::make(KindRef::Dynamic(kind), version, Some(custom))
    }

    fn make(kind: KindRef, version: &str, custom: Option<Custom>) -> Self {
        let info = kind.info();
        // What a webhook converts looks as if it were stored in the version of the URL.
        let by_webhook = custom.as_ref().is_some_and(|custom| custom.conversion.is_some());
        Self(Arc::new(Inner {
            api_version: info.api_version(version),
            storage_api_version: info.api_version(if by_webhook { version } else { &info.storage_version }),
            storage_key: Arc::from(&*info.storage_key),
            schema: kind.schema(version),
            stored_schema: kind.schema(&info.storage_version).filter(|_| custom.is_none()),
            version: version.to_owned(),
            custom,
            kind,
        }))
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

    /// The field table of the version in the URL.
    pub fn schema(&self) -> Option<&ObjectRef> {
        self.0.schema.as_ref()
    }

    /// The field table bodies are decoded by; custom resources are pruned after decoding.
    pub fn body_schema(&self) -> Option<&ObjectRef> {
        self.schema().filter(|_| self.has_protobuf())
    }

    /// Writes out what Go always writes, after hooks took fields away: `status: {}`.
    pub fn complete(&self, stored: &mut Value) {
        if let Some(schema) = &self.0.stored_schema {
            orlop_api::codec::json::complete(stored, schema.get());
        }
    }

    /// What storing makes of an object: empty lists and maps count no longer, and what is read back has its defaults.
    pub fn settle(&self, stored: &mut Value) {
        if let Some(schema) = &self.0.stored_schema {
            orlop_api::codec::json::settle(stored, schema.get(), !self.kind().is_stored_as_json());
            self.kind().set_defaults(&self.info().storage_version, stored);
        }
    }

    pub(crate) fn conversion(&self) -> Option<&Conversion> {
        self.0.custom.as_ref()?.conversion.as_ref()
    }

    /// Tells a definition from what it was before.
    pub(crate) fn since(&self) -> Revision {
        self.0.custom.as_ref().map_or(0, |custom| custom.since)
    }

    /// Ends when this is no longer what is served.
    pub async fn retired(&self) {
        match &self.0.custom {
            Some(custom) => custom.retired.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Built-in kinds have a protobuf form, custom resources have none.
    pub fn has_protobuf(&self) -> bool {
        matches!(self.0.kind, KindRef::Static(_))
    }

    /// For error texts.
    pub fn group_resource(&self) -> GroupResource<'_> {
        let info = self.info();
        GroupResource { group: &info.group, resource: &info.plural }
    }

    pub fn storage_key(&self) -> &str {
        &self.0.storage_key
    }

    pub fn key(&self, namespace: &str, name: &str) -> Key {
        let namespace = if self.info().namespaced { namespace } else { "" };
        Key { resource: self.0.storage_key.clone(), namespace: namespace.into(), name: name.into() }
    }

    /// Objects are stored in this version: their bytes can go out as they are.
    pub fn is_stored_version(&self) -> bool {
        self.0.api_version == self.0.storage_api_version
    }

    /// Rewrites an object from the URL's version to the stored one.
    pub fn to_stored(&self, object: &mut Value) {
        if !self.is_stored_version() {
            self.kind().convert(object, &self.0.version, &self.info().storage_version);
            object["apiVersion"] = self.0.storage_api_version.as_str().into();
        }
    }

    /// Rewrites a stored object to the URL's version.
    pub fn from_stored(&self, object: &mut Value) {
        if !self.is_stored_version() {
            self.kind().convert(object, &self.info().storage_version, &self.0.version);
            object["apiVersion"] = self.0.api_version.as_str().into();
        }
    }

    /// A stored object in the URL's version; borrowed when that is the stored one.
    pub fn versioned<'a>(&self, stored: &'a Value) -> Cow<'a, Value> {
        if self.is_stored_version() {
            return Cow::Borrowed(stored);
        }
        let mut object = stored.clone();
        self.from_stored(&mut object);
        Cow::Owned(object)
    }

    /// The entry's JSON in the URL's version.
    pub fn json(&self, entry: &Entry) -> Bytes {
        if !self.is_outdated(entry) {
            return self.convert_json(&entry.json);
        }
        let mut object = self.parse(entry).unwrap_or_default();
        self.from_stored(&mut object);
        Bytes::from(orlop_api::codec::json::encode(&object))
    }

    /// The entry's object in the stored version, as the definition has it now.
    pub fn parse(&self, entry: &Entry) -> Result<Value, StatusError> {
        let mut object = parse_stored(entry)?;
        if self.is_outdated(entry) {
            object["apiVersion"] = self.0.storage_api_version.as_str().into();
            self.kind().refresh(&mut object);
        }
        Ok(object)
    }

    fn is_outdated(&self, entry: &Entry) -> bool {
        self.0.custom.as_ref().is_some_and(|custom| entry.revision <= custom.since)
    }

    /// Whether an entry's row in a Table and its CBOR only change when the entry does: not in another version, which may have
    /// other columns, nor under a definition that is newer than the entry.
    pub fn keeps_forms_of(&self, entry: &Entry) -> bool {
        self.is_stored_version() && !self.is_outdated(entry)
    }

    /// Stored JSON in the URL's version.
    pub fn convert_json(&self, stored: &Bytes) -> Bytes {
        if self.is_stored_version() {
            return stored.clone();
        }
        let mut object = serde_json::from_slice(stored).unwrap_or_default();
        self.from_stored(&mut object);
        Bytes::from(serde_json::to_vec(&object).expect("JSON values have only string keys"))
    }
}

/// Parses stored bytes; they were encoded by this server, so failing means a damaged store.
pub fn parse_stored(entry: &Entry) -> Result<Value, StatusError> {
    unreadable::check(entry)?;
    counted(Layer::Decoding, || serde_json::from_slice(&entry.json))
        .map_err(|e| StatusError::internal(format!("decoding {}/{}: {e}", entry.key.namespace, entry.key.name)))
}

/// Everything served, by group, version and plural. A copy costs nothing, and one with another kind shares the rest.
#[derive(Clone, Default)]
pub struct Resources(OrdMap<String, Resource>);

impl Resources {
    pub fn new(kinds: impl IntoIterator<Item = KindRef>) -> Self {
        let mut all = OrdMap::new();
        for kind in kinds {
            for version in kind.info().versions.iter() {
                let resource = Resource::new(kind.clone(), version);
                all.insert(path(&kind.info().group, version, &kind.info().plural), resource);
            }
        }
        Self(all)
    }

    pub fn builtin() -> Self {
        Self::new(orlop_api::kinds::all().iter().map(|kind| KindRef::Static(*kind)))
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        self.0.get(&path(group, version, plural))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.0.values()
    }

    /// Adds a custom resource, unless its place is taken.
    pub fn add(&mut self, resource: &Resource) {
        let path = path_of(resource);
        if !self.0.contains_key(&path) {
            self.0.insert(path, resource.clone());
        }
    }

    /// Takes a custom resource out.
    pub fn remove(&mut self, resource: &Resource) {
        let path = path_of(resource);
        if self.0.get(&path).is_some_and(|served| Arc::ptr_eq(&served.0, &resource.0)) {
            self.0.remove(&path);
        }
    }

    /// All of one group and version.
    pub fn of_group_version(&self, group: &str, version: &str) -> impl Iterator<Item = &Resource> {
        let first = path(group, version, "");
        let from = self.0.range(first.clone()..);
        from.take_while(move |(path, _)| path.starts_with(&first)).map(|(_, resource)| resource)
    }

    /// Whether anything is served under this group and version.
    pub fn has_group_version(&self, group: &str, version: &str) -> bool {
        self.of_group_version(group, version).next().is_some()
    }
}

fn path_of(resource: &Resource) -> String {
    path(&resource.info().group, resource.version(), &resource.info().plural)
}

fn path(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version}/{plural}")
}
