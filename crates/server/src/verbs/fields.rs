//! Who set which field: `metadata.managedFields` on every write.

use orlop_api::Value;
use orlop_api::status::StatusError;

use crate::resource::Resource;

/// After a create, an update or a patch other than apply. `old` and `new` are in the request's version.
pub fn update(_resource: &Resource, _old: Option<&Value>, _new: &mut Value, _manager: &str, _subresource: &str) {}

/// Server-side apply: the object that results, with managedFields.
pub fn apply(
    _resource: &Resource,
    old: Option<&Value>,
    patch: Value,
    _manager: &str,
    _subresource: &str,
    _force: bool,
) -> Result<Value, StatusError> {
    Ok(old.cloned().unwrap_or(patch))
}

/// A write that would only move timestamps of managedFields keeps the old ones, so that it is none.
pub fn ignore_timestamps(_object: &mut Value, _old: &Value) {}
