//! Calls: which overloads the arguments allow.

use super::{Checker, Reference, qualified_name};
use crate::ast::{Call, Expr, Kind, Literal, operators as op};
use crate::decls::{Function, Overload};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn call(&mut self, expr: &Expr, call: &Call) {
        if *call.function == *op::OPT_SELECT {
            return self.opt_select(expr, call);
        }
        for arg in &call.args {
            self.check(arg);
        }
        let Some(target) = &call.target else {
            let name = call.function.strip_prefix('.').unwrap_or(&call.function);
            return match self.env.function(name) {
                Some(function) => self.resolve(expr, function, None, &call.args),
                None => {
                    self.set(expr, Type::Error);
                    self.undeclared(expr.id, &call.function);
                }
            };
        };
        // `a.b.c()` calls the function `a.b.c` if there is one.
        if let Some(prefix) = qualified_name(target) {
            let name = format!("{prefix}.{}", call.function);
            if let Some(function) = self.env.function(name.strip_prefix('.').unwrap_or(&name)) {
                return self.resolve(expr, function, None, &call.args);
            }
        }
        self.check(target);
        match self.env.function(&call.function) {
            Some(function) => self.resolve(expr, function, Some(target), &call.args),
            None => {
                self.set(expr, Type::Error);
                self.undeclared(expr.id, &call.function);
            }
        }
    }

    fn opt_select(&mut self, expr: &Expr, call: &Call) {
        let [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }] = call.args.as_slice() else {
            return self.error(expr.id, "unsupported optional field selection".to_owned());
        };
        let t = self.select_field(expr, operand, field, true);
        let t = self.solver.substitute(&t, false);
        self.set(expr, t);
    }

    fn resolve(&mut self, expr: &Expr, function: &'static Function, target: Option<&Expr>, args: &[Expr]) {
        let types: Vec<Type> = target.into_iter().chain(args).map(|arg| self.get(arg)).collect();
        if matches!(function.name, op::AND | op::OR) {
            return self.logical(expr, function, args, &types);
        }
        let mut matching = Vec::new();
        let mut result: Option<Type> = None;
        for overload in function.overloads.iter().filter(|o| o.member == target.is_some()) {
            let Some(t) = self.try_overload(overload, &types) else { continue };
            matching.push(overload);
            result = Some(match result {
                None => t,
                Some(known) if known == Type::Dyn || known == t => known,
                Some(_) => Type::Dyn,
            });
        }
        match result {
            Some(t) => {
                self.set(expr, t);
                self.refer(expr, Reference::Call(function, matching));
            }
            None => {
                self.set(expr, Type::Error);
                self.no_overload(expr, function, &types, target.is_some());
            }
        }
    }

    fn logical(&mut self, expr: &Expr, function: &'static Function, args: &[Expr], types: &[Type]) {
        let mut result = Type::Bool;
        for (arg, t) in args.iter().zip(types) {
            if !self.solver.assignable(t, &Type::Bool) {
                self.mismatch(arg.id, &Type::Bool, t);
                result = Type::Error;
            }
        }
        self.set(expr, result);
        self.refer(expr, Reference::Call(function, vec![&function.overloads[0]]));
    }

    /// The result's type if the arguments fit.
    fn try_overload(&mut self, overload: &Overload, types: &[Type]) -> Option<Type> {
        if overload.args.len() != types.len() {
            return None;
        }
        let mut params = Vec::new();
        let args: Vec<Type> = overload.args.iter().map(|arg| self.instantiate(arg, &mut params)).collect();
        let result = self.instantiate(&overload.result, &mut params);
        self.solver.all_assignable(types, &args).then(|| self.solver.substitute(&result, false))
    }

    /// Each use of a declaration has its own unknowns in place of the declared parameters.
    fn instantiate(&mut self, t: &Type, params: &mut Vec<(Type, Type)>) -> Type {
        if let Type::Param(_) = t {
            if let Some((_, var)) = params.iter().find(|(param, _)| param == t) {
                return var.clone();
            }
            let var = self.solver.fresh();
            params.push((t.clone(), var.clone()));
            return var;
        }
        t.map_inner(|inner| self.instantiate(inner, params))
    }

    fn no_overload(&mut self, expr: &Expr, function: &Function, types: &[Type], member: bool) {
        let texts: Vec<String> = types.iter().map(|t| self.solver.substitute(t, true).to_string()).collect();
        let signature = match texts.split_first() {
            Some((target, rest)) if member => format!("{target}.({})", rest.join(", ")),
            _ => format!("({})", texts.join(", ")),
        };
        let name = function.name;
        self.error(expr.id, format!("found no matching overload for '{name}' applied to '{signature}'"));
    }
}
