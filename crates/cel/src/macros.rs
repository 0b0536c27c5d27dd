//! Macros: calls that are rewritten as they are read. Most become a fold over a list or map.

use std::sync::Arc;

use crate::ast::operators as op;
use crate::ast::{
    ACCUMULATOR, Call, Comprehension, Element, Entry, Expr, Field, Kind, Literal, OLD_ACCUMULATOR, Select,
};
use crate::parser::Parser;
use crate::stack;

/// The expansion of a call, if it is one of a macro.
pub fn expand(
    parser: &mut Parser<'_>,
    at: usize,
    function: &str,
    target: Option<&mut Expr>,
    args: &mut [Expr],
) -> Option<Expr> {
    let mut make = Make { parser, at };
    let expanded = match (function, target, args) {
        ("has", None, [arg]) => make.has(arg),
        (_, Some(target), [var, rest @ ..]) if rest.len() == 1 || (function == "map" && rest.len() == 2) => {
            make.one_variable(function, target, var, rest)?
        }
        (_, Some(target), [var, var2, rest @ ..]) if matches!(rest.len(), 1 | 2) => {
            make.two_variables(function, target, var, var2, rest)?
        }
        _ => return None,
    };
    Some(expanded.unwrap_or_else(|wrong| parser.error(wrong.offset, wrong.message)))
}

/// Moves an argument into the expansion.
fn take(expr: &mut Expr) -> Expr {
    let id = expr.id;
    std::mem::replace(expr, Expr { id, kind: Kind::Missing })
}

struct Wrong {
    offset: usize,
    message: String,
}

/// The parts of a fold that differ from macro to macro.
struct Fold {
    init: Expr,
    condition: Expr,
    step: Expr,
    result: Expr,
}

/// Makes nodes that stand where the macro's call stands.
struct Make<'p, 's> {
    parser: &'p mut Parser<'s>,
    at: usize,
}

impl Make<'_, '_> {
    fn node(&mut self, kind: Kind) -> Expr {
        self.parser.node(self.at, kind)
    }

    fn literal(&mut self, literal: Literal) -> Expr {
        self.node(Kind::Literal(literal))
    }

    fn ident(&mut self, name: &Arc<str>) -> Expr {
        self.node(Kind::Ident(name.clone()))
    }

    fn accu(&mut self) -> Expr {
        self.ident(&ACCUMULATOR.into())
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.node(Kind::Call(Box::new(Call { function: function.into(), target: None, args })))
    }

    fn member(&mut self, function: &str, target: Expr) -> Expr {
        self.node(Kind::Call(Box::new(Call { function: function.into(), target: Some(target), args: Vec::new() })))
    }

    fn list(&mut self, values: Vec<Expr>) -> Expr {
        self.node(Kind::List(values.into_iter().map(|value| Element { value, optional: false }).collect()))
    }

    fn fold(&mut self, range: Expr, var: &Arc<str>, var2: Option<Arc<str>>, accu_var: &str, fold: Fold) -> Expr {
        let Fold { init, condition, step, result } = fold;
        self.node(Kind::Comprehension(Box::new(Comprehension {
            range,
            var: var.clone(),
            var2,
            accu_var: accu_var.into(),
            accu_init: init,
            condition,
            step,
            result,
        })))
    }

    fn wrong<T>(&self, expr: &Expr, message: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong { offset: self.parser.offset(expr.id), message: message.into() })
    }

    fn name(&self, expr: &Expr, otherwise: &str) -> Result<Arc<str>, Wrong> {
        match &expr.kind {
            Kind::Ident(name) => Ok(name.clone()),
            _ => self.wrong(expr, otherwise),
        }
    }

    fn free(&self, expr: &Expr, name: &str) -> Result<(), Wrong> {
        if name == ACCUMULATOR || name == OLD_ACCUMULATOR {
            return self.wrong(expr, "iteration variable overwrites accumulator variable");
        }
        Ok(())
    }

    fn has(&mut self, arg: &Expr) -> Result<Expr, Wrong> {
        let Kind::Select(select) = &arg.kind else { return self.wrong(arg, "invalid argument to has() macro") };
        let select = Select { test_only: true, ..(**select).clone() };
        Ok(self.node(Kind::Select(Box::new(select))))
    }

    fn one_variable(
        &mut self,
        function: &str,
        target: &mut Expr,
        var: &Expr,
        rest: &mut [Expr],
    ) -> Option<Result<Expr, Wrong>> {
        let otherwise = match function {
            "all" | "exists" | "exists_one" => "argument must be a simple name",
            "sortBy" => return Some(self.sort_by(target, var, &mut rest[0])),
            "map" | "filter" => "argument is not an identifier",
            "optMap" => return Some(self.opt_map(target, var, &mut rest[0], true)),
            "optFlatMap" => return Some(self.opt_map(target, var, &mut rest[0], false)),
            _ => return None,
        };
        let name = self.name(var, otherwise).and_then(|name| self.free(var, &name).map(|()| name));
        let name = match name {
            Ok(name) => name,
            Err(wrong) => return Some(Err(wrong)),
        };
        let fold = match (function, rest) {
            ("map", [filter, transform]) => self.collect(Some(take(filter)), take(transform)),
            ("map", [transform]) => self.collect(None, take(transform)),
            ("filter", [filter]) => self.collect(Some(take(filter)), var.clone()),
            (_, [predicate]) => self.quantifier(function, take(predicate)),
            _ => return None,
        };
        Some(Ok(self.fold(take(target), &name, None, ACCUMULATOR, fold)))
    }

    fn two_variables(
        &mut self,
        function: &str,
        target: &mut Expr,
        var: &Expr,
        var2: &Expr,
        rest: &mut [Expr],
    ) -> Option<Result<Expr, Wrong>> {
        let quantifier = matches!(function, "all" | "exists" | "exists_one" | "existsOne");
        let transform = matches!(function, "transformList" | "transformMap" | "transformMapEntry");
        if !(transform || quantifier && rest.len() == 1) {
            return None;
        }
        let (name, name2) = match self.two_names(var, var2) {
            Ok(names) => names,
            Err(wrong) => return Some(Err(wrong)),
        };
        let (filter, value) = match rest {
            [filter, value] => (Some(take(filter)), take(value)),
            [value] => (None, take(value)),
            _ => return None,
        };
        let fold = match function {
            "transformList" => self.collect(filter, value),
            "transformMap" => {
                let key = self.ident(&name);
                self.insert(filter, vec![key, value])
            }
            "transformMapEntry" => self.insert(filter, vec![value]),
            _ => self.quantifier(function, value),
        };
        Some(Ok(self.fold(take(target), &name, Some(name2), ACCUMULATOR, fold)))
    }

    fn two_names(&self, var: &Expr, var2: &Expr) -> Result<(Arc<str>, Arc<str>), Wrong> {
        let name = self.name(var, "argument must be a simple name")?;
        let name2 = self.name(var2, "argument must be a simple name")?;
        if name == name2 {
            return self.wrong(var2, format!("duplicate variable name: {name}"));
        }
        self.free(var, &name)?;
        self.free(var2, &name2)?;
        Ok((name, name2))
    }

    fn quantifier(&mut self, function: &str, predicate: Expr) -> Fold {
        let accu = self.accu();
        match function {
            "all" => Fold {
                init: self.literal(Literal::Bool(true)),
                condition: self.call(op::NOT_STRICTLY_FALSE, vec![accu.clone()]),
                step: self.step(op::AND, predicate),
                result: self.accu(),
            },
            "exists" => {
                let not = self.call(op::NOT, vec![accu]);
                Fold {
                    init: self.literal(Literal::Bool(false)),
                    condition: self.call(op::NOT_STRICTLY_FALSE, vec![not]),
                    step: self.step(op::OR, predicate),
                    result: self.accu(),
                }
            }
            _ => {
                let one = self.literal(Literal::Int(1));
                let more = self.step(op::ADD, one);
                let (same, end) = (self.accu(), self.accu());
                Fold {
                    init: self.literal(Literal::Int(0)),
                    condition: self.literal(Literal::Bool(true)),
                    step: self.call(op::CONDITIONAL, vec![predicate, more, same]),
                    result: {
                        let one = self.literal(Literal::Int(1));
                        self.call(op::EQUALS, vec![end, one])
                    },
                }
            }
        }
    }

    /// `accumulator OP value`
    fn step(&mut self, function: &str, value: Expr) -> Expr {
        let accu = self.accu();
        self.call(function, vec![accu, value])
    }

    /// Appends `value` to a list where `filter` holds.
    fn collect(&mut self, filter: Option<Expr>, value: Expr) -> Fold {
        let list = self.list(vec![value]);
        let step = self.step(op::ADD, list);
        let init = self.list(Vec::new());
        self.gather(init, filter, step)
    }

    /// Puts an entry into a map where `filter` holds.
    fn insert(&mut self, filter: Option<Expr>, entry: Vec<Expr>) -> Fold {
        let mut args = vec![self.accu()];
        args.extend(entry);
        let step = self.call(op::MAP_INSERT, args);
        let init = self.node(Kind::Map(Vec::new()));
        self.gather(init, filter, step)
    }

    fn gather(&mut self, init: Expr, filter: Option<Expr>, step: Expr) -> Fold {
        let step = match filter {
            Some(filter) => {
                let same = self.accu();
                self.call(op::CONDITIONAL, vec![filter, step, same])
            }
            None => step,
        };
        Fold { init, condition: self.literal(Literal::Bool(true)), step, result: self.accu() }
    }

    /// `target.hasValue() ? optional.of(<var bound to target.value()> in body) : optional.none()`
    fn opt_map(&mut self, target: &mut Expr, var: &Expr, body: &mut Expr, wrap: bool) -> Result<Expr, Wrong> {
        let function = if wrap { "optMap" } else { "optFlatMap" };
        let name = self.name(var, &format!("{function}() variable name must be a simple identifier"))?;
        let copy = self.copy(target);
        let has = self.member("hasValue", take(target));
        let init = self.member("value", copy);
        let fold =
            Fold { init, condition: self.literal(Literal::Bool(false)), step: self.ident(&name), result: take(body) };
        let range = self.list(Vec::new());
        let bound = self.fold(range, &"#unused".into(), None, &name, fold);
        let then = if wrap { self.call("optional.of", vec![bound]) } else { bound };
        let none = self.call("optional.none", Vec::new());
        Ok(self.call(op::CONDITIONAL, vec![has, then, none]))
    }

    /// `target` bound to a name, sorted by the keys `transform` makes of its elements.
    fn sort_by(&mut self, target: &mut Expr, var: &Expr, transform: &mut Expr) -> Result<Expr, Wrong> {
        if !matches!(
            target.kind,
            Kind::List(_) | Kind::Select(_) | Kind::Ident(_) | Kind::Comprehension(_) | Kind::Call(_)
        ) {
            let kinds = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return self.wrong(target, kinds);
        }
        let name = self.name(var, "argument is not an identifier")?;
        self.free(var, &name)?;
        let input: Arc<str> = "@__sortBy_input__".into();
        let (range, sorted) = (self.ident(&input), self.ident(&input));
        let fold = self.collect(None, take(transform));
        let keys = self.fold(range, &name, None, ACCUMULATOR, fold);
        let call = Call { function: "@sortByAssociatedKeys".into(), target: Some(sorted), args: vec![keys] };
        let result = self.node(Kind::Call(Box::new(call)));
        let fold = Fold {
            init: take(target),
            condition: self.literal(Literal::Bool(false)),
            step: self.ident(&input),
            result,
        };
        let nothing = self.list(Vec::new());
        Ok(self.fold(nothing, &"#unused".into(), None, &input, fold))
    }

    /// The same expression under new ids.
    fn copy(&mut self, expr: &Expr) -> Expr {
        stack::deeper(|| self.copy_here(expr))
    }

    fn copy_here(&mut self, expr: &Expr) -> Expr {
        if self.parser.is_full() {
            return self.parser.error(self.at, "expression is too large once its macros are expanded");
        }
        let id = self.parser.id(self.parser.offset(expr.id));
        let kind = match &expr.kind {
            Kind::Select(s) => Kind::Select(Box::new(Select { operand: self.copy(&s.operand), ..(**s).clone() })),
            Kind::Call(c) => Kind::Call(Box::new(Call {
                function: c.function.clone(),
                target: c.target.as_ref().map(|target| self.copy(target)),
                args: c.args.iter().map(|arg| self.copy(arg)).collect(),
            })),
            Kind::List(elements) => Kind::List(
                elements.iter().map(|e| Element { value: self.copy(&e.value), optional: e.optional }).collect(),
            ),
            Kind::Map(entries) => Kind::Map(entries.iter().map(|entry| self.copy_entry(entry)).collect()),
            Kind::Struct(name, fields) => {
                Kind::Struct(name.clone(), fields.iter().map(|field| self.copy_field(field)).collect())
            }
            Kind::Comprehension(c) => Kind::Comprehension(Box::new(Comprehension {
                range: self.copy(&c.range),
                var: c.var.clone(),
                var2: c.var2.clone(),
                accu_var: c.accu_var.clone(),
                accu_init: self.copy(&c.accu_init),
                condition: self.copy(&c.condition),
                step: self.copy(&c.step),
                result: self.copy(&c.result),
            })),
            kind => kind.clone(),
        };
        Expr { id, kind }
    }

    fn copy_entry(&mut self, entry: &Entry) -> Entry {
        let id = self.parser.id(self.at);
        Entry { id, key: self.copy(&entry.key), value: self.copy(&entry.value), optional: entry.optional }
    }

    fn copy_field(&mut self, field: &Field) -> Field {
        let id = self.parser.id(self.at);
        Field { id, name: field.name.clone(), value: self.copy(&field.value), optional: field.optional }
    }
}
