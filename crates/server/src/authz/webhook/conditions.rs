//! `matchConditions` of a webhook: expressions over the review it would be asked (KEP-3221).

use std::collections::BTreeSet;
use std::sync::Arc;

use orlop_api::field::{ErrorList, Path};
use orlop_api::{Map, Value as Json};
use orlop_cel::cost::PER_CALL_LIMIT;
use orlop_cel::env::{Env, Types};
use orlop_cel::plan::Program;
use orlop_cel::types::Type;
use orlop_cel::value::{Result as CelResult, Value, Variables};
use serde_json::json;

use super::super::rbac::aggregate;

const SPEC: &str = "kubernetes.SubjectAccessReviewSpec";
const MAX_CONDITIONS: usize = 64;

const FIELDS: [(&str, &str, &str); 24] = [
    (SPEC, "resourceAttributes", "kubernetes.ResourceAttributes"),
    (SPEC, "nonResourceAttributes", "kubernetes.NonResourceAttributes"),
    (SPEC, "user", "string"),
    (SPEC, "groups", "list(string)"),
    (SPEC, "extra", "map(string, list(string))"),
    (SPEC, "uid", "string"),
    ("kubernetes.ResourceAttributes", "namespace", "string"),
    ("kubernetes.ResourceAttributes", "verb", "string"),
    ("kubernetes.ResourceAttributes", "group", "string"),
    ("kubernetes.ResourceAttributes", "version", "string"),
    ("kubernetes.ResourceAttributes", "resource", "string"),
    ("kubernetes.ResourceAttributes", "subresource", "string"),
    ("kubernetes.ResourceAttributes", "name", "string"),
    ("kubernetes.ResourceAttributes", "fieldSelector", "kubernetes.FieldSelectorAttributes"),
    ("kubernetes.ResourceAttributes", "labelSelector", "kubernetes.LabelSelectorAttributes"),
    ("kubernetes.FieldSelectorAttributes", "rawSelector", "string"),
    ("kubernetes.FieldSelectorAttributes", "requirements", "list(kubernetes.SelectorRequirement)"),
    ("kubernetes.LabelSelectorAttributes", "rawSelector", "string"),
    ("kubernetes.LabelSelectorAttributes", "requirements", "list(kubernetes.SelectorRequirement)"),
    ("kubernetes.SelectorRequirement", "key", "string"),
    ("kubernetes.SelectorRequirement", "operator", "string"),
    ("kubernetes.SelectorRequirement", "values", "list(string)"),
    ("kubernetes.NonResourceAttributes", "path", "string"),
    ("kubernetes.NonResourceAttributes", "verb", "string"),
];

struct Declared;

impl Types for Declared {
    fn has(&self, name: &str) -> bool {
        FIELDS.iter().any(|(object, ..)| *object == name)
    }

    fn field(&self, object: &str, field: &str) -> Option<Type> {
        FIELDS.iter().find(|(o, f, _)| *o == object && *f == field).map(|(.., t)| Type::parse(t))
    }
}

/// Compiled; none of them: everything matches.
#[derive(Default)]
pub struct Conditions(Vec<(String, Program)>);

impl Conditions {
    /// What cannot be compiled is reported under `path` and left out.
    pub fn compile(expressions: &[String], path: &Path<'_>, errors: &mut ErrorList) -> Self {
        if expressions.len() > MAX_CONDITIONS {
            errors.too_many(path, expressions.len(), MAX_CONDITIONS);
            return Self::default();
        }
        let env = Env::new().with_types(Arc::new(Declared)).with_variable("request", Type::object(SPEC));
        let (mut seen, mut compiled) = (BTreeSet::new(), Vec::new());
        for (i, expression) in expressions.iter().enumerate() {
            let item = path.index(i);
            let path = item.child("expression");
            if expression.trim().is_empty() {
                errors.required(&path, "");
            } else if !seen.insert(expression) {
                errors.duplicate(&path, expression.as_str());
            } else {
                match compile(&env, expression) {
                    Ok(program) => compiled.push((expression.clone(), program)),
                    Err(why) => errors.invalid(&path, expression.as_str(), why),
                }
            }
        }
        Self(compiled)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold for a review's spec. An error counts only if none is false.
    pub fn hold(&self, spec: &Json) -> Result<bool, String> {
        let request = full(spec);
        let mut errors = Vec::new();
        for (expression, program) in &self.0 {
            match program.eval(&Scope(&request), PER_CALL_LIMIT).value {
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(error) => {
                    errors.push(format!("cel evaluation error: expression '{expression}' resulted in error: {error}"));
                }
            }
        }
        if errors.is_empty() { Ok(true) } else { Err(aggregate(&errors)) }
    }
}

fn compile(env: &Env, expression: &str) -> Result<Program, String> {
    let checked = env.compile(expression).map_err(|issues| format!("compilation failed: {issues}"))?;
    if *checked.result_type() != Type::Bool {
        return Err(format!("must evaluate to bool but got {}", checked.result_type().describe()));
    }
    Program::new(&checked, env.types()).map_err(|error| format!("program instantiation failed: {error}"))
}

/// Expressions see empty texts where the review leaves them out.
fn full(spec: &Json) -> Json {
    let text = |object: &Json, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let or = |value: &Json, empty: Json| if value.is_null() { empty } else { value.clone() };
    let mut seen = json!({
        "user": text(spec, "user"), "uid": text(spec, "uid"),
        "groups": or(&spec["groups"], json!([])), "extra": or(&spec["extra"], json!({})),
    });
    let resource = &spec["resourceAttributes"];
    if resource.is_object() {
        let fields = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
        let mut all: Map<String, Json> =
            fields.iter().map(|field| ((*field).to_owned(), text(resource, field).into())).collect();
        for selector in ["fieldSelector", "labelSelector"] {
            if resource[selector].is_object() {
                all.insert(selector.into(), resource[selector].clone());
            }
        }
        seen["resourceAttributes"] = Json::Object(all);
    }
    let path = &spec["nonResourceAttributes"];
    if path.is_object() {
        seen["nonResourceAttributes"] = json!({ "verb": text(path, "verb"), "path": text(path, "path") });
    }
    seen
}

struct Scope<'a>(&'a Json);

impl<'a> Variables<'a> for Scope<'a> {
    fn get(&self, name: &str) -> CelResult<Option<Value<'a>>> {
        Ok((name == "request").then(|| Value::of(self.0)))
    }
}
