//! Running a policy's expressions over one request, within its budget.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use orlop_api::field::{ErrorList, Path};
use orlop_api::{Value as Json, meta};
use orlop_cel::cost::PER_CALL_LIMIT;
use orlop_cel::library::authorizer::{Authorizer, Authz, Decision, Question};
use orlop_cel::types::Type;
use orlop_cel::value::{Result as CelResult, Value, Variables, fail};
use orlop_client::transport::UserInfo;
use serde_json::json;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::conditions::Conditions;
use super::environment::{Compiled, Place, compile, environment};
use crate::Server;
use crate::admission::versioned::{self, Versioned};
use crate::admission::{Attributes, Operation};
use crate::auth;
use crate::request::RequestInfo;
use crate::resource::Resource;

/// What every kind of policy has: conditions that say whether it applies, and variables.
pub struct Common {
    pub conditions: Conditions,
    pub variables: Vec<(String, Compiled)>,
}

impl Common {
    pub fn compile(policy: &Json) -> Self {
        let spec = &policy["spec"];
        let place = Place { params: spec["paramKind"].is_object(), authorizer: true, patch: false };
        let mut variables: Vec<(String, Compiled)> = Vec::new();
        for variable in spec["variables"].as_array().into_iter().flatten() {
            let text = |key: &str| variable[key].as_str().unwrap_or_default();
            let env = environment(place, Some(&types(&variables)));
            variables.push((text("name").to_owned(), compile(&env, text("expression"), &[])));
        }
        Self { conditions: Conditions::compile(&spec["matchConditions"], place.params), variables }
    }

    /// What does not compile; conditions that an update leaves alone are not held against it.
    pub fn check(&self, policy: &Json, old: Option<&Json>, errors: &mut ErrorList) {
        let spec = Path::new("spec");
        let conditions = |policy: &Json| policy["spec"]["matchConditions"].clone();
        if old.is_none_or(|old| conditions(old) != conditions(policy)) {
            self.conditions.check(&spec.child("matchConditions"), errors);
        }
        let path = spec.child("variables");
        for (i, (_, variable)) in self.variables.iter().enumerate() {
            variable.check(&path.index(i).child("expression"), errors);
        }
    }

    /// Nothing where there are none.
    pub fn variable_types(&self) -> Option<Vec<(String, Type)>> {
        (!self.variables.is_empty()).then(|| types(&self.variables))
    }
}

/// A variable without an expression is none that others could read.
fn types(variables: &[(String, Compiled)]) -> Vec<(String, Type)> {
    let stated = variables.iter().filter(|(_, compiled)| !compiled.expression.trim().is_empty());
    stated.map(|(name, compiled)| (name.clone(), visible(&compiled.result))).collect()
}

/// Types that variables pass on; what is not one of these is dynamic.
fn visible(t: &Type) -> Type {
    match t {
        Type::Bool
        | Type::Bytes
        | Type::Double
        | Type::Duration
        | Type::Int
        | Type::Null
        | Type::String
        | Type::Timestamp
        | Type::Uint => t.clone(),
        Type::List(_) | Type::Map(..) => t.map_inner(visible),
        _ => Type::Dyn,
    }
}

/// What the expressions see of a request.
pub struct Input {
    pub object: Json,
    pub old_object: Json,
    pub params: Option<Json>,
    pub request: Json,
    pub operation: &'static str,
    pub namespace: Json,
    pub question: Question,
}

impl Input {
    /// In the version that the policy matched.
    pub fn new(attributes: &Attributes, seen: &Versioned, params: Option<Json>, namespace: Option<Json>) -> Self {
        let info = attributes.resource.info();
        let question = Question {
            group: info.group.to_string(),
            resource: info.plural.to_string(),
            subresource: attributes.subresource.clone(),
            namespace: attributes.namespace.clone(),
            name: attributes.name.clone(),
            ..Question::default()
        };
        Self {
            object: seen.object.clone(),
            old_object: seen.old_object.clone(),
            params,
            request: request(attributes, &seen.resource),
            operation: attributes.operation.name(),
            namespace: namespace.unwrap_or_default(),
            question,
        }
    }
}

/// `admission.k8s.io/v1` AdmissionRequest without the objects; what is empty is left out.
fn request(attributes: &Attributes, matched: &Resource) -> Json {
    let options = match attributes.operation {
        Operation::Create => json!({"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"}),
        Operation::Update => json!({"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions"}),
        Operation::Delete => json!({"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions"}),
        Operation::Connect => Json::Null,
    };
    let user = &attributes.user;
    let extra: orlop_api::Map<String, Json> =
        user.extra.iter().map(|(key, values)| (key.clone(), values.clone().into())).collect();
    let mut request = json!({
        "uid": "", "kind": versioned::kind(attributes, matched), "resource": versioned::resource(matched),
        "requestKind": versioned::kind(attributes, &attributes.resource),
        "requestResource": versioned::resource(&attributes.resource),
        "operation": attributes.operation.name(), "dryRun": attributes.dry_run,
        "options": options,
        "userInfo": {"username": user.name, "uid": user.uid, "groups": user.groups, "extra": extra},
    });
    let optional = [
        ("subResource", &attributes.subresource),
        ("requestSubResource", &attributes.subresource),
        ("name", &attributes.name),
        ("namespace", &attributes.namespace),
    ];
    for (field, value) in optional {
        if !value.is_empty() {
            request[field] = value.as_str().into();
        }
    }
    if let Some(user) = request["userInfo"].as_object_mut() {
        let empty = |value: &Json| value == "" || value.as_array().is_some_and(Vec::is_empty) || *value == json!({});
        user.retain(|_, value| !empty(value));
    }
    request
}

/// Asks the server's authorizer in the name of the user or of a ServiceAccount.
pub struct Asker<'s> {
    pub server: &'s Server,
    pub user: &'s UserInfo,
}

impl Authorizer for Asker<'_> {
    fn check(&self, question: &Question) -> Decision {
        let request = if question.path.is_empty() {
            RequestInfo {
                verb: question.verb.clone(),
                is_resource: true,
                api_group: question.group.clone(),
                api_version: "*".to_owned(),
                namespace: question.namespace.clone(),
                resource: question.resource.clone(),
                subresource: question.subresource.clone(),
                name: question.name.clone(),
                field_selector: question.field_selector.clone(),
                label_selector: question.label_selector.clone(),
                ..RequestInfo::default()
            }
        } else {
            RequestInfo { verb: question.verb.clone(), path: question.path.clone(), ..RequestInfo::default() }
        };
        let account = question.service_account.as_ref().map(|(namespace, name)| service_account(namespace, name));
        let user = account.as_ref().unwrap_or(self.user);
        match wait(self.server.authorizer.authorize(user, &request)) {
            Some(auth::Decision::Allow { reason }) => Decision { allowed: true, reason, error: None },
            Some(auth::Decision::Deny { reason } | auth::Decision::NoOpinion { reason }) => {
                Decision { allowed: false, reason, error: None }
            }
            Some(auth::Decision::Failed { reason, error, .. }) => {
                Decision { allowed: false, reason, error: Some(error) }
            }
            None => Decision { error: Some("the authorizer did not answer".to_owned()), ..Decision::default() },
        }
    }
}

/// Decisions rest on memory mostly. One that a webhook takes is waited for, where that holds nobody else up: an
/// expression cannot be put aside.
fn wait<T>(mut decision: BoxFuture<'_, T>) -> Option<T> {
    if let Some(decided) = (&mut decision).now_or_never() {
        return Some(decided);
    }
    let runtime = Handle::try_current().ok().filter(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread)?;
    Some(tokio::task::block_in_place(|| runtime.block_on(decision)))
}

fn service_account(namespace: &str, name: &str) -> UserInfo {
    UserInfo {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        ..UserInfo::default()
    }
}

/// The variables of one evaluation; those a policy defines are computed when first read.
pub struct Scope<'a> {
    input: &'a Input,
    authorizer: Option<&'a Asker<'a>>,
    variables: &'a [(String, Compiled)],
    computed: RefCell<BTreeMap<usize, CelResult<Value<'a>>>>,
    /// What computing them cost since the last expression.
    cost: Cell<u64>,
}

pub const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl<'a> Scope<'a> {
    pub fn new(input: &'a Input, authorizer: Option<&'a Asker<'a>>, variables: &'a [(String, Compiled)]) -> Self {
        Self { input, authorizer, variables, computed: RefCell::default(), cost: Cell::new(0) }
    }

    /// Runs an expression. The outer error ends the policy: its budget is spent.
    pub fn run(&self, compiled: &'a Compiled, budget: &mut u64) -> Result<Result<Value<'a>, String>, String> {
        let program = match &compiled.program {
            Ok(program) => program,
            Err(why) => return Ok(Err(format!("compilation error: {why}"))),
        };
        let outcome = program.eval(self, PER_CALL_LIMIT);
        let cost = outcome.cost.saturating_add(self.cost.take());
        *budget = budget.checked_sub(cost).ok_or(OUT_OF_BUDGET)?;
        let expression = &compiled.expression;
        Ok(outcome.value.map_err(|error| format!("expression '{expression}' resulted in error: {error}")))
    }

    fn compute(&self, index: usize) -> CelResult<Value<'a>> {
        if let Some(known) = self.computed.borrow().get(&index) {
            return known.clone();
        }
        let (name, compiled) = &self.variables[index];
        let value = match &compiled.program {
            Ok(program) => {
                let outcome = program.eval(self, PER_CALL_LIMIT);
                self.cost.set(self.cost.get().saturating_add(outcome.cost));
                let failed = |error| fail(format!("composited variable {name:?} fails to evaluate: {error}"));
                outcome.value.or_else(failed)
            }
            Err(why) => fail(format!("composited variable {name:?} fails to compile: {why}")),
        };
        self.computed.borrow_mut().insert(index, value.clone());
        value
    }
}

impl<'a> Variables<'a> for Scope<'a> {
    fn get(&self, name: &str) -> CelResult<Option<Value<'a>>> {
        let input = self.input;
        Ok(match name {
            "object" => Some(Value::of(&input.object)),
            "oldObject" => Some(Value::of(&input.old_object)),
            "params" => Some(input.params.as_ref().map_or(Value::Null, Value::of)),
            "request" => Some(Value::of(&input.request)),
            "namespaceObject" => Some(Value::of(&input.namespace)),
            "authorizer" => self.authorizer.map(|asker| Authz::value(asker)),
            "authorizer.requestResource" => {
                self.authorizer.map(|asker| Authz::request_resource(asker, input.question.clone()))
            }
            _ => match name.strip_prefix("variables.") {
                Some(name) => {
                    let index = self.variables.iter().rposition(|(variable, _)| variable == name);
                    index.map(|index| self.compute(index)).transpose()?
                }
                None => None,
            },
        })
    }
}

/// The namespace of the request, for `namespaceObject`; a namespace has none.
pub fn namespace_of(server: &Server, attributes: &Attributes) -> Option<Json> {
    if attributes.namespace.is_empty() || attributes.is("", "namespaces") {
        return None;
    }
    let mut namespace = super::matching::namespace(server, &attributes.namespace)?;
    for field in ["ownerReferences", "selfLink"] {
        meta::remove(&mut namespace, field);
    }
    Some(namespace)
}
