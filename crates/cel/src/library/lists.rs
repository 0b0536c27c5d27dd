//! Lists: Kubernetes' folds and CEL's own additions.

use std::cmp::Ordering;

use super::standard::add;
use super::strings::number;
use crate::decls::Op;
use crate::value::{List, Result, Value, fail, no_overload};

/// The longest list `lists.range` makes.
const MAX_RANGE: i64 = 1_000_000;

pub fn op(function: &str, overload: &str) -> Option<Op> {
    Some(match function {
        "isSorted" => |_, args| is_sorted(&args[0]),
        "sum" => match overload {
            "list_uint_sum_uint" => |_, args| sum(Value::Uint(0), &args[0]),
            "list_double_sum_double" => |_, args| sum(Value::Double(0.0), &args[0]),
            "list_duration_sum_duration" => |_, args| sum(Value::Duration(0), &args[0]),
            _ => |_, args| sum(Value::Int(0), &args[0]),
        },
        "min" => |_, args| best("min", Ordering::Greater, &args[0]),
        "max" => |_, args| best("max", Ordering::Less, &args[0]),
        "indexOf" => |_, args| position(args, list(&args[0])?.iter().position(|item| item.equals(&args[1]))),
        "lastIndexOf" => |_, args| {
            let items = list(&args[0])?.to_vec()?;
            position(args, items.iter().rposition(|item| item.equals(&args[1])))
        },
        "first" => |_, args| end(&args[0], |length| length.checked_sub(1).map(|_| 0)),
        "last" => |_, args| end(&args[0], |length| length.checked_sub(1)),
        "slice" => |_, args| slice(args),
        "flatten" => |_, args| {
            let depth = args.get(1).map_or(Ok(1), number)?;
            if depth < 0 {
                return fail("level must be non-negative");
            }
            let mut flat = Vec::new();
            flatten(list(&args[0])?, depth, &mut flat)?;
            Ok(Value::list(flat))
        },
        "lists.range" => |_, args| range(&args[0]),
        "reverse" => |_, args| {
            let mut items = list(&args[0])?.to_vec()?;
            items.reverse();
            Ok(Value::list(items))
        },
        "distinct" => |_, args| distinct(&args[0]),
        _ => return None,
    })
}

pub fn list<'v, 'a>(value: &'v Value<'a>) -> Result<&'v List<'a>> {
    match value {
        Value::List(list) => Ok(list),
        _ => no_overload(),
    }
}

fn is_sorted<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    let items = list(value)?.to_vec()?;
    for pair in items.windows(2) {
        if pair[0].compare(&pair[1])?.is_gt() {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(zero: Value<'a>, value: &Value<'a>) -> Result<Value<'a>> {
    list(value)?.to_vec()?.iter().try_fold(zero, |total, item| add(&total, item))
}

fn best<'a>(name: &str, replace: Ordering, value: &Value<'a>) -> Result<Value<'a>> {
    let mut items = list(value)?.to_vec()?.into_iter();
    let Some(mut best) = items.next() else { return fail(format!("{name} called on empty list")) };
    for item in items {
        if best.compare(&item)? == replace {
            best = item;
        }
    }
    Ok(best)
}

fn position<'a>(_args: &[Value<'a>], found: Option<usize>) -> Result<Value<'a>> {
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

fn end<'a>(value: &Value<'a>, at: fn(usize) -> Option<usize>) -> Result<Value<'a>> {
    let list = list(value)?;
    match at(list.len()) {
        Some(at) => Ok(Value::some(list.get(at)?)),
        None => Ok(Value::NONE),
    }
}

fn slice<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let (list, start, end) = (list(&args[0])?, number(&args[1])?, number(&args[2])?);
    if start < 0 || end < 0 {
        return fail(format!("cannot slice({start}, {end}), negative indexes not supported"));
    }
    if start > end {
        return fail(format!("cannot slice({start}, {end}), start index must be less than or equal to end index"));
    }
    if (list.len() as i64) < end {
        return fail(format!("cannot slice({start}, {end}), list is length {}", list.len()));
    }
    (start..end).map(|at| list.get(at as usize)).collect::<Result<_>>().map(Value::list)
}

fn flatten<'a>(list: &List<'a>, depth: i64, flat: &mut Vec<Value<'a>>) -> Result<()> {
    for item in list.to_vec()? {
        match item {
            Value::List(inner) if depth > 0 => flatten(&inner, depth - 1, flat)?,
            item => flat.push(item),
        }
    }
    Ok(())
}

fn range<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    let size = number(value)?;
    if size < 0 {
        return fail(format!("lists.range: size must be non-negative, got {size}"));
    }
    if size > MAX_RANGE {
        return fail(format!("lists.range: size {size} exceeds maximum allowed ({MAX_RANGE})"));
    }
    Ok(Value::list((0..size).map(Value::Int).collect()))
}

fn distinct<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    let mut unique: Vec<Value<'a>> = Vec::new();
    for item in list(value)?.to_vec()? {
        if !unique.iter().any(|other| item.equals(other)) {
            unique.push(item);
        }
    }
    Ok(Value::list(unique))
}
