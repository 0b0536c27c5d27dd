//! The checked tree made ready to run: names resolved to places, constants computed, patterns compiled.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::Regex;

use crate::ast::operators as op;
use crate::ast::{Call, Comprehension, Expr, Kind, Literal, Select};
use crate::check::{Checked, Reference};
use crate::decls::{Function, Invocation, Overload};
use crate::env::Types;
use crate::re2;
use crate::stack;
use crate::types::Type;
use crate::value::{Error, Key, Map, Result, Text, Value, fail};

/// An expression that can be evaluated any number of times, by any number of threads.
pub struct Program {
    pub(crate) root: Node,
    /// Variables it reads.
    pub(crate) variables: Vec<Arc<str>>,
    /// Places for the variables of its folds.
    pub(crate) slots: usize,
    pub(crate) types: Vec<Arc<dyn Types>>,
}

pub(crate) enum Node {
    Const(Value<'static>),
    Attribute(Attribute),
    Call(Box<CallNode>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Equal {
        sides: Box<[Node; 2]>,
        negate: bool,
    },
    NotStrictlyFalse(Box<Node>),
    /// `x in [constants]`
    InSet(Box<Node>, BTreeSet<Key<'static>>),
    /// `a.or(b)`; `a.orValue(b)` if `unwrap`.
    OptionalOr {
        sides: Box<[Node; 2]>,
        unwrap: bool,
    },
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Object(Arc<str>, Vec<(Arc<str>, Node, bool)>),
    Fold(Box<Fold>),
}

pub(crate) struct CallNode {
    pub function: &'static Function,
    pub overloads: Vec<&'static Overload>,
    pub args: Vec<Node>,
    pub regex: Option<Regex>,
    /// The first argument is the fold's own state, and nobody else's: it may be changed in place.
    pub state: Option<usize>,
}

/// A variable or value and a path into it, resolved in one go.
pub(crate) struct Attribute {
    pub root: Root,
    pub path: Vec<Step>,
    /// Asks only whether the last step leads anywhere.
    pub test_only: bool,
    /// Steps that were taken by naming a variable, not an object's field: they cost the same.
    pub selected: u64,
}

pub(crate) enum Root {
    Variable(usize),
    Slot(usize),
    Node(Box<Node>),
    Conditional(Box<(Node, Attribute, Attribute)>),
}

pub(crate) struct Step {
    pub key: StepKey,
    pub optional: bool,
}

pub(crate) enum StepKey {
    Const(Value<'static>),
    Attribute(Attribute),
    Node(Node),
}

pub(crate) struct Fold {
    pub range: Node,
    pub accu: usize,
    pub init: Node,
    pub var: usize,
    pub var2: Option<usize>,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
}

impl Program {
    /// Fails where a constant part of the expression has no value.
    pub fn new(checked: &Checked, types: &[Arc<dyn Types>]) -> Result<Self> {
        let mut planner = Planner { checked, variables: Vec::new(), locals: Vec::new(), slots: 0 };
        let root = planner.plan(&checked.ast.root)?;
        Ok(Self { root, variables: planner.variables, slots: planner.slots, types: types.to_vec() })
    }
}

struct Planner<'c> {
    checked: &'c Checked,
    variables: Vec<Arc<str>>,
    /// Variables of the folds around, with their places.
    locals: Vec<(Arc<str>, usize)>,
    slots: usize,
}

impl Planner<'_> {
    fn plan(&mut self, expr: &Expr) -> Result<Node> {
        stack::deeper(|| self.plan_here(expr))
    }

    fn plan_here(&mut self, expr: &Expr) -> Result<Node> {
        match &expr.kind {
            Kind::Literal(literal) => Ok(Node::Const(constant(literal))),
            Kind::Ident(_) => Ok(self.reference(expr)),
            Kind::Select(_) if self.checked.reference(expr.id).is_some() => Ok(self.reference(expr)),
            Kind::Select(select) => self.select(select),
            Kind::Call(call) => self.call(expr, call),
            Kind::List(elements) => {
                let planned = elements.iter().map(|e| Ok((self.plan(&e.value)?, e.optional)));
                list(planned.collect::<Result<_>>()?)
            }
            Kind::Map(entries) => {
                let planned = entries.iter().map(|e| Ok((self.plan(&e.key)?, self.plan(&e.value)?, e.optional)));
                map(planned.collect::<Result<_>>()?)
            }
            Kind::Struct(name, fields) => {
                let planned = fields.iter().map(|f| Ok((f.name.clone(), self.plan(&f.value)?, f.optional)));
                let name = name.strip_prefix('.').unwrap_or(name);
                Ok(Node::Object(name.into(), planned.collect::<Result<_>>()?))
            }
            Kind::Comprehension(fold) => self.fold(fold),
            Kind::Missing => fail("an expression with errors cannot run"),
        }
    }

    fn reference(&mut self, expr: &Expr) -> Node {
        let (name, selected) = match self.checked.reference(expr.id) {
            Some(Reference::Type(t)) => return Node::Const(Value::Type(t.runtime_name().into())),
            Some(Reference::Variable(name)) => (name.clone(), 0),
            Some(Reference::Field(name)) => (name.clone(), 1),
            _ => ("".into(), 0),
        };
        Node::Attribute(Attribute { root: self.place(name), path: Vec::new(), test_only: false, selected })
    }

    fn place(&mut self, name: Arc<str>) -> Root {
        if let Some((_, slot)) = self.locals.iter().rev().find(|(local, _)| *local == name) {
            return Root::Slot(*slot);
        }
        let known = self.variables.iter().position(|variable| *variable == name);
        Root::Variable(known.unwrap_or_else(|| {
            self.variables.push(name);
            self.variables.len() - 1
        }))
    }

    fn select(&mut self, select: &Select) -> Result<Node> {
        let mut attribute = attribute(self.plan(&select.operand)?);
        attribute.step(StepKey::Const(Value::String(Text::Shared(select.field.clone()))), false);
        attribute.test_only = select.test_only;
        Ok(Node::Attribute(attribute))
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Result<Node> {
        let (function, overloads) = match self.checked.reference(expr.id) {
            Some(Reference::Call(function, overloads)) => (Some(*function), overloads.clone()),
            _ => (None, Vec::new()),
        };
        // A qualified name that turned out to be a function has no target.
        let member = overloads.first().is_none_or(|overload| overload.member);
        let target = call.target.as_ref().filter(|_| member);
        let mut args = target.into_iter().chain(&call.args).map(|arg| self.plan(arg)).collect::<Result<Vec<_>>>()?;
        let name = function.map_or(&*call.function, |function| function.name);
        match name {
            op::AND => return Ok(Node::And(pair(args))),
            op::OR => return Ok(Node::Or(pair(args))),
            op::EQUALS => return Ok(Node::Equal { sides: pair(args), negate: false }),
            op::NOT_EQUALS => return Ok(Node::Equal { sides: pair(args), negate: true }),
            op::CONDITIONAL => return Ok(conditional(args)),
            op::INDEX => return index(args, false),
            op::OPT_INDEX | op::OPT_SELECT => return index(args, true),
            op::NOT_STRICTLY_FALSE => return Ok(Node::NotStrictlyFalse(Box::new(args.remove(0)))),
            "or" => return Ok(Node::OptionalOr { sides: pair(args), unwrap: false }),
            "orValue" => return Ok(Node::OptionalOr { sides: pair(args), unwrap: true }),
            _ => {}
        }
        let Some(function) = function else { return fail(format!("no such overload: {name}")) };
        let state = match args.first() {
            Some(Node::Attribute(Attribute { root: Root::Slot(slot), path, .. })) if path.is_empty() => {
                self.owned_state(*slot, function)
            }
            _ => None,
        };
        optimize(CallNode { function, overloads, args, regex: None, state })
    }

    /// A fold's state that grows by this call.
    fn owned_state(&self, slot: usize, function: &Function) -> Option<usize> {
        let grows = matches!(function.name, op::ADD | op::MAP_INSERT);
        let state = |(name, place): &&(Arc<str>, usize)| *place == slot && **name == *crate::ast::ACCUMULATOR;
        self.locals.iter().find(state).filter(|_| grows).map(|(_, place)| *place)
    }

    fn fold(&mut self, fold: &Comprehension) -> Result<Node> {
        let init = self.plan(&fold.accu_init)?;
        let range = self.plan(&fold.range)?;
        let depth = self.locals.len();
        let accu = self.local(&fold.accu_var);
        let var = self.local(&fold.var);
        let var2 = fold.var2.as_ref().map(|var2| self.local(var2));
        let condition = self.plan(&fold.condition)?;
        let step = self.plan(&fold.step)?;
        self.locals.truncate(depth + 1);
        let result = self.plan(&fold.result)?;
        self.locals.truncate(depth);
        Ok(Node::Fold(Box::new(Fold { range, accu, init, var, var2, condition, step, result })))
    }

    fn local(&mut self, name: &Arc<str>) -> usize {
        let slot = self.slots;
        self.slots += 1;
        self.locals.push((name.clone(), slot));
        slot
    }
}

impl Attribute {
    /// Goes one step further; in both branches of a conditional.
    fn step(&mut self, key: StepKey, optional: bool) {
        self.path.push(Step { key, optional });
    }
}

#[expect(clippy::unnecessary_box_returns, reason = "nodes hold it in a box")]
fn pair(args: Vec<Node>) -> Box<[Node; 2]> {
    let mut args = args.into_iter();
    let mut next = || args.next().unwrap_or(Node::Const(Value::Null));
    Box::new([next(), next()])
}

pub(crate) fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Shared(text.clone())),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

/// Any node as the beginning of a path.
fn attribute(node: Node) -> Attribute {
    match node {
        Node::Attribute(attribute) if !attribute.test_only => attribute,
        node => Attribute { root: Root::Node(Box::new(node)), path: Vec::new(), test_only: false, selected: 0 },
    }
}

fn conditional(args: Vec<Node>) -> Node {
    let mut args = args.into_iter();
    let mut next = || args.next().unwrap_or(Node::Const(Value::Null));
    let condition = next();
    let branch = |node| match node {
        Node::Attribute(attribute) => attribute,
        node => Attribute { root: Root::Node(Box::new(node)), path: Vec::new(), test_only: false, selected: 0 },
    };
    let (then, otherwise) = (branch(next()), branch(next()));
    let root = Root::Conditional(Box::new((condition, then, otherwise)));
    Node::Attribute(Attribute { root, path: Vec::new(), test_only: false, selected: 0 })
}

fn index(args: Vec<Node>, optional: bool) -> Result<Node> {
    let [operand, key] = *pair(args);
    if let Node::Const(Value::Null) = key {
        return fail("invalid qualifier type: types.Null");
    }
    let mut attribute = attribute(operand);
    let key = match key {
        Node::Const(value) => StepKey::Const(value),
        Node::Attribute(key) => StepKey::Attribute(key),
        key => StepKey::Node(key),
    };
    attribute.step(key, optional);
    Ok(Node::Attribute(attribute))
}

fn list(elements: Vec<(Node, bool)>) -> Result<Node> {
    let constant = |(node, optional): &(Node, bool)| match node {
        Node::Const(value) if !optional => Some(value.clone()),
        _ => None,
    };
    match elements.iter().map(constant).collect::<Option<Vec<_>>>() {
        Some(values) => Ok(Node::Const(Value::list(values))),
        None => Ok(Node::List(elements)),
    }
}

fn map(entries: Vec<(Node, Node, bool)>) -> Result<Node> {
    let constant = |entry: &(Node, Node, bool)| match entry {
        (Node::Const(key), Node::Const(value), false) => Some((Key::of(key)?, value.clone())),
        _ => None,
    };
    match entries.iter().map(constant).collect::<Option<_>>() {
        Some(values) => Ok(Node::Const(Value::Map(Map::Entries(Arc::new(values))))),
        None => Ok(Node::Map(entries)),
    }
}

/// Computes beforehand what does not depend on any variable.
fn optimize(mut call: CallNode) -> Result<Node> {
    let conversion = matches!(
        call.function.name,
        "bool" | "bytes" | "double" | "duration" | "dyn" | "int" | "string" | "timestamp" | "type" | "uint"
    );
    if let ([Node::Const(value)], true) = (call.args.as_slice(), conversion) {
        let value = std::slice::from_ref(value);
        let generic = matches!(call.function.name, "dyn" | "type");
        let mut overloads = call.function.overloads.iter();
        let fitting = overloads.find(|overload| generic || crate::dispatch::fits_all(&overload.args, value));
        let Some(op) = fitting.and_then(|overload| overload.op) else {
            return fail(format!("no such overload: {}({})", call.function.name, value[0].type_name()));
        };
        return Ok(Node::Const(op(&Invocation { overload: "", regex: None }, value)?));
    }
    let in_list = call.function.name == op::IN && call.overloads.len() == 1 && call.overloads[0].id == "in_list";
    if let Some(set) = constant_set(&call.args).filter(|_| in_list) {
        if set.is_empty() {
            return Ok(Node::Const(Value::Bool(false)));
        }
        return Ok(Node::InSet(Box::new(call.args.remove(0)), set));
    }
    if matches!(call.function.name, "matches" | "find" | "findAll")
        && let Some(Node::Const(Value::String(pattern))) = call.args.get(1)
    {
        call.regex = Some(re2::compile(pattern).map_err(Error::Failed)?);
    }
    Ok(Node::Call(Box::new(call)))
}

fn constant_set(args: &[Node]) -> Option<BTreeSet<Key<'static>>> {
    let [_, Node::Const(Value::List(list))] = args else { return None };
    list.iter().map(|value| Key::of(&value)).collect()
}

/// The type's name as values of it say.
impl Checked {
    pub fn is_bool(&self) -> bool {
        *self.result_type() == Type::Bool
    }
}
