//! The language's own operators and conversions.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::decls::Op;
use crate::value::convert;
use crate::value::{List, Map, Result, Value, fail, no_overload};

pub fn op(function: &str, _overload: &str) -> Option<Op> {
    Some(match function {
        "!_" => |_, args| match &args[0] {
            Value::Bool(value) => Ok(Value::Bool(!value)),
            _ => no_overload(),
        },
        "-_" => |_, args| negate(&args[0]),
        "_+_" => |_, args| add(&args[0], &args[1]),
        "_-_" => |_, args| subtract(&args[0], &args[1]),
        "_*_" => |_, args| multiply(&args[0], &args[1]),
        "_/_" => |_, args| divide(&args[0], &args[1]),
        "_%_" => |_, args| modulo(&args[0], &args[1]),
        "_<_" => |_, args| order("_<_", args, Ordering::is_lt),
        "_<=_" => |_, args| order("_<=_", args, Ordering::is_le),
        "_>_" => |_, args| order("_>_", args, Ordering::is_gt),
        "_>=_" => |_, args| order("_>=_", args, Ordering::is_ge),
        "_==_" => |_, args| Ok(Value::Bool(args[0].equals(&args[1]))),
        "_!=_" => |_, args| Ok(Value::Bool(!args[0].equals(&args[1]))),
        "@in" => |_, args| contains(&args[0], &args[1]),
        "size" => |_, args| match args[0].size() {
            Some(size) => Ok(Value::Int(size as i64)),
            None => fail("no such overload: size"),
        },
        "type" => |_, args| Ok(Value::Type(args[0].type_name().into())),
        "dyn" => |_, args| Ok(args[0].clone()),
        "bool" => |_, args| convert::to_bool(&args[0]),
        "bytes" => |_, args| convert::to_bytes(&args[0]),
        "double" => |_, args| convert::to_double(&args[0]),
        "duration" => |_, args| convert::to_duration(&args[0]),
        "int" => |_, args| convert::to_int(&args[0]),
        "string" => |_, args| convert::to_string(&args[0]),
        "timestamp" => |_, args| convert::to_timestamp(&args[0]),
        "uint" => |_, args| convert::to_uint(&args[0]),
        "contains" => |_, args| text_test(args, |text, part| text.contains(part)),
        "startsWith" => |_, args| text_test(args, |text, part| text.starts_with(part)),
        "endsWith" => |_, args| text_test(args, |text, part| text.ends_with(part)),
        "cel.@mapInsert" => |_, args| map_insert(args),
        _ => return None,
    })
}

const INT_OVERFLOW: &str = "integer overflow";
const UINT_OVERFLOW: &str = "unsigned integer overflow";
const DURATION_OVERFLOW: &str = "duration overflow";

fn int<'a>(value: Option<i64>) -> Result<Value<'a>> {
    value.map_or_else(|| fail(INT_OVERFLOW), |value| Ok(Value::Int(value)))
}

fn uint<'a>(value: Option<u64>) -> Result<Value<'a>> {
    value.map_or_else(|| fail(UINT_OVERFLOW), |value| Ok(Value::Uint(value)))
}

fn duration<'a>(value: Option<i64>) -> Result<Value<'a>> {
    value.map_or_else(|| fail(DURATION_OVERFLOW), |value| Ok(Value::Duration(value)))
}

fn negate<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Int(value) => int(value.checked_neg()),
        Value::Double(value) => Ok(Value::Double(-value)),
        Value::Duration(value) => duration(value.checked_neg()),
        _ => unknown("-_", value),
    }
}

fn order<'a>(operator: &str, args: &[Value<'a>], test: fn(Ordering) -> bool) -> Result<Value<'a>> {
    if !args[0].is_comparable() {
        return unknown(operator, &args[0]);
    }
    Ok(Value::Bool(test(args[0].compare(&args[1])?)))
}

/// The left operand does not know the operator; some types are asked nonetheless and name nothing.
fn unknown<'a>(operator: &str, left: &Value<'a>) -> Result<Value<'a>> {
    match left {
        Value::String(_) | Value::Duration(_) | Value::Timestamp(_) => no_overload(),
        _ => fail(format!("no such overload: {operator}")),
    }
}

pub fn add<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(a);
            text.push_str(b);
            Ok(Value::string(text))
        }
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes(a.iter().chain(b.iter()).copied().collect())),
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_add(*b)),
        (Value::Duration(nanos), Value::Timestamp(time)) | (Value::Timestamp(time), Value::Duration(nanos)) => {
            Ok(Value::Timestamp(time.add(*nanos)?))
        }
        (Value::List(a), Value::List(b)) => Ok(Value::List(a.add(b)?)),
        _ => mixed("_+_", a, matches!(a, Value::List(_) | Value::String(_) | Value::Bytes(_))),
    }
}

fn subtract<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_sub(*b)),
        (Value::Timestamp(time), Value::Duration(nanos)) => match nanos.checked_neg() {
            Some(nanos) => Ok(Value::Timestamp(time.add(nanos)?)),
            None => fail("timestamp overflow"),
        },
        (Value::Timestamp(a), Value::Timestamp(b)) => Ok(Value::Duration(a.since(b)?)),
        _ => mixed("_-_", a, false),
    }
}

fn multiply<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_mul(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_mul(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => mixed("_*_", a, false),
    }
}

fn divide<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => fail("division by zero"),
        (Value::Int(a), Value::Int(b)) => int(a.checked_div(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_div(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => mixed("_/_", a, false),
    }
}

fn modulo<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => fail("modulus by zero"),
        (Value::Int(a), Value::Int(b)) => int(a.checked_rem(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_rem(*b)),
        (Value::Int(_) | Value::Uint(_), _) => no_overload(),
        _ => unknown("_%_", a),
    }
}

/// The left operand knows the operator but not the right one, or does not know the operator.
fn mixed<'a>(operator: &str, left: &Value<'a>, knows: bool) -> Result<Value<'a>> {
    let number = matches!(left, Value::Int(_) | Value::Uint(_) | Value::Double(_));
    if knows || number { no_overload() } else { unknown(operator, left) }
}

fn contains<'a>(value: &Value<'a>, container: &Value<'a>) -> Result<Value<'a>> {
    match container {
        Value::List(list) => Ok(Value::Bool(list.contains(value)?)),
        Value::Map(map) => Ok(Value::Bool(map.find(value)?.is_some())),
        _ => no_overload(),
    }
}

fn text_test<'a>(args: &[Value<'a>], test: fn(&str, &str) -> bool) -> Result<Value<'a>> {
    match args {
        [Value::String(text), Value::String(part)] => Ok(Value::Bool(test(text, part))),
        _ => no_overload(),
    }
}

fn map_insert<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Map(map), key, value] => {
            let mut map = map.clone();
            map.insert(key, value.clone())?;
            Ok(Value::Map(map))
        }
        [Value::Map(map), Value::Map(more)] => {
            let mut map = map.clone();
            for (key, value) in more.entries()? {
                map.insert(&key, value)?;
            }
            Ok(Value::Map(map))
        }
        _ => no_overload(),
    }
}

/// Appends to a list that nobody else holds without copying it: the step of `map` and `filter`.
pub fn append<'a>(list: Value<'a>, more: &Value<'a>) -> Result<Value<'a>> {
    match (list, more) {
        (Value::List(List::Items(mut items)), Value::List(List::Items(more))) => {
            Arc::make_mut(&mut items).extend(more.iter().cloned());
            Ok(Value::List(List::Items(items)))
        }
        (list, more) => add(&list, more),
    }
}

/// Puts entries into a map that nobody else holds without copying it: the step of `transformMap`.
pub fn insert<'a>(map: Value<'a>, entry: &[Value<'a>]) -> Result<Value<'a>> {
    let Value::Map(mut map) = map else { return no_overload() };
    match entry {
        [key, value] => map.insert(key, value.clone())?,
        [Value::Map(more)] => {
            for (key, value) in Map::entries(more)? {
                map.insert(&key, value)?;
            }
        }
        _ => return no_overload(),
    }
    Ok(Value::Map(map))
}
