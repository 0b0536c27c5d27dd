//! ValidatingAdmissionPolicy: expressions that must hold
//! (`k8s.io/apiserver/pkg/admission/plugin/policy/validating`).

use std::time::Duration;

use futures_util::future::BoxFuture;
use orlop_api::Value as Json;
use orlop_api::field::{ErrorList, Path};
use orlop_api::status::StatusError;
use orlop_cel::cost::RUNTIME_BUDGET;
use orlop_cel::types::Type;
use orlop_cel::value::Value;
use serde_json::json;
use tokio::time::Instant;

use super::environment::{Compiled, Place, compile, environment};
use super::evaluate::{Asker, Common, Input, Scope, namespace_of};
use super::notes::Notes;
use super::{Policies, Policy, bindings, ignores_failures, is_exempt, matching, params, params_here};
use crate::Server;
use crate::admission::metrics::{ConditionLabels, METRICS};
use crate::admission::versioned::Views;
use crate::admission::{Attributes, Plugin};

const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/validatingadmissionpolicybindings";
/// The longest message an expression may make.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;

#[derive(Default)]
pub struct ValidatingAdmissionPolicy(Policies<Validations>);

/// A policy's expressions.
pub struct Validations {
    common: Common,
    validations: Vec<Validation>,
    annotations: Vec<(String, Compiled)>,
}

struct Validation {
    holds: Compiled,
    message: String,
    message_expression: Option<Compiled>,
    reason: String,
}

/// A validation that does not hold.
struct Failure {
    message: String,
    reason: String,
    /// Of the validation.
    index: usize,
    /// There was no value, rather than a bad one.
    is_error: bool,
    /// An error that the policy lets pass.
    ignored: bool,
    took: Duration,
}

impl Failure {
    fn of(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            reason: String::new(),
            index: 0,
            is_error: true,
            ignored: false,
            took: Duration::ZERO,
        }
    }

    fn of_value(message: String, reason: String) -> Self {
        Self { reason, is_error: false, ..Self::of(message) }
    }
}

impl Validations {
    pub fn compile(policy: &Json) -> Self {
        let common = Common::compile(policy);
        let spec = &policy["spec"];
        let types = common.variable_types();
        let params = spec["paramKind"].is_object();
        let env = environment(Place { params, authorizer: true, patch: false }, types.as_deref());
        let message_env = environment(Place { params, authorizer: false, patch: false }, types.as_deref());
        let items = |key: &str| spec[key].as_array().cloned().unwrap_or_default();
        let text = |item: &Json, key: &str| item[key].as_str().unwrap_or_default().trim().to_owned();
        let validation = |item: &Json| Validation {
            holds: compile(&env, item["expression"].as_str().unwrap_or_default(), &[Type::Bool]),
            message: text(item, "message"),
            message_expression: item["messageExpression"]
                .as_str()
                .filter(|expression| !expression.is_empty())
                .map(|expression| compile(&message_env, expression, &[Type::String])),
            reason: text(item, "reason"),
        };
        let annotation = |item: &Json| {
            (text(item, "key"), compile(&env, &text(item, "valueExpression"), &[Type::String, Type::Null]))
        };
        Self {
            validations: items("validations").iter().map(validation).collect(),
            annotations: items("auditAnnotations").iter().map(annotation).collect(),
            common,
        }
    }

    /// What does not compile.
    pub fn check(&self, policy: &Json, old: Option<&Json>, errors: &mut ErrorList) {
        self.common.check(policy, old, errors);
        let path = Path::new("spec.validations");
        for (i, validation) in self.validations.iter().enumerate() {
            let path = path.index(i);
            validation.holds.check(&path.child("expression"), errors);
            if let Some(message) = &validation.message_expression {
                message.check(&path.child("messageExpression"), errors);
            }
        }
        let path = Path::new("spec.auditAnnotations");
        for (i, (_, annotation)) in self.annotations.iter().enumerate() {
            annotation.check(&path.index(i).child("valueExpression"), errors);
        }
    }

    /// What does not hold of one request with one set of params.
    fn failures(&self, policy: &Json, input: &Input, asker: &Asker<'_>, notes: &mut Notes) -> Vec<Failure> {
        let ignore = ignores_failures(policy);
        let error = |message: String| vec![Failure { ignored: ignore, ..Failure::of(message) }];
        let operation = input.operation;
        let name = orlop_api::meta::name(policy).to_owned();
        let whose = ConditionLabels { name, kind: "policy", r#type: "validate", operation };
        match self.common.conditions.hold(input, asker, ignore, &whose) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(why) => return error(why),
        }
        let scope = Scope::new(input, Some(asker), &self.common.variables);
        let mut budget = RUNTIME_BUDGET;
        let mut failures = Vec::new();
        for (index, validation) in self.validations.iter().enumerate() {
            let (known, began) = (failures.len(), Instant::now());
            match scope.run(&validation.holds, &mut budget) {
                Ok(Ok(Value::Bool(true))) => {}
                Ok(Ok(_)) => failures.push(validation.failure(input, &self.common, &mut budget)),
                Ok(Err(why)) => failures.extend(error(why)),
                Err(why) => return error(why),
            }
            let took = began.elapsed();
            failures[known..].iter_mut().for_each(|failure| (failure.index, failure.took) = (index, took));
        }
        failures.extend(self.annotation_failures(orlop_api::meta::name(policy), &scope, ignore, notes));
        failures
    }

    /// Annotations whose values cannot be made. Those that can go to the audit log.
    fn annotation_failures<'a>(
        &'a self,
        policy: &str,
        scope: &Scope<'a>,
        ignore: bool,
        notes: &mut Notes,
    ) -> Vec<Failure> {
        let mut budget = RUNTIME_BUDGET;
        let mut failures = Vec::new();
        for (key, annotation) in &self.annotations {
            match scope.run(annotation, &mut budget) {
                Ok(Ok(Value::String(text))) => notes.annotate(policy, key, &text),
                Ok(Ok(_)) => {}
                Ok(Err(why)) | Err(why) if !ignore => failures.push(Failure::of(why)),
                _ => {}
            }
        }
        failures
    }
}

impl Validation {
    fn failure(&self, input: &Input, common: &Common, budget: &mut u64) -> Failure {
        let reason = if self.reason.is_empty() { "Invalid" } else { &self.reason }.to_owned();
        let scope = Scope::new(input, None, &common.variables);
        let made = self.message_expression.as_ref().map(|expression| scope.run(expression, budget));
        let message = match made {
            Some(Ok(Ok(Value::String(text)))) => Some(text.trim().to_owned()),
            Some(Err(why)) => return Failure::of_value(format!("failed messageExpression: {why}"), reason),
            _ => None,
        };
        let usable = |text: &String| !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n');
        let message = message.filter(usable).unwrap_or_else(|| self.message.clone());
        if message.is_empty() {
            return Failure::of_value(format!("failed expression: {}", self.holds.expression.trim()), reason);
        }
        Failure::of_value(message, reason)
    }
}

impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, attributes: &Attributes) -> bool {
        !is_exempt(attributes)
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let mut denied = None;
            let mut notes = Notes::default();
            let mut views = Views::default();
            for policy in self.0.all(server, POLICIES, Validations::compile) {
                let found = check(server, a, &policy, &mut views, &mut notes).await;
                denied = denied.or(found);
            }
            notes.publish(&a.trail);
            denied.map_or(Ok(()), Err)
        })
    }
}

/// The first refusal of one policy; warnings are given along the way.
async fn check(
    server: &Server,
    a: &Attributes,
    policy: &Policy<Validations>,
    views: &mut Views,
    notes: &mut Notes,
) -> Option<StatusError> {
    let object = &policy.object;
    let misconfigured = |binding: Option<&str>, why: String| {
        let what = if binding.is_some() { "binding" } else { "policy" };
        let failure = Failure::of(format!("failed to configure {what}: {why}"));
        (!ignores_failures(object)).then(|| refusal(a, &policy.name, binding, &failure))
    };
    let matched = match matching::matches(server, a, &object["spec"]["matchConstraints"]) {
        Ok(Some(matched)) => matched,
        Ok(None) => return None,
        Err(why) => return misconfigured(None, why),
    };
    let kind = &object["spec"]["paramKind"];
    if kind.is_object() && params::find_kind(server, kind).is_none() {
        return misconfigured(None, params::unknown(kind));
    }
    let mut denied = None;
    for binding in bindings(server, BINDINGS, &policy.name) {
        let name = orlop_api::meta::name(&binding);
        let Some(params) = params_here(server, a, object, &binding) else { continue };
        let params = match params {
            Ok(params) => params,
            Err(why) => {
                denied = denied.or(misconfigured(Some(name), why));
                continue;
            }
        };
        if params.is_empty() {
            continue;
        }
        let seen = match views.get(server, a, &matched).await {
            Ok(seen) => seen,
            Err(error) => {
                let why = format!("failed to convert object version: {}", error.message);
                denied = denied.or(misconfigured(Some(name), why));
                continue;
            }
        };
        let asker = Asker { server, user: &a.user };
        for params in params {
            let input = Input::new(a, &seen, params, namespace_of(server, a));
            for failure in policy.compiled.failures(object, &input, &asker, notes) {
                denied = denied.or(act(a, &policy.name, &binding, &failure, notes));
            }
        }
    }
    denied
}

/// Does what the binding wants done about a failure.
fn act(a: &Attributes, policy: &str, binding: &Json, failure: &Failure, notes: &mut Notes) -> Option<StatusError> {
    let name = orlop_api::meta::name(binding);
    let error = Some(&*failure.message).filter(|_| failure.is_error);
    let observe = |action| METRICS.validating([policy, name], error, action, failure.took);
    if failure.ignored {
        observe("allow");
        return None;
    }
    let actions = binding["spec"]["validationActions"].as_array().into_iter().flatten();
    let mut denied = None;
    for action in actions.filter_map(Json::as_str) {
        match action {
            "Deny" => {
                observe("deny");
                denied = Some(refusal(a, policy, Some(name), failure));
            }
            "Warn" => {
                observe("warn");
                let message = &failure.message;
                a.warnings.add(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{name}': {message}"
                ));
            }
            "Audit" => {
                observe("audit");
                notes.fail(policy, binding, failure.index, &failure.message);
            }
            _ => {}
        }
    }
    denied
}

fn refusal(a: &Attributes, policy: &str, binding: Option<&str>, failure: &Failure) -> StatusError {
    let by = binding.map_or_else(String::new, |binding| format!(" with binding '{binding}'"));
    let message = format!("ValidatingAdmissionPolicy '{policy}'{by} denied request: {}", failure.message);
    let mut status = a.forbidden(&message);
    let reason = if failure.reason.is_empty() { "Invalid" } else { &failure.reason };
    status.code = match reason {
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    reason.clone_into(&mut status.reason);
    if let Some(details) = status.details.as_deref_mut() {
        details["causes"] = json!([{ "message": message }]);
    }
    status
}
