//! Objects in the version a manager spoke of.

use std::borrow::Cow;

use serde_json::Value;

use super::types::TypeRef;
use crate::kind::Kind;
use crate::schema::ObjectRef;

/// The versions of one kind, and of a kind that shares its objects (Events).
pub struct Versions<'a> {
    pub kind: &'a dyn Kind,
}

impl Versions<'_> {
    /// The object in this version; `None` when that is not served.
    pub fn convert<'v>(&self, object: &'v Value, api_version: &str) -> Option<Cow<'v, Value>> {
        if object["apiVersion"] == api_version || object.get("apiVersion").is_none() {
            return Some(Cow::Borrowed(object));
        }
        let mut converted = object.clone();
        let from = object["apiVersion"].as_str().unwrap_or_default();
        // Through the storage version, which all versions convert to and from.
        let (kind, version) = self.find(from)?;
        kind.convert_unless_same(&mut converted, version, &kind.info().storage_version);
        let (kind, version) = self.find(api_version)?;
        kind.convert_unless_same(&mut converted, &kind.info().storage_version, version);
        Some(Cow::Owned(converted))
    }

    pub fn schema(&self, api_version: &str) -> Option<ObjectRef> {
        let (kind, version) = self.find(api_version)?;
        kind.schema(version)
    }

    /// The kind and its name of the version.
    fn find(&self, api_version: &str) -> Option<(&dyn Kind, &str)> {
        let info = self.kind.info();
        let names = |kind: &'static dyn Kind| {
            let other = kind.info();
            other.storage_key == info.storage_key && other.kind == info.kind
        };
        let shared = crate::kinds::all().iter().copied().filter(|kind| names(*kind)).map(|kind| kind as &dyn Kind);
        std::iter::once(self.kind).chain(shared).find_map(|kind| {
            let info = kind.info();
            let versions = info.versions.iter().chain(std::iter::once(&info.storage_version));
            versions.map(AsRef::as_ref).find(|version| info.api_version(version) == api_version).map(|v| (kind, v))
        })
    }
}

trait ConvertUnlessSame {
    fn convert_unless_same(&self, object: &mut Value, from: &str, to: &str);
}

impl ConvertUnlessSame for dyn Kind + '_ {
    fn convert_unless_same(&self, object: &mut Value, from: &str, to: &str) {
        if from != to {
            self.convert(object, from, to);
        }
    }
}

/// The type at the root of objects of a schema.
pub fn root(schema: Option<&ObjectRef>) -> TypeRef<'_> {
    schema.map_or(TypeRef::Deduced, |schema| TypeRef::Object(schema.get()))
}
