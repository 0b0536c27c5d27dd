//! Whether one type can stand where another is wanted, and what that says about the unknown ones.

use crate::types::Type;

/// What is known of the type variables.
#[derive(Default)]
pub struct Solver {
    bound: Vec<Option<Type>>,
    /// Changes since the last commit, to take back.
    undo: Vec<(u32, Option<Type>)>,
}

impl Solver {
    pub fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Var((self.bound.len() - 1) as u32)
    }

    /// True if `actual` agrees with `wanted`; what is learned is kept only then.
    pub fn assignable(&mut self, actual: &Type, wanted: &Type) -> bool {
        self.attempt(|solver| solver.agree(actual, wanted))
    }

    pub fn all_assignable(&mut self, actual: &[Type], wanted: &[Type]) -> bool {
        actual.len() == wanted.len()
            && self.attempt(|solver| actual.iter().zip(wanted).all(|(a, w)| solver.agree(a, w)))
    }

    fn attempt(&mut self, test: impl FnOnce(&mut Self) -> bool) -> bool {
        self.undo.clear();
        if test(self) {
            return true;
        }
        while let Some((var, old)) = self.undo.pop() {
            self.bound[var as usize] = old;
        }
        false
    }

    fn bind(&mut self, var: u32, to: Type) {
        let old = self.bound[var as usize].replace(to);
        self.undo.push((var, old));
    }

    /// Replaces solved variables; unsolved ones too, by `dyn`, if `finish`.
    pub fn substitute(&self, t: &Type, finish: bool) -> Type {
        match t {
            Type::Var(var) => match &self.bound[*var as usize] {
                Some(bound) => self.substitute(bound, finish),
                None if finish => Type::Dyn,
                None => t.clone(),
            },
            other => other.map_inner(|inner| self.substitute(inner, finish)),
        }
    }

    fn agree(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Var(var) = b {
            let (valid, had) = self.agree_var(a, *var);
            if valid {
                return true;
            }
            if had {
                return false;
            }
        }
        if let Type::Var(var) = a {
            return self.agree_var(b, *var).0;
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) => self.agree(a, b),
            (Type::Map(ak, av), Type::Map(bk, bv)) => self.agree(ak, bk) && self.agree(av, bv),
            (Type::Opaque(an, ap), Type::Opaque(bn, bp)) => {
                an == bn && ap.len() == bp.len() && ap.iter().zip(bp.iter()).all(|(a, b)| self.agree(a, b))
            }
            _ => a == b,
        }
    }

    /// Whether `t` can be what `var` stands for, and whether `var` already stood for something.
    fn agree_var(&mut self, t: &Type, var: u32) -> (bool, bool) {
        if *t == Type::Var(var) {
            return (true, true);
        }
        if let Some(bound) = self.bound[var as usize].clone() {
            if *t == bound {
                return (true, true);
            }
            if !self.agree(t, &bound) {
                return (false, true);
            }
            let general = if less_specific(t, &bound) { t.clone() } else { bound };
            if !self.occurs(var, &general) {
                self.bind(var, general);
            }
            return (true, true);
        }
        if self.occurs(var, t) {
            return (false, false);
        }
        self.bind(var, t.clone());
        (true, false)
    }

    /// Whether `var` appears within `t`: then it cannot be `t`.
    fn occurs(&self, var: u32, t: &Type) -> bool {
        match t {
            Type::Var(other) if *other == var => true,
            Type::Var(other) => self.bound[*other as usize].as_ref().is_some_and(|bound| self.occurs(var, bound)),
            Type::List(element) => self.occurs(var, element),
            Type::Map(key, value) => self.occurs(var, key) || self.occurs(var, value),
            Type::Opaque(_, params) => params.iter().any(|param| self.occurs(var, param)),
            Type::Type(Some(inner)) => self.occurs(var, inner),
            _ => false,
        }
    }
}

/// Types `null` may stand for.
fn nullable(t: &Type) -> bool {
    matches!(t, Type::Null | Type::Opaque(..) | Type::Struct(_) | Type::Duration | Type::Timestamp)
}

/// The more general of two types that agree.
pub fn most_general(a: Type, b: Type) -> Type {
    if less_specific(&a, &b) { a } else { b }
}

fn less_specific(a: &Type, b: &Type) -> bool {
    let open = |t: &Type| matches!(t, Type::Dyn | Type::Var(_) | Type::Param(_));
    if open(a) {
        return true;
    }
    if open(b) {
        return false;
    }
    match (a, b) {
        (Type::List(a), Type::List(b)) => less_specific(a, b),
        (Type::Map(ak, av), Type::Map(bk, bv)) => less_specific(ak, bk) && less_specific(av, bv),
        (Type::Opaque(an, ap), Type::Opaque(bn, bp)) => {
            an == bn && ap.len() == bp.len() && ap.iter().zip(bp.iter()).all(|(a, b)| less_specific(a, b))
        }
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}
