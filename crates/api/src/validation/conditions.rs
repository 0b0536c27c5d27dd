//! `metav1.Condition`, in the statuses of kinds that check theirs.

use serde_json::Value;

use super::prelude::*;
use crate::names;

const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;

pub(crate) fn conditions(list: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    for (i, condition) in list.iter().enumerate() {
        let (path, ty) = (path.index(i), condition.text("type"));
        if list[..i].iter().any(|other| other.text("type") == ty) {
            errors.duplicate(&path, ty);
        }
        match ty {
            "" => errors.required(&path.child("type"), "is required"),
            _ => qualified_name(ty, &path.child("type"), errors),
        }
        match condition.text("status") {
            "" => errors.required(&path.child("status"), ""),
            status => one_of(status, &["False", "True", "Unknown"], &path.child("status"), errors),
        }
        let generation = condition.int("observedGeneration");
        if generation < 0 {
            errors.invalid(&path.child("observedGeneration"), generation, "must be greater than or equal to zero");
        }
        if !condition.has("lastTransitionTime") {
            errors.required(&path.child("lastTransitionTime"), "");
        }
        reason(condition.text("reason"), &path.child("reason"), errors);
        if condition.text("message").len() > MAX_MESSAGE {
            errors.too_long(&path.child("message"), MAX_MESSAGE);
        }
    }
}

fn reason(reason: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if reason.is_empty() {
        return errors.required(path, "");
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ':');
    let ends = reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if !ends || !reason.chars().all(inner) {
        let text = "a condition reason must start with alphabetic character, optionally followed by a string of \
                    alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
        let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
        errors.invalid(path, reason, names::pattern(text, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples));
    }
    if reason.len() > MAX_REASON {
        errors.too_long(path, MAX_REASON);
    }
}
