//! What paths, operations, tags and schemas are called.

use crate::kind::Kind;
use crate::schema::builtin;

/// The schema name of a kind: that of its table, or for custom resources its group backwards.
pub fn schema_name(kind: &dyn Kind, version: &str) -> String {
    let info = kind.info();
    match builtin().of(&info.api_version(version), &info.kind) {
        Some(ty) => ty.get().name.clone(),
        None => custom_name(&info.group, version, &info.kind),
    }
}

/// The schema name of a kind's list.
pub fn list_schema_name(kind: &dyn Kind, version: &str) -> String {
    let info = kind.info();
    match builtin().of(&info.api_version(version), &info.list_kind) {
        Some(ty) => ty.get().name.clone(),
        None => custom_name(&info.group, version, &info.list_kind),
    }
}

/// `com.example.stable.v1.CronTab` of `stable.example.com/v1` `CronTab`.
fn custom_name(group: &str, version: &str, kind: &str) -> String {
    let backwards: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", backwards.join("."))
}

pub fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// `core_v1`, `rbacAuthorization_v1`.
pub fn tag(group: &str, version: &str) -> String {
    let name = group_name(group);
    let mut chars = name.chars();
    let lower: String = chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default();
    format!("{lower}_{version}")
}

/// `Core`, `Apps`, `RbacAuthorization` of `rbac.authorization.k8s.io`.
pub fn group_name(group: &str) -> String {
    if group.is_empty() {
        return "Core".to_owned();
    }
    group.strip_suffix(".k8s.io").unwrap_or(group).split('.').map(capital).collect()
}

pub fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

pub fn article(noun: &str) -> &'static str {
    if noun.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" }
}
