pub mod mutating_admission_policy;
pub mod mutating_admission_policy_binding;
pub mod mutating_webhook_configuration;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;
pub mod validating_webhook_configuration;

use serde_json::Value;

use crate::kinds::read::Read;

/// What kind of object parametrizes a policy.
fn param_kind(policy: &Value) -> String {
    match policy.at("spec.paramKind") {
        Value::Null => "<unset>".to_owned(),
        kind => format!("{}/{}", kind.text("apiVersion"), kind.text("kind")),
    }
}

/// Which object (or, by selector, objects) parametrizes a binding.
fn param_ref(binding: &Value) -> String {
    let reference = binding.at("spec.paramRef");
    match (reference.text("namespace"), reference.text("name")) {
        ("", "") if reference.has("selector") => go_selector(&reference["selector"]),
        (_, "") => "<unset>".to_owned(),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    }
}

/// A `metav1.LabelSelector` as its generated `String` method prints it.
fn go_selector(selector: &Value) -> String {
    let labels: Vec<String> = selector
        .map("matchLabels")
        .iter()
        .map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or_default()))
        .collect();
    let expression = |e: &Value| {
        let values = crate::table::joined(e.list("values"), " ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", e.text("key"), e.text("operator"))
    };
    let expressions: String = selector.list("matchExpressions").iter().map(expression).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}",
        labels.join("")
    )
}
