//! What an expression can cost at most, given how large its variables can be.

use std::collections::HashMap;
use std::sync::Arc;

use super::range::Range;
use super::{LIST_COST, STRUCT_COST};
use crate::ast::operators as op;
use crate::ast::{ACCUMULATOR, Call, Comprehension, Expr, Id, Kind, Literal, Select};
use crate::check::{Checked, Reference};
use crate::decl::DeclType;
use crate::env::Env;
use crate::stack;
use crate::types::Type;

const MAP_COST: u64 = 30;

/// The least and the most a checked expression costs.
pub fn estimate(checked: &Checked, env: &Env) -> Range {
    Estimator::new(checked, env).cost(&checked.ast.root)
}

/// Where a value stands: a variable, then fields, `@items`, `@keys`, `@values`.
pub(super) type Path = Vec<Arc<str>>;

/// Sizes of a container's keys and values.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    list: bool,
    key: Range,
    value: Range,
}

struct Local {
    name: Arc<str>,
    path: Path,
    size: Option<Range>,
    entry: Option<Entry>,
}

pub(super) struct Estimator<'e> {
    checked: &'e Checked,
    env: &'e Env,
    paths: HashMap<Id, Path>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, Entry>,
    locals: Vec<Local>,
}

/// An argument of a call: its expression and what is known of its size.
pub(super) struct Argument<'e> {
    pub expr: &'e Expr,
    pub t: &'e Type,
    pub path: Path,
    pub size: Option<Range>,
}

/// The price of a call without its arguments, and the size of its result.
pub(super) struct Price {
    pub cost: Range,
    pub size: Option<Range>,
}

impl<'e> Estimator<'e> {
    fn new(checked: &'e Checked, env: &'e Env) -> Self {
        let (paths, sizes, entries) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { checked, env, paths, sizes, entries, locals: Vec::new() }
    }

    fn cost(&mut self, expr: &'e Expr) -> Range {
        stack::deeper(|| self.cost_here(expr))
    }

    fn cost_here(&mut self, expr: &'e Expr) -> Range {
        match &expr.kind {
            Kind::Literal(_) | Kind::Missing => Range::ZERO,
            Kind::Ident(name) => {
                let path = self.local(name).map_or_else(|| vec![name.clone()], |local| local.path.clone());
                self.paths.insert(expr.id, path);
                Range::exactly(1)
            }
            Kind::Select(select) => self.select(expr, select),
            Kind::Call(call) => self.call(expr, call),
            Kind::List(elements) => {
                let cost = elements.iter().fold(Range::ZERO, |sum, element| sum.plus(self.cost(&element.value)));
                let value = self.joined(elements.iter().map(|element| &element.value));
                self.entries.insert(expr.id, Entry { list: true, key: Range::exactly(1), value });
                cost.plus(Range::exactly(LIST_COST))
            }
            Kind::Map(entries) => {
                let mut cost = Range::exactly(MAP_COST);
                for entry in entries {
                    cost = cost.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                }
                let key = self.joined(entries.iter().map(|entry| &entry.key));
                let value = self.joined(entries.iter().map(|entry| &entry.value));
                self.entries.insert(expr.id, Entry { list: false, key, value });
                cost
            }
            Kind::Struct(_, fields) => {
                let cost = fields.iter().fold(Range::ZERO, |sum, field| sum.plus(self.cost(&field.value)));
                cost.plus(Range::exactly(STRUCT_COST))
            }
            Kind::Comprehension(fold) if is_bind(fold) => self.bind(expr, fold),
            Kind::Comprehension(fold) => self.fold(expr, fold),
        }
    }

    fn joined(&mut self, parts: impl ExactSizeIterator<Item = &'e Expr>) -> Range {
        if parts.len() == 0 {
            return Range::ZERO;
        }
        let start = Range::new(u64::MAX, 0);
        parts.fold(start, |range, part| range.union(self.size_or_unknown(part)))
    }

    fn select(&mut self, expr: &'e Expr, select: &'e Select) -> Range {
        let cost = self.cost(&select.operand);
        if select.test_only {
            return cost;
        }
        let mut path = self.path(&select.operand);
        path.push(select.field.clone());
        self.paths.insert(expr.id, path);
        match self.type_of(&select.operand) {
            Type::Map(..) | Type::Struct(_) | Type::Var(_) | Type::Param(_) => cost.plus(Range::exactly(1)),
            _ => cost,
        }
    }

    fn call(&mut self, expr: &'e Expr, call: &'e Call) -> Range {
        if *call.function == *"dyn" && call.args.len() == 1 {
            let cost = self.cost(&call.args[0]);
            self.copy_sizes(expr, &call.args[0]);
            return cost.plus(Range::exactly(1));
        }
        let costs: Vec<Range> = call.args.iter().map(|arg| self.cost(arg)).collect();
        let args: Vec<Argument<'e>> = call.args.iter().map(|arg| self.argument(arg)).collect();
        let (name, overloads) = match self.checked.reference(expr.id) {
            Some(Reference::Call(function, overloads)) => (function.name, overloads.as_slice()),
            _ if *call.function == *op::OPT_SELECT => return self.optional_select(expr, &costs),
            _ => return Range::ZERO,
        };
        let member = overloads.first().is_some_and(|overload| overload.member);
        let target = call.target.as_ref().filter(|_| member);
        let target_cost = target.map_or(Range::ZERO, |target| self.cost(target));
        let target = target.map(|target| self.argument(target));
        let mut cost = Range::new(u64::MAX, 0);
        let mut size: Option<Range> = None;
        for overload in overloads {
            let price = self.price(expr, name, overload.id, target.as_ref(), &args, &costs);
            cost = cost.union(price.cost);
            size = match (size, price.size) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
            let step = match overload.id {
                "index_list" => "@items",
                "index_map" => "@values",
                _ => {
                    size = size.or_else(|| self.size(expr));
                    continue;
                }
            };
            size = self.entry(&call.args[0]).map(|entry| entry.value);
            let mut path = self.path(&call.args[0]);
            path.push(step.into());
            self.paths.insert(expr.id, path);
            size = size.or_else(|| self.size(expr));
        }
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
        target_cost.plus(cost)
    }

    /// `a.?b`: a call of one unit.
    fn optional_select(&mut self, expr: &'e Expr, costs: &[Range]) -> Range {
        if let Some(size) = self.size(expr) {
            self.sizes.insert(expr.id, size);
        }
        costs.iter().fold(Range::exactly(1), |sum, cost| sum.plus(*cost))
    }

    fn price(
        &mut self,
        expr: &'e Expr,
        function: &str,
        overload: &str,
        target: Option<&Argument<'e>>,
        args: &[Argument<'e>],
        costs: &[Range],
    ) -> Price {
        let all = costs.iter().fold(Range::ZERO, |sum, cost| sum.plus(*cost));
        match overload {
            "logical_or" | "logical_and" => {
                // The left side alone may decide.
                let (left, right) = (costs[0], costs[1]);
                return Price { cost: Range::new(left.min, left.plus(right).max), size: None };
            }
            "conditional" => {
                let size = size_of(&args[1]).union(size_of(&args[2]));
                self.join_entries(expr, args[1].expr, args[2].expr);
                return Price { cost: costs[0].plus(costs[1].union(costs[2])), size: Some(size) };
            }
            "add_string" | "add_bytes" | "add_list" => self.join_entries(expr, args[0].expr, args[1].expr),
            _ => {}
        }
        let price = super::library::price(self, function, overload, target, args)
            .unwrap_or_else(|| super::calls::price(overload, target, args));
        Price { cost: price.cost.plus(all), size: price.size }
    }

    fn join_entries(&mut self, expr: &Expr, a: &'e Expr, b: &'e Expr) {
        if let (Some(a), Some(b)) = (self.entry(a), self.entry(b)) {
            let joined = Entry { list: a.list, key: a.key.union(b.key), value: a.value.union(b.value) };
            self.entries.insert(expr.id, joined);
        }
    }

    fn fold(&mut self, expr: &'e Expr, fold: &'e Comprehension) -> Range {
        let mut cost = self.cost(&fold.range).plus(self.cost(&fold.accu_init));
        self.push_value(&fold.accu_var, &fold.accu_init);
        match &fold.var2 {
            Some(var2) => {
                self.push_part(&fold.var, &fold.range, true);
                self.push_part(var2, &fold.range, false);
            }
            None => {
                let key = !self.is_list(&fold.range);
                self.push_part(&fold.var, &fold.range, key);
            }
        }
        let round = self.cost(&fold.condition).plus(self.cost(&fold.step));
        let variables = 1 + usize::from(fold.var2.is_some());
        self.locals.truncate(self.locals.len() - variables);
        cost = cost.plus(self.cost(&fold.result));
        self.locals.pop();
        let rounds = self.size_or_unknown(&fold.range);
        match &fold.accu_init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&fold.accu_init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Kind::List(_) | Kind::Map(_) => {
                self.sizes.insert(expr.id, rounds);
                if let Some(entry) = self.entry(&fold.step) {
                    self.entries.insert(expr.id, entry);
                }
            }
            _ => {}
        }
        cost.plus(rounds.times(round))
    }

    /// A name for a value: `optMap`, `sortBy`.
    fn bind(&mut self, expr: &'e Expr, fold: &'e Comprehension) -> Range {
        let mut cost = self.cost(&fold.range).plus(self.cost(&fold.accu_init));
        self.push_value(&fold.accu_var, &fold.accu_init);
        cost = cost.plus(self.cost(&fold.result));
        self.locals.pop();
        self.copy_sizes(expr, &fold.result);
        cost
    }

    fn is_list(&self, range: &'e Expr) -> bool {
        self.entry(range).map_or_else(|| matches!(self.type_of(range), Type::List(_)), |entry| entry.list)
    }

    fn push_value(&mut self, name: &Arc<str>, value: &'e Expr) {
        let (path, size, entry) = (self.path(value), self.size(value), self.entry(value));
        self.locals.push(Local { name: name.clone(), path, size, entry });
    }

    fn push_part(&mut self, name: &Arc<str>, range: &'e Expr, key: bool) {
        let size = self.entry(range).map(|entry| if key { entry.key } else { entry.value });
        let part = match (self.is_list(range), key) {
            (true, true) => "@indices",
            (true, false) => "@items",
            (false, true) => "@keys",
            (false, false) => "@values",
        };
        let mut path = self.path(range);
        path.push(part.into());
        self.locals.push(Local { name: name.clone(), path, size, entry: None });
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| *local.name == *name)
    }

    fn type_of(&self, expr: &Expr) -> &'e Type {
        self.checked.type_of(expr.id)
    }

    fn path(&self, expr: &Expr) -> Path {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn argument(&mut self, expr: &'e Expr) -> Argument<'e> {
        let mut path = self.path(expr);
        if path.first().is_some_and(|root| **root == *ACCUMULATOR) {
            path.clear();
        }
        Argument { expr, t: self.type_of(expr), path, size: self.size(expr) }
    }

    fn copy_sizes(&mut self, to: &Expr, from: &'e Expr) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to.id, size);
        }
        if let Some(entry) = self.entry(from) {
            self.entries.insert(to.id, entry);
        }
    }

    fn entry(&self, expr: &Expr) -> Option<Entry> {
        if let Some(entry) = self.entries.get(&expr.id) {
            return Some(*entry);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.entry),
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, expr: &'e Expr) -> Range {
        self.size(expr).unwrap_or(Range::UNKNOWN)
    }

    fn size(&mut self, expr: &Expr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = literal_size(expr) {
            return Some(Range::exactly(size));
        }
        if let Some(size) = self.declared_size(&self.path(expr)) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if is_scalar(self.type_of(expr)) {
            return Some(Range::exactly(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.size),
            _ => None,
        }
    }

    /// What the schema says of the value at a path.
    pub(super) fn declared_size(&self, path: &[Arc<str>]) -> Option<Range> {
        let (variable, rest) = path.split_first()?;
        let mut decl: &DeclType = self.env.root(variable)?;
        for step in rest {
            decl = match &**step {
                "@items" | "@values" => decl.element()?,
                // Of keys nothing is known but that they are strings.
                "@keys" if decl.form == crate::decl::Form::Map => return Some(Range::ZERO),
                field => decl.field(field)?,
            };
        }
        Some(Range::new(0, decl.max_elements))
    }
}

fn size_of(argument: &Argument<'_>) -> Range {
    argument.size.unwrap_or(Range::UNKNOWN)
}

fn literal_size(expr: &Expr) -> Option<u64> {
    Some(match &expr.kind {
        Kind::Literal(Literal::String(text)) => text.chars().count() as u64,
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len() as u64,
        Kind::Literal(_) => 1,
        Kind::List(elements) => elements.len() as u64,
        Kind::Map(entries) => entries.len() as u64,
        _ => return None,
    })
}

/// Types whose values are all of one size.
fn is_scalar(t: &Type) -> bool {
    match t {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        other => other.unwrap_optional().is_some_and(is_scalar),
    }
}

fn is_bind(fold: &Comprehension) -> bool {
    matches!(&fold.range.kind, Kind::List(elements) if elements.is_empty())
        && matches!(fold.condition.kind, Kind::Literal(Literal::Bool(false)))
}
