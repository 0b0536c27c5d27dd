//! Owner references that say the same thing twice.

use orlop_api::Value;

use crate::call::Warnings;

/// Drops repeated owner references and warns of them. Upstream looks before and after admission and
/// words it differently.
pub fn deduplicate(object: &mut Value, warnings: &Warnings, after_admission: bool) {
    let Some(Value::Array(references)) = object.get_mut("metadata").and_then(|m| m.get_mut("ownerReferences")) else {
        return;
    };
    let mut repeated: Vec<String> = Vec::new();
    let mut at = 1;
    while at < references.len() {
        let (before, rest) = references.split_at(at);
        if before.contains(&rest[0]) {
            repeated.push(rest[0]["uid"].as_str().unwrap_or_default().to_owned());
            references.remove(at);
        } else {
            at += 1;
        }
    }
    if repeated.is_empty() {
        return;
    }
    let when = if after_admission { " after mutating admission happens" } else { "" };
    warnings.add(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may \
         reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        repeated.join(", ")
    ));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeats_go_and_are_told() {
        let (a, b) = (json!({"uid": "1", "name": "a"}), json!({"uid": "1", "name": "b"}));
        let mut object = json!({"metadata": {"ownerReferences": [a, b, a]}});
        let warnings = Warnings::default();
        deduplicate(&mut object, &warnings, false);
        assert_eq!(object["metadata"]["ownerReferences"], json!([a, b]));
        assert!(warnings.take()[0].ends_with("duplicate UID(s) observed: 1"));
        deduplicate(&mut object, &warnings, true);
        assert!(warnings.take().is_empty());
    }
}
