//! MutatingAdmissionPolicy: expressions that change the object
//! (`k8s.io/apiserver/pkg/admission/plugin/policy/mutating`).

use futures_util::future::BoxFuture;
use orlop_api::field::{ErrorList, Path};
use orlop_api::managed_fields::overlay;
use orlop_api::status::StatusError;
use orlop_api::{Value as Json, meta, patch};
use orlop_cel::cost::RUNTIME_BUDGET;
use orlop_cel::types::Type;
use serde_json::json;
use tokio::time::Instant;

use super::environment::{Compiled, Place, compile, environment};
use super::evaluate::{Asker, Common, Input, Scope, namespace_of};
use super::patch::{JSON_PATCH, OBJECT, configuration, operations};
use super::{Policies, Policy, bindings, ignores_failures, is_exempt, matching, params, params_here};
use crate::Server;
use crate::admission::metrics::{ConditionLabels, METRICS};
use crate::admission::versioned::Versioned;
use crate::admission::{Attributes, Operation, Plugin};
use crate::resource::Resource;

const POLICIES: &str = "admissionregistration.k8s.io/mutatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/mutatingadmissionpolicybindings";

#[derive(Default)]
pub struct MutatingAdmissionPolicy(Policies<Mutations>);

/// A policy's expressions.
pub struct Mutations {
    common: Common,
    mutations: Vec<Mutation>,
}

enum Mutation {
    Apply(Compiled),
    Patch(Compiled),
}

impl Mutations {
    pub fn compile(policy: &Json) -> Self {
        let common = Common::compile(policy);
        let spec = &policy["spec"];
        let place = Place { params: spec["paramKind"].is_object(), authorizer: true, patch: true };
        let env = environment(place, common.variable_types().as_deref());
        let mutation = |item: &Json| {
            let text = |key: &str| item[key]["expression"].as_str().unwrap_or_default();
            if item["patchType"] == JSON_PATCH {
                let wanted = Type::list(Type::object(JSON_PATCH));
                return Mutation::Patch(compile(&env, text("jsonPatch"), &[wanted]));
            }
            Mutation::Apply(compile(&env, text("applyConfiguration"), &[Type::object(OBJECT)]))
        };
        let mutations = spec["mutations"].as_array().into_iter().flatten().map(mutation).collect();
        Self { common, mutations }
    }

    /// What does not compile.
    pub fn check(&self, policy: &Json, old: Option<&Json>, errors: &mut ErrorList) {
        self.common.check(policy, old, errors);
        let path = Path::new("spec.mutations");
        for (i, mutation) in self.mutations.iter().enumerate() {
            let path = path.index(i);
            match mutation {
                Mutation::Apply(compiled) => compiled.check(&path.child("applyConfiguration.expression"), errors),
                Mutation::Patch(compiled) => compiled.check(&path.child("jsonPatch.expression"), errors),
            }
        }
    }
}

impl Mutation {
    /// The object changed, in the version the policy matched.
    fn apply(&self, common: &Common, input: &Input, asker: &Asker<'_>, matched: &Resource) -> Result<Json, String> {
        let (Self::Apply(compiled) | Self::Patch(compiled)) = self;
        if let Err(why) = &compiled.program {
            return Err(why.clone());
        }
        let scope = Scope::new(input, Some(asker), &common.variables);
        let mut budget = RUNTIME_BUDGET;
        let value = scope.run(compiled, &mut budget)??;
        let mut changed = match self {
            Self::Apply(_) => {
                let configuration = configuration(&value)?;
                let applied = overlay(&input.object, &configuration, matched.schema());
                applied.map_err(|why| format!("error applying patch: {why}"))?
            }
            Self::Patch(_) => json_patch(&input.object, &operations(&value)?)?,
        };
        matched.kind().set_defaults(matched.version(), &mut changed);
        Ok(changed)
    }
}

/// A `test` that fails leaves the object as it was.
fn json_patch(object: &Json, operations: &Json) -> Result<Json, String> {
    let list = operations.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut current = object.clone();
    for operation in list {
        match patch::json::apply(current, &json!([operation]), false) {
            Ok(changed) => current = changed,
            Err(_) if operation["op"] == "test" => return Ok(object.clone()),
            Err(error) => return Err(format!("JSON Patch: {}", error.message)),
        }
    }
    Ok(current)
}

impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    fn handles(&self, attributes: &Attributes) -> bool {
        matches!(attributes.operation, Operation::Create | Operation::Update) && !is_exempt(attributes)
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let policies = self.0.all(server, POLICIES, Mutations::compile);
            if policies.is_empty() {
                return Ok(());
            }
            let (before, second) = (a.object.clone(), a.reinvocation.second);
            // In the second round, those that ask for it see what the others made of the object.
            let takes_part =
                |policy: &Policy<Mutations>| !second || policy.object["spec"]["reinvocationPolicy"] == "IfNeeded";
            run(server, a, &policies, takes_part).await?;
            a.reinvocation.wanted |= !second && a.object != before;
            Ok(())
        })
    }
}

/// One round; the first refusal speaks for all.
async fn run(
    server: &Server,
    a: &mut Attributes,
    policies: &[std::sync::Arc<Policy<Mutations>>],
    takes_part: impl Fn(&Policy<Mutations>) -> bool + Send,
) -> Result<(), StatusError> {
    let mut errors = Vec::new();
    for policy in policies.iter().filter(|policy| takes_part(policy)) {
        if !ignores_failures(&policy.object) {
            mutate(server, a, policy, &mut errors).await;
        } else {
            mutate(server, a, policy, &mut Vec::new()).await;
        }
    }
    let Some(first) = errors.first() else { return Ok(()) };
    let mut status = a.forbidden("admission request denied by policy");
    status.message.clone_from(first);
    if let Some(details) = status.details.as_deref_mut() {
        details["causes"] = errors.iter().map(|message| json!({ "message": message })).collect();
    }
    Err(status)
}

async fn mutate(server: &Server, a: &mut Attributes, policy: &Policy<Mutations>, errors: &mut Vec<String>) {
    let (name, object) = (&policy.name, &policy.object);
    let matched = match matching::matches(server, a, &object["spec"]["matchConstraints"]) {
        Ok(Some(matched)) => matched,
        Ok(None) => return,
        Err(why) => return errors.push(format!("policy {name:?} denied request: failed to configure policy: {why}")),
    };
    let kind = &object["spec"]["paramKind"];
    if kind.is_object() && params::find_kind(server, kind).is_none() {
        let why = params::unknown(kind);
        return errors.push(format!("policy {name:?} denied request: failed to configure policy: {why}"));
    }
    for binding in bindings(server, BINDINGS, name) {
        let by = format!("policy '{name}' with binding '{}' denied request", meta::name(&binding));
        let Some(params) = params_here(server, a, object, &binding) else { continue };
        match params {
            Ok(params) => {
                for params in params {
                    let seen = match Versioned::of(server, a, &matched).await {
                        Ok(seen) => seen,
                        Err(error) => {
                            let why = format!("failed to configure policy: {}", error.message);
                            errors.push(format!("policy {name:?} denied request: {why}"));
                            continue;
                        }
                    };
                    if let Err(why) = mutate_with(server, a, policy, &seen, meta::name(&binding), params).await {
                        errors.push(format!("{by}: {why}"));
                    }
                }
            }
            Err(why) => errors.push(format!("{by}: failed to configure binding: {why}")),
        }
    }
}

async fn mutate_with(
    server: &Server,
    a: &mut Attributes,
    policy: &Policy<Mutations>,
    seen: &Versioned,
    binding: &str,
    params: Option<Json>,
) -> Result<(), String> {
    let Some(changed) = evaluate(server, a, policy, seen, binding, params)? else { return Ok(()) };
    let held = seen.held(server, a, changed).await;
    a.object = held.map_err(|error| format!("failed to convert object: {}", error.message))?;
    Ok(())
}

/// The object changed, in the version seen; `None` where the policy's conditions keep it out.
fn evaluate(
    server: &Server,
    a: &Attributes,
    policy: &Policy<Mutations>,
    seen: &Versioned,
    binding: &str,
    params: Option<Json>,
) -> Result<Option<Json>, String> {
    let asker = Asker { server, user: &a.user };
    let common = &policy.compiled.common;
    let mut input = Input::new(a, seen, params, namespace_of(server, a));
    let (name, operation) = (policy.name.clone(), input.operation);
    let whose = ConditionLabels { name, kind: "policy", r#type: "validate", operation };
    if !common.conditions.hold(&input, &asker, ignores_failures(&policy.object), &whose)? {
        return Ok(None);
    }
    for mutation in &policy.compiled.mutations {
        let began = Instant::now();
        let changed = mutation.apply(common, &input, &asker, &seen.resource);
        let error = changed.as_ref().err().map(String::as_str);
        METRICS.mutating([&policy.name, binding], error, began.elapsed());
        input.object = changed?;
    }
    Ok(Some(input.object))
}
