//! Literals that a function would refuse, found before anything runs.

use super::{Checker, Reference};
use crate::ast::{Call, Expr, Kind, Literal};
use crate::plan::constant;
use crate::stack;
use crate::types::Type;
use crate::value::convert;

/// Walks the tree once it has types.
pub fn validate(checker: &mut Checker<'_>, expr: &Expr) {
    walk(checker, expr, false);
}

/// `mixed` within the arguments of `format`, which may be of any types.
fn walk(checker: &mut Checker<'_>, expr: &Expr, mixed: bool) {
    stack::deeper(|| walk_here(checker, expr, mixed));
}

fn walk_here(checker: &mut Checker<'_>, expr: &Expr, mixed: bool) {
    match &expr.kind {
        Kind::Literal(_) | Kind::Ident(_) | Kind::Missing => {}
        Kind::Select(select) => walk(checker, &select.operand, mixed),
        Kind::Call(call) => {
            argument(checker, expr, call);
            let mixed = mixed || *call.function == *"format";
            call.target.iter().chain(&call.args).for_each(|child| walk(checker, child, mixed));
        }
        Kind::List(elements) => {
            elements.iter().for_each(|element| walk(checker, &element.value, mixed));
            if !mixed {
                same_types(checker, elements.iter().map(|e| (&e.value, e.optional)), true);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                walk(checker, &entry.key, mixed);
                walk(checker, &entry.value, mixed);
            }
            if !mixed {
                same_types(checker, entries.iter().map(|e| (&e.key, false)), false);
                same_types(checker, entries.iter().map(|e| (&e.value, e.optional)), false);
            }
        }
        Kind::Struct(_, fields) => fields.iter().for_each(|field| walk(checker, &field.value, mixed)),
        Kind::Comprehension(fold) => {
            for part in [&fold.range, &fold.accu_init, &fold.condition, &fold.step, &fold.result] {
                walk(checker, part, mixed);
            }
        }
    }
}

fn argument(checker: &mut Checker<'_>, expr: &Expr, call: &Call) {
    let name = match checker.references[expr.id as usize] {
        Some(Reference::Call(function, _)) => function.name,
        _ => return,
    };
    if name == "format" {
        if let Some((id, message)) = crate::library::format::validate(expr.id, call, |arg| checker.get(arg)) {
            checker.error(id, message);
        }
        return;
    }
    let Some(arg) = call.args.first() else { return };
    let Kind::Literal(literal) = &arg.kind else { return };
    let fine = match (name, literal) {
        ("duration", literal) => convert::to_duration(&constant(literal)).is_ok(),
        ("timestamp", literal) => convert::to_timestamp(&constant(literal)).is_ok(),
        ("matches", Literal::String(pattern)) => crate::re2::compile(pattern).is_ok(),
        _ => true,
    };
    if !fine {
        checker.error(arg.id, format!("invalid {name} argument"));
    }
}

/// Elements of a literal must have one type; of a list only the first that has not is told.
fn same_types<'e>(checker: &mut Checker<'_>, elements: impl Iterator<Item = (&'e Expr, bool)>, once: bool) {
    let mut first: Option<Type> = None;
    for (expr, optional) in elements {
        let t = checker.get(expr);
        let t = if optional { t.unwrap_optional().cloned().unwrap_or(Type::Dyn) } else { t };
        match &first {
            None => first = Some(t),
            Some(first) if *first == t => {}
            Some(first) => {
                let first = first.clone();
                checker.mismatch(expr.id, &first, &t);
                if once {
                    return;
                }
            }
        }
    }
}
