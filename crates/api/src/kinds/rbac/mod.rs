pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;

use serde_json::Value;

use crate::kinds::read::Read;

/// Users, groups and service accounts that a binding names.
fn subjects(binding: &Value) -> [String; 3] {
    let of = |kind: &str, text: fn(&Value) -> String| {
        let subjects = binding.list("subjects").iter().filter(|subject| subject["kind"] == kind);
        subjects.map(text).collect::<Vec<_>>().join(", ")
    };
    [
        of("User", |subject| subject.text("name").to_owned()),
        of("Group", |subject| subject.text("name").to_owned()),
        of("ServiceAccount", |subject| format!("{}/{}", subject.text("namespace"), subject.text("name"))),
    ]
}
