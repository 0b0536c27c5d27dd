//! The checker: finds the type of every node and the overloads every call may mean.

mod calls;
mod fold;
mod literals;
mod unify;

use std::sync::Arc;

use crate::ast::{Ast, Expr, Id, Kind, Literal, Select};
use crate::decls::{Function, Overload};
use crate::env::Env;
use crate::source::{Issue, Issues, Source};
use crate::stack;
use crate::types::Type;
use unify::{Solver, most_general};

/// What a name or call was found to mean.
#[derive(Clone, Debug)]
pub enum Reference {
    /// A variable under its full name.
    Variable(Arc<str>),
    /// A field of an object whose fields are variables of their own, under its full name.
    Field(Arc<str>),
    /// A name that is a type.
    Type(Type),
    Call(&'static Function, Vec<&'static Overload>),
}

/// A tree whose every node has a type.
#[derive(Debug)]
pub struct Checked {
    pub ast: Ast,
    types: Vec<Type>,
    references: Vec<Option<Reference>>,
}

impl Checked {
    pub fn type_of(&self, id: Id) -> &Type {
        &self.types[id as usize]
    }

    pub fn reference(&self, id: Id) -> Option<&Reference> {
        self.references[id as usize].as_ref()
    }

    /// Whether the expression refers to a variable.
    pub fn reads(&self, variable: &str) -> bool {
        self.references.iter().flatten().any(|found| matches!(found, Reference::Variable(name) if **name == *variable))
    }

    pub fn result_type(&self) -> &Type {
        self.type_of(self.ast.root.id)
    }
}

pub fn check(ast: Ast, source: &Source, env: &Env) -> Result<Checked, Issues> {
    let count = ast.offsets.len();
    let mut checker = Checker {
        env,
        source,
        offsets: &ast.offsets,
        types: vec![Type::Error; count],
        references: vec![None; count],
        solver: Solver::default(),
        scopes: Vec::new(),
        issues: Vec::new(),
    };
    checker.check(&ast.root);
    if checker.issues.is_empty() {
        checker.finish();
        literals::validate(&mut checker, &ast.root);
    }
    let Checker { types, references, issues, .. } = checker;
    if !issues.is_empty() {
        return Err(source.issues(issues));
    }
    Ok(Checked { ast, types, references })
}

struct Checker<'a> {
    env: &'a Env,
    source: &'a Source,
    offsets: &'a [u32],
    types: Vec<Type>,
    references: Vec<Option<Reference>>,
    solver: Solver,
    /// Variables of folds, innermost last.
    scopes: Vec<(Arc<str>, Type)>,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn error(&mut self, id: Id, message: String) {
        let location = self.source.location(self.offsets[id as usize] as usize);
        self.issues.push(Issue { location, message });
    }

    fn set(&mut self, expr: &Expr, t: Type) {
        self.types[expr.id as usize] = t;
    }

    fn get(&self, expr: &Expr) -> Type {
        self.types[expr.id as usize].clone()
    }

    fn refer(&mut self, expr: &Expr, reference: Reference) {
        self.references[expr.id as usize] = Some(reference);
    }

    fn finish(&mut self) {
        for t in &mut self.types {
            *t = self.solver.substitute(t, true);
        }
    }

    fn check(&mut self, expr: &Expr) {
        stack::deeper(|| self.check_here(expr));
    }

    fn check_here(&mut self, expr: &Expr) {
        match &expr.kind {
            Kind::Literal(literal) => self.set(expr, literal_type(literal)),
            Kind::Ident(name) => self.ident(expr, name),
            Kind::Select(select) => self.select(expr, select),
            Kind::Call(call) => self.call(expr, call),
            Kind::List(elements) => self.list(expr, elements),
            Kind::Map(entries) => self.map(expr, entries),
            Kind::Struct(name, fields) => self.construct(expr, name, fields),
            Kind::Comprehension(fold) => self.fold(expr, fold),
            Kind::Missing => {}
        }
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.error(id, format!("undeclared reference to '{name}' (in container '')"));
    }

    fn ident(&mut self, expr: &Expr, name: &Arc<str>) {
        let Some((t, reference)) = self.lookup(name) else {
            self.set(expr, Type::Error);
            return self.undeclared(expr.id, name);
        };
        self.set(expr, t);
        self.refer(expr, reference);
    }

    fn lookup(&self, name: &str) -> Option<(Type, Reference)> {
        if let Some((name, t)) = self.scopes.iter().rev().find(|(local, _)| **local == *name) {
            return Some((t.clone(), Reference::Variable(name.clone())));
        }
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((name, t)) = self.env.variable(name) {
            return Some((t.clone(), Reference::Variable(name.clone())));
        }
        if let Some((name, t)) = self.env.field_variable(name) {
            return Some((t.clone(), Reference::Field(name.clone())));
        }
        let named = self.env.named_type(name)?;
        Some((Type::type_of(named.clone()), Reference::Type(named)))
    }

    fn select(&mut self, expr: &Expr, select: &Select) {
        if let Some((t, reference)) = qualified_name(expr).and_then(|name| self.lookup(&name)) {
            self.set(expr, t);
            return self.refer(expr, reference);
        }
        let mut t = self.select_field(expr, &select.operand, &select.field, false);
        if select.test_only {
            t = Type::Bool;
        }
        let t = self.solver.substitute(&t, false);
        self.set(expr, t);
    }

    fn select_field(&mut self, expr: &Expr, operand: &Expr, field: &str, optional: bool) -> Type {
        self.check(operand);
        let operand = self.solver.substitute(&self.get(operand), false);
        let inner = operand.unwrap_optional();
        let target = inner.unwrap_or(&operand);
        let result = match target {
            Type::Map(_, value) => (**value).clone(),
            Type::Struct(name) => self.field_type(expr.id, name, field).unwrap_or(Type::Error),
            Type::Var(_) => {
                self.solver.assignable(&Type::Dyn, target);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.error(expr.id, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if inner.is_some() || optional { Type::optional(result) } else { result }
    }

    fn field_type(&mut self, id: Id, object: &str, field: &str) -> Option<Type> {
        if !self.env.has_struct(object) {
            self.error(id, format!("unexpected failed resolution of '{object}'"));
            return None;
        }
        let found = self.env.field_type(object, field);
        if found.is_none() {
            self.error(id, format!("undefined field '{field}'"));
        }
        found
    }

    /// The type of elements of both types.
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else { return current };
        if self.solver.assignable(&previous, &current) {
            return most_general(previous, current);
        }
        // Mixed literals are refused later, where they are not arguments of `format`.
        Type::Dyn
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.error(id, format!("expected type '{expected}' but found '{found}'"));
    }

    /// The type within an optional element, which must be one.
    fn unwrap(&mut self, expr: &Expr) -> Type {
        let t = self.get(expr);
        match t.unwrap_optional() {
            Some(inner) => inner.clone(),
            None => {
                if t != Type::Dyn {
                    self.mismatch(expr.id, &Type::optional(t.clone()), &t);
                }
                t
            }
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// `a.b.c` as one name, if the expression can be read so.
pub fn qualified_name(expr: &Expr) -> Option<String> {
    match &expr.kind {
        Kind::Ident(name) => Some(name.to_string()),
        Kind::Select(select) if !select.test_only => {
            Some(format!("{}.{}", qualified_name(&select.operand)?, select.field))
        }
        _ => None,
    }
}
