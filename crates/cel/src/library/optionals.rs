//! Values that may be absent.

use super::lists::list;
use crate::decls::Op;
use crate::value::{Result, Value, fail, no_overload};

pub fn op(function: &str, _overload: &str) -> Option<Op> {
    Some(match function {
        "optional.of" => |_, args| Ok(Value::some(args[0].clone())),
        "optional.none" => |_, _| Ok(Value::NONE),
        "optional.ofNonZeroValue" => {
            |_, args| Ok(if args[0].is_zero() { Value::NONE } else { Value::some(args[0].clone()) })
        }
        "hasValue" => |_, args| match &args[0] {
            Value::Optional(value) => Ok(Value::Bool(value.is_some())),
            _ => no_overload(),
        },
        "value" => |_, args| match &args[0] {
            Value::Optional(Some(value)) => Ok((**value).clone()),
            Value::Optional(None) => fail("optional.none() dereference"),
            _ => no_overload(),
        },
        "optional.unwrap" | "unwrapOpt" => |_, args| unwrap(&args[0]),
        _ => return None,
    })
}

fn unwrap<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    let mut values = Vec::new();
    for item in list(value)?.to_vec()? {
        match item {
            Value::Optional(Some(value)) => values.push((*value).clone()),
            Value::Optional(None) => {}
            other => return fail(format!("value at index {} is not an optional", other.type_name())),
        }
    }
    Ok(Value::list(values))
}
