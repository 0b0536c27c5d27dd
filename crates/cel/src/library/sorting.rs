//! `sort` and what `sortBy` becomes.

use super::lists::list;
use crate::decls::Op;
use crate::value::{Result, Value, fail};

pub fn op(function: &str, _overload: &str) -> Option<Op> {
    Some(match function {
        "sort" => |_, args| sort(&args[0], &args[0]),
        "@sortByAssociatedKeys" => |_, args| sort(&args[0], &args[1]),
        _ => return None,
    })
}

fn sort<'a>(values: &Value<'a>, keys: &Value<'a>) -> Result<Value<'a>> {
    let (items, keys) = (list(values)?.to_vec()?, list(keys)?.to_vec()?);
    if items.len() != keys.len() {
        return fail(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} \
             elements respectively",
            items.len(),
            keys.len()
        ));
    }
    let Some(first) = keys.first() else { return Ok(values.clone()) };
    if !first.is_comparable() {
        return fail("list elements must be comparable");
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.iter().cloned().zip(items).collect();
    if keys.len() > 1 && keys.iter().any(|key| key.type_name() != first.type_name()) {
        return fail("list elements must have the same type");
    }
    pairs.sort_by(|(a, _), (b, _)| a.compare(b).unwrap_or(std::cmp::Ordering::Equal));
    Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect()))
}
