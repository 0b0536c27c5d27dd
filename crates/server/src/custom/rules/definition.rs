//! The rules that a definition brings: they compile, and cannot cost too much
//! (`apiextensions-apiserver/pkg/apis/apiextensions/validation`).

use std::sync::Arc;

use orlop_api::Value as Json;
use orlop_api::field::{ErrorList, ErrorType, Path};
use orlop_cel::cost::{STATIC_ESTIMATED_CRD_LIMIT, STATIC_ESTIMATED_LIMIT};
use orlop_cel::decl::DeclType;

use super::compile::Rule;
use super::field_path;

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
/// Bytes of the largest request: bounds how often a value can stand in an object.
const MAX_REQUEST_BYTES: u64 = 3 * 1024 * 1024;
/// Of the rules named when all together cost too much.
const MOST_EXPENSIVE: usize = 4;

/// Rules of all versions of a definition that is right otherwise; schemas that an update leaves alone are taken as
/// they are.
pub fn check(definition: &Json, old: Option<&Json>) -> ErrorList {
    let mut errors = ErrorList::default();
    let path = Path::new("spec.versions");
    let versions = |of: &Json| of["spec"]["versions"].as_array().cloned().unwrap_or_default();
    let before = old.map(versions).unwrap_or_default();
    for (i, version) in versions(definition).iter().enumerate() {
        let schema = &version["schema"]["openAPIV3Schema"];
        let known = before.iter().any(|b| b["name"] == version["name"] && b["schema"]["openAPIV3Schema"] == *schema);
        if !known && schema.is_object() {
            version_errors(schema, &path.index(i).child("schema.openAPIV3Schema"), &mut errors);
        }
    }
    errors
}

fn version_errors(schema: &Json, path: &Path<'_>, errors: &mut ErrorList) {
    let mut checker = Checker::default();
    checker.node(schema, path, &Place { decl: None, times: Some(1), root: true, uncorrelated: None });
    let Checker { written, compiled, mut costs } = checker;
    errors.extend(written);
    errors.extend(compiled);
    let total = costs.iter().fold(0_u64, |sum, (_, cost)| sum.saturating_add(*cost));
    if total > STATIC_ESTIMATED_CRD_LIMIT {
        costs.retain(|(_, cost)| *cost >= STATIC_ESTIMATED_CRD_LIMIT / 100);
        costs.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        costs.iter().take(MOST_EXPENSIVE).for_each(|(path, _)| errors.forbidden(&Path::new(path), why));
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.forbidden(path, too_expensive(what, total, STATIC_ESTIMATED_CRD_LIMIT));
    }
}

#[derive(Default)]
struct Checker {
    /// What is wrong with rules as they are written: such rules are not compiled, nor those around them.
    written: ErrorList,
    compiled: ErrorList,
    /// By the path of each expression.
    costs: Vec<(String, u64)>,
}

/// Where in the schema a node is.
struct Place<'a> {
    /// Made when a rule first needs it, here or above.
    decl: Option<Arc<DeclType>>,
    /// How often its value can stand in one object; `None` where nothing bounds that.
    times: Option<u64>,
    root: bool,
    /// The place around whose values cannot be told apart after an update.
    uncorrelated: Option<&'a str>,
}

impl Checker {
    fn node(&mut self, schema: &Json, path: &Path<'_>, place: &Place<'_>) {
        let rules = schema["x-kubernetes-validations"].as_array().map(Vec::as_slice).unwrap_or_default();
        let decl = place.decl.clone().or_else(|| {
            let root = place.root || schema["x-kubernetes-embedded-resource"] == true;
            (!rules.is_empty()).then(|| Arc::new(DeclType::from_schema(schema, root, "selfType")))
        });
        let before = self.written.0.len();
        self.below(schema, path, place, decl.as_deref());
        let path = path.child("x-kubernetes-validations");
        for (i, rule) in rules.iter().enumerate() {
            written(rule, schema, &path.index(i), &mut self.written);
        }
        if self.written.0.len() > before {
            return;
        }
        let Some(decl) = decl.filter(|_| !rules.is_empty()) else { return };
        if decl.cel.is_none() {
            let why = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to \
                       convert structural schema to CEL declarations";
            return self.compiled.internal(&path, why);
        }
        for (i, rule) in rules.iter().enumerate() {
            self.rule(rule, schema, &decl, &path.index(i), place);
        }
    }

    fn below(&mut self, schema: &Json, path: &Path<'_>, place: &Place<'_>, decl: Option<&DeclType>) {
        let own = path.to_string();
        let times = || place.times?.checked_mul(factor(schema)?).or(Some(u64::MAX));
        let under = |decl: Option<&DeclType>, uncorrelated| {
            let decl = decl.map(|decl| Arc::new(decl.clone()));
            Place { decl, times: times(), root: false, uncorrelated }
        };
        let element = decl.and_then(DeclType::element);
        if schema["additionalProperties"].is_object() {
            let place = under(element, place.uncorrelated);
            self.node(&schema["additionalProperties"], &path.child("additionalProperties"), &place);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let place = under(decl.and_then(|decl| decl.property(name)), place.uncorrelated);
            self.node(property, &path.child("properties").key(name), &place);
        }
        if schema["items"].is_object() {
            let keyed = schema["x-kubernetes-list-type"] == "map";
            let uncorrelated = place.uncorrelated.or_else(|| (!keyed).then_some(own.as_str()));
            self.node(&schema["items"], &path.child("items"), &under(element, uncorrelated));
        }
    }

    fn rule(&mut self, rule: &Json, schema: &Json, decl: &Arc<DeclType>, path: &Path<'_>, place: &Place<'_>) {
        let compiled = Rule::compile(rule, schema, decl);
        let rule_path = path.child("rule");
        let times = place.times.unwrap_or(MAX_REQUEST_BYTES / (decl.min_size + 1));
        match &compiled.program {
            Ok(ready) => self.cost(&rule_path, "estimated rule cost", ready.max_cost.saturating_mul(times)),
            Err(why) => self.compiled.shown(ErrorType::Invalid, &rule_path, &shown(rule), why),
        }
        let message_path = path.child("messageExpression");
        match &compiled.message_program {
            Some(Ok(ready)) => self.cost(&message_path, "estimated messageExpression cost", ready.max_cost),
            Some(Err(why)) => self.compiled.shown(ErrorType::Invalid, &message_path, &shown(rule), why),
            None => {}
        }
        if compiled.uses_old {
            if let Some(place) = place.uncorrelated {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {place}");
                self.compiled.invalid(&rule_path, compiled.expression, why);
            }
        } else if let Some(optional) = rule["optionalOldSelf"].as_bool() {
            let why = "may not be set if oldSelf is not used in rule";
            self.compiled.invalid(&path.child("optionalOldSelf"), optional, why);
        }
    }

    fn cost(&mut self, path: &Path<'_>, what: &str, cost: u64) {
        if cost > STATIC_ESTIMATED_LIMIT {
            self.compiled.forbidden(path, too_expensive(what, cost, STATIC_ESTIMATED_LIMIT));
        }
        self.costs.push((path.to_string(), cost));
    }
}

/// How many parts a value has of each kind; `None` where nothing bounds that.
fn factor(schema: &Json) -> Option<u64> {
    let bound = |field: &str| schema[field].as_i64().map(|bound| bound.max(0) as u64);
    match schema["type"].as_str() {
        Some("object") if schema["additionalProperties"].is_object() || schema["additionalProperties"] == true => {
            bound("maxProperties")
        }
        Some("array") => bound("maxItems"),
        _ => Some(1),
    }
}

/// A rule as upstream prints its internal type.
fn shown(rule: &Json) -> String {
    let text = |field: &str| Json::from(rule[field].as_str().unwrap_or_default());
    format!(
        r#"{{"Rule":{},"Message":{},"MessageExpression":{},"Reason":{},"FieldPath":{},"OptionalOldSelf":{}}}"#,
        text("rule"),
        text("message"),
        text("messageExpression"),
        rule["reason"],
        text("fieldPath"),
        rule["optionalOldSelf"]
    )
}

/// What can be said of a rule without compiling it.
fn written(rule: &Json, schema: &Json, path: &Path<'_>, errors: &mut ErrorList) {
    let text = |field: &str| rule[field].as_str().unwrap_or_default();
    let broken = |text: &str| text.contains(['\n', '\r']);
    let (expression, message) = (text("rule").trim(), text("message").trim());
    if expression.is_empty() {
        errors.required(&path.child("rule"), "rule is not specified");
    } else if !text("message").is_empty() && message.is_empty() {
        errors.invalid(&path.child("message"), text("message"), "must be non-empty if specified");
    } else if broken(message) {
        errors.invalid(&path.child("message"), text("message"), "must not contain line breaks");
    } else if broken(expression) && message.is_empty() {
        errors.required(&path.child("message"), "message must be specified if rule contains line breaks");
    }
    if !text("messageExpression").is_empty() && text("messageExpression").trim().is_empty() {
        errors.required(&path.child("messageExpression"), "messageExpression must be non-empty if specified");
    }
    if let Some(reason) = rule["reason"].as_str().filter(|reason| !REASONS.contains(reason)) {
        errors.not_supported(&path.child("reason"), reason, &REASONS);
    }
    let (field, path) = (text("fieldPath"), path.child("fieldPath"));
    if !field.is_empty() && field.trim().is_empty() {
        errors.invalid(&path, field, "must be non-empty if specified");
    }
    if broken(field) {
        errors.invalid(&path, field, "must not contain line breaks");
    }
    if !field.is_empty() && field_path::resolve(field, schema).is_err() {
        errors.invalid(&path, field, "must be a valid path");
    }
}

fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        much if much > 100.0 => "more than 100x".to_owned(),
        little if little < 1.5 => format!("{little:.6}x"),
        other => format!("{other:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}
