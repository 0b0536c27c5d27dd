//! Lists, maps, objects and folds.

use std::sync::Arc;

use super::{Checker, Reference};
use crate::ast::{Comprehension, Element, Entry, Expr, Field};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn list(&mut self, expr: &Expr, elements: &[Element]) {
        let mut joined = None;
        for Element { value, optional } in elements {
            self.check(value);
            let t = if *optional { self.unwrap(value) } else { self.get(value) };
            joined = Some(self.join(joined, t));
        }
        let element = joined.unwrap_or_else(|| self.solver.fresh());
        self.set(expr, Type::list(element));
    }

    pub(super) fn map(&mut self, expr: &Expr, entries: &[Entry]) {
        let mut keys = None;
        let mut values = None;
        for Entry { key, value, optional, .. } in entries {
            self.check(key);
            let t = self.get(key);
            keys = Some(self.join(keys, t));
            self.check(value);
            let t = if *optional { self.unwrap(value) } else { self.get(value) };
            values = Some(self.join(values, t));
        }
        let key = keys.unwrap_or_else(|| self.solver.fresh());
        let value = values.unwrap_or_else(|| self.solver.fresh());
        self.set(expr, Type::map(key, value));
    }

    pub(super) fn construct(&mut self, expr: &Expr, name: &Arc<str>, fields: &[Field]) {
        let name = name.strip_prefix('.').unwrap_or(name);
        if !self.env.has_struct(name) {
            self.set(expr, Type::Error);
            return self.undeclared(expr.id, name);
        }
        self.set(expr, Type::object(name));
        self.refer(expr, Reference::Type(Type::object(name)));
        for field in fields {
            self.check(&field.value);
            let wanted = self.field_type(field.id, name, &field.name).unwrap_or(Type::Error);
            let t = if field.optional { self.unwrap(&field.value) } else { self.get(&field.value) };
            if !self.solver.assignable(&wanted, &t) {
                let message =
                    format!("expected type of field '{}' is '{wanted}' but provided type is '{t}'", field.name);
                self.error(field.id, message);
            }
        }
    }

    pub(super) fn fold(&mut self, expr: &Expr, fold: &Comprehension) {
        self.check(&fold.range);
        self.check(&fold.accu_init);
        let range = self.solver.substitute(&self.get(&fold.range), false);
        let accu = self.get(&fold.accu_init);
        let (first, second) = self.range_types(fold, &range);
        let depth = self.scopes.len();
        self.scopes.push((fold.accu_var.clone(), accu.clone()));
        self.scopes.push((fold.var.clone(), first));
        if let (Some(var2), Some(t)) = (&fold.var2, second) {
            self.scopes.push((var2.clone(), t));
        }
        self.check(&fold.condition);
        self.demand(&fold.condition, &Type::Bool);
        self.check(&fold.step);
        self.demand(&fold.step, &accu);
        self.scopes.truncate(depth + 1);
        self.check(&fold.result);
        self.scopes.truncate(depth);
        let t = self.solver.substitute(&self.get(&fold.result), false);
        self.set(expr, t);
    }

    /// Types of the variables that run over the range.
    fn range_types(&mut self, fold: &Comprehension, range: &Type) -> (Type, Option<Type>) {
        let two = fold.var2.is_some();
        match range {
            Type::List(element) if two => (Type::Int, Some((**element).clone())),
            Type::List(element) => ((**element).clone(), None),
            Type::Map(key, value) => ((**key).clone(), two.then(|| (**value).clone())),
            Type::Dyn | Type::Error | Type::Var(_) => {
                self.solver.assignable(&Type::Dyn, range);
                (Type::Dyn, two.then_some(Type::Dyn))
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.error(fold.range.id, message);
                (Type::Error, two.then_some(Type::Error))
            }
        }
    }

    fn demand(&mut self, expr: &Expr, wanted: &Type) {
        let t = self.get(expr);
        if !self.solver.assignable(wanted, &t) {
            self.mismatch(expr.id, wanted, &t);
        }
    }
}
