//! What an apply may not do without force.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::element::PathElement;
use super::entries::ManagerId;
use super::set::display;
use crate::status::StatusError;

/// A field that another manager owns and the apply would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    pub manager: ManagerId,
    pub path: Vec<PathElement>,
}

/// 409 with a cause for each conflict.
pub fn conflict_error(conflicts: &[Conflict]) -> StatusError {
    let causes: Value = conflicts
        .iter()
        .map(|conflict| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {}", print(&conflict.manager)),
                "field": display(&conflict.path),
            })
        })
        .collect();
    StatusError::new(409, "Conflict", message(conflicts)).with_details(json!({ "causes": causes }))
}

fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", print(&one.manager), display(&one.path));
    }
    let mut by_manager: BTreeMap<&ManagerId, Vec<String>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager.entry(&conflict.manager).or_default().push(display(&conflict.path));
    }
    let mut lines = Vec::new();
    for (manager, paths) in by_manager {
        lines.push(format!("conflicts with {}:", print(manager)));
        lines.extend(paths.iter().map(|path| format!("- {path}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// `"kubectl" with subresource "scale" using apps/v1`; of appliers without the version.
fn print(id: &ManagerId) -> String {
    let subresource = match id.subresource.as_str() {
        "" => String::new(),
        subresource => format!(" with subresource {subresource:?}"),
    };
    let version = if id.applied { String::new() } else { format!(" using {}", id.api_version) };
    format!("{:?}{subresource}{version}", id.manager)
}
