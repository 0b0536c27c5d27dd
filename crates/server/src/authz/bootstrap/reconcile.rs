//! What a stored object of the default policy lacks (`component-helpers/auth/rbac/reconciliation`,
//! in the form the API server uses: what is extra stays).

use orlop_api::Value;
use serde_json::{Map, json};

use super::policy::AUTO_UPDATE;
use crate::authz::rule::{Rule, missing};

/// What to do about one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Nothing,
    Create,
    Update(Box<Value>),
    /// A binding of another role: a role reference cannot be changed.
    Recreate {
        uid: String,
    },
}

/// Compares what is there with what should be.
pub fn reconcile(existing: Option<&Value>, expected: &Value) -> Step {
    let Some(existing) = existing else { return Step::Create };
    if existing["metadata"]["annotations"][AUTO_UPDATE] == "false" {
        return Step::Nothing;
    }
    if expected["roleRef"] != existing["roleRef"] {
        let uid = existing["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        return Step::Recreate { uid };
    }
    let mut wanted = existing.clone();
    for field in ["annotations", "labels"] {
        let defaults = expected["metadata"][field].as_object().cloned().unwrap_or_default();
        let mut merged = defaults;
        merged.extend(existing["metadata"][field].as_object().cloned().unwrap_or_default());
        wanted["metadata"][field] = Value::Object(merged);
    }
    if expected["roleRef"].is_null() {
        add_rules(&mut wanted, existing, expected);
        add_aggregation(&mut wanted, existing, expected);
    } else {
        add_items(&mut wanted["subjects"], &expected["subjects"]);
    }
    if wanted == *existing { Step::Nothing } else { Step::Update(Box::new(wanted)) }
}

fn add_rules(wanted: &mut Value, existing: &Value, expected: &Value) {
    let lacking = missing(&Rule::list(existing), &Rule::list(expected));
    if !lacking.is_empty() {
        let mut rules = existing["rules"].as_array().cloned().unwrap_or_default();
        rules.extend(lacking.iter().map(Rule::to_value));
        wanted["rules"] = Value::Array(rules);
    }
}

fn add_aggregation(wanted: &mut Value, existing: &Value, expected: &Value) {
    match (existing["aggregationRule"].is_object(), expected["aggregationRule"].is_object()) {
        (true, false) => drop(wanted.as_object_mut().and_then(|role: &mut Map<_, _>| role.remove("aggregationRule"))),
        (false, true) => wanted["aggregationRule"] = expected["aggregationRule"].clone(),
        (true, true) => {
            let selectors = &expected["aggregationRule"]["clusterRoleSelectors"];
            add_items(&mut wanted["aggregationRule"]["clusterRoleSelectors"], selectors);
        }
        (false, false) => {}
    }
}

/// Appends the items of `expected` that `list` has not.
fn add_items(list: &mut Value, expected: &Value) {
    let lacking: Vec<Value> = expected
        .as_array()
        .into_iter()
        .flatten()
        .filter(|item| !list.as_array().is_some_and(|items| items.contains(item)))
        .cloned()
        .collect();
    if lacking.is_empty() {
        return;
    }
    match list.as_array_mut() {
        Some(items) => items.extend(lacking),
        None => *list = json!(lacking),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(extra: Value) -> Value {
        let mut role = json!({
            "metadata": {"name": "r", "labels": {"a": "b"}, "annotations": {AUTO_UPDATE: "true"}},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
        });
        for (key, value) in extra.as_object().expect("an object") {
            role[key] = value.clone();
        }
        role
    }

    #[test]
    fn roles_are_completed_and_what_is_extra_stays() {
        let expected = role(json!({}));
        assert_eq!(reconcile(None, &expected), Step::Create);
        assert_eq!(reconcile(Some(&expected), &expected), Step::Nothing);
        let mine = json!({"apiGroups": ["x"], "resources": ["y"], "verbs": ["z"]});
        let existing = role(json!({
            "metadata": {"name": "r", "labels": {"a": "mine", "c": "d"}, "annotations": {AUTO_UPDATE: "true"}},
            "rules": [mine, {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        }));
        let Step::Update(updated) = reconcile(Some(&existing), &expected) else { panic!("an update") };
        assert_eq!(updated["metadata"]["labels"], json!({"a": "mine", "c": "d"}));
        assert_eq!(updated["rules"].as_array().expect("rules").len(), 3);
        assert_eq!(updated["rules"][2], json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}));
        assert_eq!(reconcile(Some(&updated), &expected), Step::Nothing);
    }

    #[test]
    fn protected_objects_stay_as_they_are() {
        let existing = role(json!({"metadata": {"annotations": {AUTO_UPDATE: "false"}}, "rules": []}));
        assert_eq!(reconcile(Some(&existing), &role(json!({}))), Step::Nothing);
    }

    #[test]
    fn aggregation_is_completed() {
        let rule =
            |selectors: Value| role(json!({"rules": null, "aggregationRule": {"clusterRoleSelectors": selectors}}));
        let (one, two) = (json!({"matchLabels": {"x": "true"}}), json!({"matchLabels": {"y": "true"}}));
        let Step::Update(updated) = reconcile(Some(&rule(json!([two]))), &rule(json!([one]))) else {
            panic!("an update")
        };
        assert_eq!(updated["aggregationRule"]["clusterRoleSelectors"], json!([two, one]));
    }

    #[test]
    fn bindings_get_their_subjects_or_are_made_anew() {
        let binding = |role: &str, subjects: Value| json!({"metadata": {"uid": "u", "labels": {}, "annotations": {}}, "roleRef": {"name": role}, "subjects": subjects});
        let expected = binding("r", json!([{"name": "a"}]));
        let Step::Update(updated) = reconcile(Some(&binding("r", json!([{"name": "b"}]))), &expected) else {
            panic!("an update")
        };
        assert_eq!(updated["subjects"], json!([{"name": "b"}, {"name": "a"}]));
        assert_eq!(reconcile(Some(&binding("other", json!([]))), &expected), Step::Recreate { uid: "u".into() });
    }
}
