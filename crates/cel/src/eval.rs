//! Evaluation: walks the plan, counts what it costs, and stops where the limit is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cost::runtime;
use crate::decls::{Function, Invocation, Overload};
use crate::library::standard;
use crate::plan::{Attribute, CallNode, Fold, Node, Program, Root, Step, StepKey};
use crate::stack;
use crate::value::map::Variables;
use crate::value::{Error, Key, List, Map, Object, Result, Value, fail, no_overload};

/// What an evaluation gave and what it took.
pub struct Outcome<'a> {
    pub value: Result<Value<'a>>,
    pub cost: u64,
}

const SELECT_COST: u64 = 1;
const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;
const OBJECT_COST: u64 = 40;

impl Program {
    /// Evaluates over `variables`, spending at most `limit`.
    pub fn eval<'a>(&'a self, variables: &dyn Variables<'a>, limit: u64) -> Outcome<'a> {
        let mut machine = Machine {
            program: self,
            variables,
            known: vec![None; self.variables.len()],
            slots: vec![None; self.slots],
            cost: 0,
            limit,
        };
        let value = machine.eval(&self.root);
        Outcome { value, cost: machine.cost }
    }
}

struct Machine<'a, 'v> {
    program: &'a Program,
    variables: &'v dyn Variables<'a>,
    /// Variables already asked for.
    known: Vec<Option<Result<Value<'a>>>>,
    /// Variables of folds; a state that is `None` has not been needed yet.
    slots: Vec<Option<Result<Value<'a>>>>,
    cost: u64,
    limit: u64,
}

impl<'a> Machine<'a, '_> {
    fn spend(&mut self, cost: u64) -> Result<()> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(Error::CostLimit) } else { Ok(()) }
    }

    fn eval(&mut self, node: &'a Node) -> Result<Value<'a>> {
        match node {
            Node::Const(value) => Ok(value.clone()),
            node => stack::deeper(|| self.eval_here(node)),
        }
    }

    fn eval_here(&mut self, node: &'a Node) -> Result<Value<'a>> {
        match node {
            Node::Const(value) => Ok(value.clone()),
            Node::Attribute(attribute) => self.attribute(attribute),
            Node::Call(call) => self.call(call),
            Node::And(sides) => self.logical(sides, false),
            Node::Or(sides) => self.logical(sides, true),
            Node::Equal { sides, negate } => self.equal(sides, *negate),
            Node::NotStrictlyFalse(inner) => self.not_strictly_false(inner),
            Node::InSet(value, set) => {
                let value = self.eval(value)?;
                Ok(Value::Bool(Key::of(&value).is_some_and(|key| set.contains(&key))))
            }
            Node::OptionalOr { sides, unwrap } => self.optional_or(sides, *unwrap),
            Node::List(elements) => self.made(LIST_COST, |machine| machine.list(elements)),
            Node::Map(entries) => self.made(MAP_COST, |machine| machine.map(entries)),
            Node::Object(name, fields) => self.made(OBJECT_COST, |machine| machine.object(name, fields)),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    /// `&&` and `||`: one side that decides makes the other's error not matter.
    fn logical(&mut self, sides: &'a [Node; 2], decides: bool) -> Result<Value<'a>> {
        let mut error = None;
        for side in sides {
            match self.eval(side) {
                Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => error = error.or_else(|| no_overload::<()>().err()),
                Err(Error::CostLimit) => return Err(Error::CostLimit),
                Err(found) => error = error.or(Some(found)),
            }
        }
        error.map_or(Ok(Value::Bool(!decides)), Err)
    }

    fn equal(&mut self, sides: &'a [Node; 2], negate: bool) -> Result<Value<'a>> {
        let (left, right) = (self.eval(&sides[0]), self.eval(&sides[1]));
        let (left, right) = match (left, right) {
            (Ok(left), Ok(right)) => (left, right),
            (Err(Error::CostLimit), _) | (_, Err(Error::CostLimit)) => return Err(Error::CostLimit),
            (Err(error), _) | (_, Err(error)) => {
                self.spend(1)?;
                return Err(error);
            }
        };
        self.spend(runtime::equality(&left, &right, negate))?;
        Ok(Value::Bool(left.equals(&right) != negate))
    }

    fn not_strictly_false(&mut self, inner: &'a Node) -> Result<Value<'a>> {
        let value = match self.eval(inner) {
            Err(Error::CostLimit) => return Err(Error::CostLimit),
            Ok(Value::Bool(value)) => value,
            _ => true,
        };
        self.spend(1)?;
        Ok(Value::Bool(value))
    }

    fn optional_or(&mut self, sides: &'a [Node; 2], unwrap: bool) -> Result<Value<'a>> {
        match self.eval(&sides[0])? {
            Value::Optional(Some(value)) if unwrap => Ok((*value).clone()),
            Value::Optional(Some(value)) => Ok(Value::Optional(Some(value))),
            Value::Optional(None) => self.eval(&sides[1]),
            _ => no_overload(),
        }
    }

    fn call(&mut self, call: &'a CallNode) -> Result<Value<'a>> {
        if let Some(slot) = call.state {
            return self.grow(call, slot);
        }
        let args = self.arguments(call)?;
        let result = dispatch(call, &args).and_then(|overload| match overload.op {
            Some(op) => op(&Invocation { overload: overload.id, regex: call.regex.as_ref() }, &args),
            None => fail(format!("no such overload: {}", call.function.name)),
        });
        if let Err(Error::CostLimit) = result {
            return result;
        }
        self.pay(call, &args, result.as_ref().ok())?;
        result
    }

    /// Once all arguments are looked at the call is paid for, whether they have values or not. Of two both
    /// are looked at; of more, or where the overload is still to be found, none after the first error.
    fn arguments(&mut self, call: &'a CallNode) -> Result<Vec<Value<'a>>> {
        let eager = call.args.len() <= 2 && (call.overloads.len() == 1 || is_generic(call.function));
        let mut args = Vec::with_capacity(call.args.len());
        let mut error = None;
        for arg in &call.args {
            match self.eval(arg) {
                Ok(value) => args.push(value),
                Err(Error::CostLimit) => return Err(Error::CostLimit),
                Err(found) => {
                    error = error.or(Some(found));
                    args.push(Value::Null);
                    if !eager {
                        break;
                    }
                }
            }
        }
        let Some(error) = error else { return Ok(args) };
        if args.len() == call.args.len() {
            self.pay(call, &args, None)?;
        }
        Err(error)
    }

    /// An operator that several overloads fit is known by none of their names, and costs accordingly.
    fn pay(&mut self, call: &CallNode, args: &[Value<'a>], result: Option<&Value<'a>>) -> Result<()> {
        let id = if call.overloads.len() == 1 { call.overloads[0].id } else { "" };
        self.spend(runtime::call(call.function.name, id, args, result))
    }

    /// A step of `map` or `transformMap`: the state is taken, changed and given back, not copied.
    fn grow(&mut self, call: &'a CallNode, slot: usize) -> Result<Value<'a>> {
        self.state(&call.args[0])?;
        let mut more = Vec::with_capacity(call.args.len() - 1);
        for arg in &call.args[1..] {
            more.push(self.eval(arg)?);
        }
        self.spend(1)?;
        let Some(Ok(state)) = self.slots[slot].take() else { return fail("a fold has no state") };
        match (&state, more.as_slice()) {
            (Value::List(_), [list]) => standard::append(state, list),
            (Value::Map(_), entry) => standard::insert(state, entry),
            (_, [other]) => standard::add(&state, other),
            _ => no_overload(),
        }
    }

    /// Makes sure a fold's state is there, at the price of reading it.
    fn state(&mut self, node: &'a Node) -> Result<()> {
        self.eval(node).map(|_| ())
    }

    /// Paid for even where a part has no value.
    fn made(&mut self, cost: u64, make: impl FnOnce(&mut Self) -> Result<Value<'a>>) -> Result<Value<'a>> {
        let value = make(self);
        if !matches!(value, Err(Error::CostLimit)) {
            self.spend(cost)?;
        }
        value
    }

    fn list(&mut self, elements: &'a [(Node, bool)]) -> Result<Value<'a>> {
        let mut values = Vec::with_capacity(elements.len());
        for (node, optional) in elements {
            match (self.eval(node)?, *optional) {
                (Value::Optional(value), true) => values.extend(value.map(|value| (*value).clone())),
                (value, true) => {
                    return fail(format!("cannot initialize optional list element from non-optional value {value}"));
                }
                (value, false) => values.push(value),
            }
        }
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &'a [(Node, Node, bool)]) -> Result<Value<'a>> {
        let mut values = BTreeMap::new();
        for (key, value, optional) in entries {
            let (key, value) = (self.eval(key)?, self.eval(value)?);
            let Some(place) = Key::of(&key) else { return fail(format!("unsupported key type: {}", key.type_name())) };
            if let Some(value) = given(value, *optional, &key)? {
                values.insert(place, value);
            } else {
                values.remove(&place);
            }
        }
        Ok(Value::Map(Map::Entries(Arc::new(values))))
    }

    fn object(&mut self, name: &'a Arc<str>, fields: &'a [(Arc<str>, Node, bool)]) -> Result<Value<'a>> {
        let mut values = Vec::with_capacity(fields.len());
        for (field, node, optional) in fields {
            let value = self.eval(node)?;
            if let Some(value) = given(value, *optional, &Value::string(&**field))? {
                values.push((field.clone(), value));
            }
        }
        match self.program.types.iter().find(|types| types.has(name)) {
            Some(types) => types.check_object(name, &values)?,
            None => return fail(format!("unknown type: {name}")),
        }
        Ok(Value::Object(Arc::new(Object { type_name: name.clone(), fields: values })))
    }

    fn fold(&mut self, fold: &'a Fold) -> Result<Value<'a>> {
        let range = self.eval(&fold.range)?;
        self.slots[fold.accu] = None;
        match (&range, fold.var2) {
            (Value::List(list), None) => self.fold_list(fold, list, List::get)?,
            (Value::List(list), Some(var2)) => self.fold_indexed(fold, var2, list)?,
            (Value::Map(map), None) => {
                let keys = List::Items(Arc::new(map.keys()));
                self.fold_list(fold, &keys, List::get)?;
            }
            (Value::Map(map), Some(var2)) => {
                for (key, value) in map.entries()? {
                    self.slots[fold.var] = Some(Ok(key));
                    self.slots[var2] = Some(Ok(value));
                    if !self.fold_step(fold)? {
                        break;
                    }
                }
            }
            (other, None) => return fail(format!("got '{}', expected iterable type", other.type_name())),
            (other, _) => return fail(format!("unsupported comprehension range type: {}", other.type_name())),
        }
        // The result may read a state that no step has touched.
        self.ensure_state(fold)?;
        let result = self.eval(&fold.result);
        self.slots[fold.accu] = None;
        result
    }

    fn fold_list(
        &mut self,
        fold: &'a Fold,
        list: &List<'a>,
        item: fn(&List<'a>, usize) -> Result<Value<'a>>,
    ) -> Result<()> {
        for at in 0..list.len() {
            self.slots[fold.var] = Some(item(list, at));
            if !self.fold_step(fold)? {
                break;
            }
        }
        Ok(())
    }

    fn fold_indexed(&mut self, fold: &'a Fold, var2: usize, list: &List<'a>) -> Result<()> {
        for at in 0..list.len() {
            self.slots[fold.var] = Some(Ok(Value::Int(at as i64)));
            self.slots[var2] = Some(list.get(at));
            if !self.fold_step(fold)? {
                break;
            }
        }
        Ok(())
    }

    /// One round; false ends the fold. An error becomes the state: a later round may make it not matter.
    fn fold_step(&mut self, fold: &'a Fold) -> Result<bool> {
        self.ensure_state(fold)?;
        match self.eval(&fold.condition) {
            Ok(Value::Bool(false)) => return Ok(false),
            Err(Error::CostLimit) => return Err(Error::CostLimit),
            _ => {}
        }
        let state = self.eval(&fold.step);
        if let Err(Error::CostLimit) = state {
            return Err(Error::CostLimit);
        }
        self.slots[fold.accu] = Some(state);
        Ok(true)
    }

    fn ensure_state(&mut self, fold: &'a Fold) -> Result<()> {
        if self.slots[fold.accu].is_none() {
            let state = self.eval(&fold.init);
            if let Err(Error::CostLimit) = state {
                return Err(Error::CostLimit);
            }
            self.slots[fold.accu] = Some(state);
        }
        Ok(())
    }

    // Attributes.

    fn attribute(&mut self, attribute: &'a Attribute) -> Result<Value<'a>> {
        let value = self.resolve(attribute);
        if let Err(Error::CostLimit) = value {
            return value;
        }
        // A test costs only its steps, a conditional only its branches.
        if !attribute.test_only && !matches!(attribute.root, Root::Conditional(_)) {
            self.spend(SELECT_COST + attribute.selected)?;
        }
        value
    }

    /// The value without the price of the attribute itself: what a branch or a key pays.
    fn resolve(&mut self, attribute: &'a Attribute) -> Result<Value<'a>> {
        let root = match &attribute.root {
            Root::Variable(index) => self.variable(*index)?,
            Root::Slot(slot) => match &self.slots[*slot] {
                Some(value) => value.clone()?,
                None => return fail("a variable of a fold is read outside of it"),
            },
            Root::Node(node) => self.eval(node)?,
            Root::Conditional(parts) => match self.eval(&parts.0)? {
                Value::Bool(true) => self.resolve(&parts.1)?,
                Value::Bool(false) => self.resolve(&parts.2)?,
                _ => return no_overload(),
            },
        };
        self.walk(root, attribute)
    }

    fn variable(&mut self, index: usize) -> Result<Value<'a>> {
        if let Some(known) = &self.known[index] {
            return known.clone();
        }
        let name = &self.program.variables[index];
        let value = match self.variables.get(name) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => fail(format!("no such attribute(s): {name}")),
            Err(error) => Err(error),
        };
        self.known[index] = Some(value.clone());
        value
    }

    fn walk(&mut self, root: Value<'a>, attribute: &'a Attribute) -> Result<Value<'a>> {
        if attribute.path.is_empty() {
            return Ok(root);
        }
        let (mut value, mut optional) = match root {
            Value::Optional(None) if attribute.test_only => return Ok(Value::Bool(false)),
            Value::Optional(None) => return Ok(Value::NONE),
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            value => (value, false),
        };
        let last = attribute.path.len() - 1;
        for (at, step) in attribute.path.iter().enumerate() {
            optional |= step.optional;
            let test = attribute.test_only && at == last;
            let found = self.step(&value, step, optional || test);
            if let (Err(Error::Failed(_)), false) = (&found, optional) {
                self.spend(SELECT_COST)?;
            }
            let found = found?;
            // Looking for what may be absent is free where it is.
            if found.is_some() || test {
                self.spend(SELECT_COST)?;
            }
            match found {
                Some(_) if test => return Ok(Value::Bool(true)),
                Some(found) => value = found,
                None if attribute.test_only => return Ok(Value::Bool(false)),
                None => return Ok(Value::NONE),
            }
        }
        Ok(if optional { Value::some(value) } else { value })
    }

    fn step(&mut self, value: &Value<'a>, step: &'a Step, may_miss: bool) -> Result<Option<Value<'a>>> {
        let key = match &step.key {
            StepKey::Const(key) => key.clone(),
            StepKey::Attribute(attribute) => self.resolve(attribute)?,
            StepKey::Node(node) => self.eval(node)?,
        };
        qualify(value, &key, may_miss)
    }
}

fn qualify<'a>(value: &Value<'a>, key: &Value<'a>, may_miss: bool) -> Result<Option<Value<'a>>> {
    let found = match value {
        Value::Map(map) => map.find(key)?,
        Value::List(list) => {
            let at = list_index(key)?;
            match usize::try_from(at).ok().filter(|at| *at < list.len()) {
                Some(at) => Some(list.get(at)?),
                None if may_miss => None,
                None => return fail(format!("index out of bounds: {key}")),
            }
        }
        Value::Object(object) => match key {
            Value::String(name) => {
                object.fields.iter().find(|(field, _)| **field == **name).map(|(_, value)| value.clone())
            }
            _ => None,
        },
        _ => None,
    };
    if found.is_none() && !may_miss {
        return fail(format!("no such key: {key}"));
    }
    Ok(found)
}

fn list_index(key: &Value<'_>) -> Result<i64> {
    match key {
        Value::Int(index) => Ok(*index),
        Value::Uint(index) => Ok(i64::try_from(*index).unwrap_or(i64::MAX)),
        Value::Double(index) if index.fract() == 0.0 => Ok(*index as i64),
        Value::Double(_) => fail(format!("unsupported index value {key} in list")),
        _ => fail(format!("unsupported index type '{}' in list", key.type_name())),
    }
}

/// An optional entry's value if it has one.
fn given<'a>(value: Value<'a>, optional: bool, key: &Value<'a>) -> Result<Option<Value<'a>>> {
    match (value, optional) {
        (Value::Optional(value), true) => Ok(value.map(|value| (*value).clone())),
        (value, true) => fail(format!("cannot initialize optional entry '{key}' from non-optional value {value}")),
        (value, false) => Ok(Some(value)),
    }
}

/// Whether one piece of code serves all overloads and looks at the values itself.
fn is_generic(function: &Function) -> bool {
    let named = ["@in", "size", "type", "dyn", "matches", "contains", "startsWith", "endsWith", "flatten"];
    function.name.contains('_') || named.contains(&function.name)
}

/// The overload whose parameters the arguments fit. Operators look at the values themselves.
fn dispatch(call: &CallNode, args: &[Value<'_>]) -> Result<&'static Overload> {
    let function = call.function;
    let one = match call.overloads.as_slice() {
        [one] => Some(*one),
        _ => None,
    };
    if is_generic(function)
        && let Some(first) = one.or_else(|| call.overloads.first().copied())
    {
        return Ok(first);
    }
    let found = match one {
        Some(one) => Some(one).filter(|one| crate::dispatch::fits_all(&one.args, args)),
        None => function.overloads.iter().find(|overload| crate::dispatch::fits_all(&overload.args, args)),
    };
    found.map_or_else(
        || {
            let types: Vec<&str> = args.iter().map(Value::type_name).collect();
            fail(format!("no such overload: {}({})", function.name, types.join(", ")))
        },
        Ok,
    )
}
