//! An object against the rules of its schema, within a budget.
//!
//! Rules that do not look at the old value are not held against what an update leaves as it was (KEP 4008): what they
//! would say becomes a warning.

use orlop_api::Value as Json;
use orlop_api::custom::{Checked, Rules};
use orlop_api::field::{Error, ErrorList, ErrorType, Path};
use orlop_cel::cost::{PER_CALL_LIMIT, RUNTIME_BUDGET};
use orlop_cel::decl::DeclType;
use orlop_cel::value::{Error as CelError, Result as CelResult, Value, Variables};

use super::compile::{Ready, Rule};
use super::tree::Node;

/// Of an evaluated message.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Rules for Node {
    fn check(&self, obj: &Json, old: Option<&Json>) -> Checked {
        Walk::over(self, obj, old).found
    }
}

#[derive(Default)]
struct Walk {
    found: Checked,
    budget: u64,
}

/// The budget is spent, or evaluation broke: no more rules are run.
struct Over;

/// A value with its counterpart before the update.
#[derive(Clone, Copy)]
struct Pair<'a> {
    new: &'a Json,
    /// Of transition rules.
    old: Option<&'a Json>,
    unchanged: Unchanged<'a>,
}

/// Whether a value is as it was before; asked only where a rule fails.
#[derive(Clone, Copy)]
enum Unchanged<'a> {
    /// There is nothing to compare with.
    No,
    If(&'a Json, &'a Json),
    /// Like the nearest value around that has a counterpart.
    Around(&'a Json, &'a Json),
}

impl Unchanged<'_> {
    fn holds(self) -> bool {
        match self {
            Self::No => false,
            Self::If(new, old) | Self::Around(new, old) => new == old,
        }
    }
}

impl<'a> Pair<'a> {
    fn root(new: &'a Json, old: Option<&'a Json>) -> Self {
        Self { new, old, unchanged: old.map_or(Unchanged::No, |old| Unchanged::If(new, old)) }
    }

    /// A part of this value, whose counterpart is `old`.
    fn part(self, new: &'a Json, old: Option<&'a Json>) -> Self {
        let unchanged = match (self.unchanged, old) {
            (Unchanged::If(..), Some(old)) => Unchanged::If(new, old),
            (Unchanged::If(around, old), None) => Unchanged::Around(around, old),
            (other, _) => other,
        };
        Self { new, old, unchanged }
    }
}

impl Walk {
    fn over(root: &Node, obj: &Json, old: Option<&Json>) -> Self {
        let mut walk = Self { budget: RUNTIME_BUDGET, ..Self::default() };
        let _ = walk.node(root, Pair::root(obj, old), &Path::default(), true);
        walk
    }

    fn node(&mut self, node: &Node, pair: Pair<'_>, path: &Path<'_>, root: bool) -> Result<(), Over> {
        // Rules about null stand in the schema around.
        if pair.new.is_null() {
            return Ok(());
        }
        self.rules(node, pair, path)?;
        match pair.new {
            Json::Array(items) => {
                let Some(of_items) = &node.items else { return Ok(()) };
                for (i, item) in items.iter().enumerate() {
                    let old = counterpart(item, pair.old, &node.item_keys);
                    self.node(of_items, pair.part(item, old), &path.index(i), false)?;
                }
            }
            Json::Object(fields) => {
                for (name, value) in fields {
                    // Both are converted to one version before: a change of these cannot be seen.
                    let hidden = root && matches!(name.as_str(), "apiVersion" | "kind");
                    let old = pair.old.and_then(|old| old.get(name));
                    let mut part = pair.part(value, old);
                    if hidden {
                        part.unchanged = Unchanged::No;
                    }
                    if let Some(entries) = &node.entries {
                        self.node(entries, part, &path.key(name), false)?;
                    }
                    if let Some(property) = node.properties.get(name) {
                        self.node(property, part, &path.child(name), false)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rules(&mut self, node: &Node, pair: Pair<'_>, path: &Path<'_>) -> Result<(), Over> {
        if self.budget == 0 && !node.rules.is_empty() {
            self.found.errors.invalid(path, node.ty.as_str(), OUT_OF_BUDGET);
            return Err(Over);
        }
        for rule in &node.rules {
            let ready = match &rule.program {
                Ok(ready) => ready,
                Err(why) => {
                    self.found.errors.invalid(path, node.ty.as_str(), format!("rule compile error: {why}"));
                    continue;
                }
            };
            // Transition rules need something to compare with.
            if rule.uses_old && pair.old.is_none() && !rule.optional_old {
                continue;
            }
            if !self.holds(rule, ready, node, pair, path)? {
                self.failed(rule, node, pair, path)?;
            }
        }
        Ok(())
    }

    fn holds(
        &mut self,
        rule: &Rule,
        ready: &Ready,
        node: &Node,
        pair: Pair<'_>,
        path: &Path<'_>,
    ) -> Result<bool, Over> {
        let scope = Scope { pair, decl: &node.decl, optional_old: rule.optional_old };
        let outcome = ready.program.eval(&scope, PER_CALL_LIMIT);
        let mut wrong = |detail: String| self.found.errors.invalid(path, node.ty.as_str(), detail);
        let Some(left) = self.budget.checked_sub(outcome.cost) else {
            wrong(OUT_OF_BUDGET.to_owned());
            return Err(Over);
        };
        self.budget = left;
        match outcome.value {
            Ok(value) => return Ok(value.as_bool() == Some(true)),
            Err(error @ CelError::CostLimit) => {
                let why = "no further validation rules will be run due to call cost exceeds limit for rule";
                wrong(format!("'{error}': {why}: {}", rule.name()));
                return Err(Over);
            }
            Err(error) if error.to_string().starts_with("no such overload") => {
                let why = "call arguments did not match a supported operator, function or macro signature for rule";
                wrong(format!("'{error}': {why}: {}", rule.name()));
            }
            Err(error) => wrong(format!("{error} evaluating rule: {}", rule.name())),
        }
        // Said already.
        Ok(true)
    }

    fn failed(&mut self, rule: &Rule, node: &Node, pair: Pair<'_>, path: &Path<'_>) -> Result<(), Over> {
        let place = rule.field_path.as_deref().map(|field| path.child(field));
        let path = place.as_ref().unwrap_or(path);
        let detail = match self.message(rule, node, pair) {
            Ok(Some(message)) => message,
            Ok(None) if rule.message.is_empty() => format!("failed rule: {}", rule.name()),
            Ok(None) => rule.message.trim().to_owned(),
            Err(why) => {
                let mut only = ErrorList::default();
                only.invalid(path, node.ty.as_str(), why);
                self.add(rule, pair, only);
                return Err(Over);
            }
        };
        let value = Some(pair.new.clone()).filter(|_| !matches!(node.ty.as_str(), "object" | "array"));
        let error = |kind, value, detail| Error { kind, field: path.to_string(), value, detail };
        let error = match rule.reason.as_deref() {
            Some("FieldValueForbidden") => error(ErrorType::Forbidden, None, detail),
            Some("FieldValueRequired") => error(ErrorType::Required, None, detail),
            Some("FieldValueDuplicate") => error(ErrorType::Duplicate, value, String::new()),
            _ => error(ErrorType::Invalid, value, detail),
        };
        self.add(rule, pair, ErrorList(vec![error]));
        Ok(())
    }

    fn add(&mut self, rule: &Rule, pair: Pair<'_>, errors: ErrorList) {
        if !rule.uses_old && pair.unchanged.holds() {
            self.found.ratcheted.extend(errors.0.iter().map(ToString::to_string));
        } else {
            self.found.errors.extend(errors);
        }
    }

    /// What the rule's expression says; nothing where it has none that works. An error ends everything.
    fn message(&mut self, rule: &Rule, node: &Node, pair: Pair<'_>) -> Result<Option<String>, String> {
        let Some(Ok(ready)) = &rule.message_program else { return Ok(None) };
        let scope = Scope { pair, decl: &node.decl, optional_old: rule.optional_old };
        let outcome = ready.program.eval(&scope, PER_CALL_LIMIT);
        let spent = "messageExpression evaluation failed due to running out of cost budget, no further validation rules \
                     will be run";
        self.budget = self.budget.checked_sub(outcome.cost).ok_or(spent)?;
        let value = match outcome.value {
            Err(CelError::CostLimit) => {
                let why =
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression";
                return Err(format!("{why}: {}", orlop_api::quote::quote(&rule.message_expression)));
            }
            value => value.ok(),
        };
        let text = value.as_ref().and_then(Value::as_str).map(str::trim).unwrap_or_default();
        let usable = !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n');
        Ok(usable.then(|| text.to_owned()))
    }
}

/// The old item that this one is, by its list's keys; lists without keys do not know their items again.
fn counterpart<'a>(item: &Json, old: Option<&'a Json>, keys: &[String]) -> Option<&'a Json> {
    if keys.is_empty() {
        return None;
    }
    old?.as_array()?.iter().find(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
}

/// `self` and `oldSelf`.
struct Scope<'a> {
    pair: Pair<'a>,
    decl: &'a DeclType,
    optional_old: bool,
}

impl<'a> Variables<'a> for Scope<'a> {
    fn get(&self, name: &str) -> CelResult<Option<Value<'a>>> {
        let old = || self.pair.old.map(|old| Value::read(old, Some(self.decl))).transpose();
        match name {
            "self" => Value::read(self.pair.new, Some(self.decl)).map(Some),
            "oldSelf" if self.optional_old => Ok(Some(old()?.map_or(Value::Optional(None), Value::some))),
            "oldSelf" => old(),
            _ => Ok(None),
        }
    }
}
