//! Admission policies in CEL: what they refuse, warn of and change.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use harness::{Api, api};
use serde_json::{Value, json};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

/// Rules for creating and updating ConfigMaps.
fn on_config_maps() -> Value {
    json!({"resourceRules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
    }]})
}

async fn policy(api: &Api, kind: &str, name: &str, spec: Value, binding: Value) {
    let mut spec = spec;
    spec["matchConstraints"] = on_config_maps();
    let (plural, bindings) = match kind {
        "Validating" => ("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
        _ => ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
    };
    api.post(&format!("{GROUP}/{plural}"), json!({"metadata": {"name": name}, "spec": spec})).await.is(201);
    let mut binding = binding;
    binding["policyName"] = name.into();
    api.post(&format!("{GROUP}/{bindings}"), json!({"metadata": {"name": name}, "spec": binding})).await.is(201);
}

#[tokio::test]
async fn what_does_not_hold_is_refused_in_the_policys_words() {
    let api = api().await;
    let spec = json!({
        "variables": [{"name": "size", "expression": "size(object.data)"}],
        "validations": [
            {"expression": "variables.size <= 2", "messageExpression": "'too many: ' + string(variables.size)"},
            {"expression": "!has(object.data.secret)", "message": "no secrets", "reason": "Forbidden"},
        ],
    });
    policy(&api, "Validating", "p", spec, json!({"validationActions": ["Deny"]})).await;
    api.post(MAPS, map("ok", json!({"a": "1"}))).await.is(201);
    api.post(MAPS, map("big", json!({"a": "1", "b": "2", "c": "3"}))).await.fails(
        422,
        "configmaps \"big\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: too many: 3",
    );
    api.post(MAPS, map("s", json!({"secret": "1"}))).await.fails(
        403,
        "configmaps \"s\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no secrets",
    );
    api.put(&format!("{MAPS}/ok"), map("ok", json!({"secret": "x"}))).await.is(403);
    api.post("/api/v1/namespaces/default/secrets", map("free", json!({}))).await.is(201);
}

#[tokio::test]
async fn an_expression_without_a_value_fails_as_the_policy_says() {
    let api = api().await;
    let spec = json!({"validations": [{"expression": "object.data.missing == 'x'"}]});
    policy(&api, "Validating", "p", spec.clone(), json!({"validationActions": ["Deny"]})).await;
    api.post(MAPS, map("a", json!({"b": "c"}))).await.fails(
        422,
        "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: expression \
         'object.data.missing == 'x'' resulted in error: no such key: missing",
    );
    api.delete(&format!("{GROUP}/validatingadmissionpolicies/p")).await.is(200);
    let mut lenient = spec;
    lenient["failurePolicy"] = "Ignore".into();
    policy(&api, "Validating", "q", lenient, json!({"validationActions": ["Deny"]})).await;
    api.post(MAPS, map("a", json!({"b": "c"}))).await.is(201);
}

#[tokio::test]
async fn params_conditions_and_the_authorizer_are_there() {
    let api = api().await;
    api.post(MAPS, map("limits", json!({"max": "1"}))).await.is(201);
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "named", "expression": "object.metadata.name.startsWith('x')"}],
        "validations": [{"expression":
            "size(object.data) <= int(params.data.max) || !authorizer.group('').resource('pods').check('get').allowed()"}],
    });
    let binding =
        json!({"validationActions": ["Deny"], "paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}});
    policy(&api, "Validating", "p", spec, binding).await;
    api.post(MAPS, map("x1", json!({"a": "1"}))).await.is(201);
    api.post(MAPS, map("x2", json!({"a": "1", "b": "2"}))).await.is(422);
    api.post(MAPS, map("y2", json!({"a": "1", "b": "2"}))).await.is(201);
}

#[tokio::test]
async fn a_warning_refuses_nothing() {
    let api = api().await;
    let spec = json!({"validations": [{"expression": "false", "message": "no good"}]});
    policy(&api, "Validating", "p", spec, json!({"validationActions": ["Warn"]})).await;
    let answer = api.post(MAPS, map("a", json!({}))).await.is(201);
    let warning = answer.header("warning");
    assert!(
        warning.contains("Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': no good"),
        "{warning}"
    );
}

#[tokio::test]
async fn mutations_apply_configurations_and_patches_in_order() {
    let api = api().await;
    let spec = json!({"failurePolicy": "Fail", "reinvocationPolicy": "Never", "mutations": [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
            "Object{metadata: Object.metadata{labels: {'by': request.userInfo.username}}}"}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x/y'), value: object.metadata.labels.by}]"}},
    ]});
    policy(&api, "Mutating", "m", spec, json!({})).await;
    api.post(MAPS, map("a", json!({"k": "v"}))).await.is(201).has(json!({
        "metadata": {"labels": {"by": "tester", "x/y": "tester"}}, "data": {"k": "v"},
    }));
}

#[tokio::test]
async fn what_does_not_compile_is_not_stored() {
    let api = api().await;
    let spec = json!({"matchConstraints": on_config_maps(), "validations": [{"expression": "object.x +"}]});
    let policy = json!({"metadata": {"name": "p"}, "spec": spec});
    let refused = api.post(&format!("{GROUP}/validatingadmissionpolicies"), policy).await.is(422).json();
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("spec.validations[0].expression: Invalid value: \"object.x +\": compilation failed: ERROR:")
    );
}

#[tokio::test]
async fn a_variable_without_an_expression_is_none() {
    let api = api().await;
    let spec = json!({"matchConstraints": on_config_maps(), "variables": [{"name": "v"}],
                      "validations": [{"expression": "variables.v == 2"}]});
    let policy = json!({"metadata": {"name": "p"}, "spec": spec});
    let refused = api.post(&format!("{GROUP}/validatingadmissionpolicies"), policy).await.is(422).json();
    let message = refused["message"].as_str().unwrap();
    for told in ["spec.variables[0].expression: Required value", "ERROR: <input>:1:10: undefined field 'v'"] {
        assert!(message.contains(told), "{message}");
    }
}
