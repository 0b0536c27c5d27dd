//! Who set which field: `metadata.managedFields` on every write ([`orlop_api::managed_fields`]).

use orlop_api::Value;
use orlop_api::managed_fields::FieldManager;
use orlop_api::status::StatusError;
use orlop_base::clock;

use crate::call::Call;

pub use orlop_api::managed_fields::keep_times_of_noop;

/// After a create, an update or a patch other than apply. `old` and `new` are in the request's version.
pub fn update(call: &Call, old: Option<&Value>, new: &mut Value, manager: &str) {
    with(call, manager, |fields| fields.on_update(old, new));
}

/// Server-side apply: the object that results, with managedFields.
pub fn apply(
    call: &Call,
    old: Option<&Value>,
    patch: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, StatusError> {
    with(call, manager, |fields| fields.on_apply(old, patch, force))
}

fn with<T>(call: &Call, manager: &str, act: impl FnOnce(FieldManager<'_>) -> T) -> T {
    let now = clock::rfc3339();
    act(FieldManager {
        kind: call.resource.kind(),
        version: call.resource.version(),
        subresource: &call.info.subresource,
        manager,
        now: &now,
    })
}
