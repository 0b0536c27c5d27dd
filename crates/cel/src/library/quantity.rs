//! `resource.Quantity`.

use std::cmp::Ordering;
use std::sync::Arc;

use orlop_base::quantity::{Format, Quantity};

use super::strings::text;
use crate::decls::Op;
use crate::value::{Result, Value, fail, no_overload};

pub fn op(function: &str, overload: &str) -> Option<Op> {
    Some(match overload {
        "string_to_quantity" => |_, args| match Quantity::parse(text(&args[0])?) {
            Ok(quantity) => Ok(Value::Quantity(Arc::new(quantity))),
            Err(error) => fail(error.to_string()),
        },
        "is_quantity_string" => |_, args| Ok(Value::Bool(Quantity::parse(text(&args[0])?).is_ok())),
        "quantity_sign" => |_, args| Ok(Value::Int(i64::from(quantity(&args[0])?.sign()))),
        "quantity_is_greater_than" => |_, args| Ok(Value::Bool(compare(args)?.is_gt())),
        "quantity_is_less_than" => |_, args| Ok(Value::Bool(compare(args)?.is_lt())),
        "quantity_compare_to" => |_, args| Ok(Value::Int(compare(args)? as i64)),
        "quantity_get_float" => |_, args| Ok(Value::Double(quantity(&args[0])?.as_f64())),
        "quantity_get_int" => |_, args| match quantity(&args[0])?.as_i64() {
            Some(value) => Ok(Value::Int(value)),
            None => fail("cannot convert value to integer"),
        },
        "quantity_is_integer" => |_, args| Ok(Value::Bool(quantity(&args[0])?.as_i64().is_some())),
        _ => match function {
            "add" => |_, args| combine(args, Quantity::add),
            "sub" => |_, args| combine(args, Quantity::sub),
            _ => return None,
        },
    })
}

fn quantity<'v>(value: &'v Value<'_>) -> Result<&'v Quantity> {
    match value {
        Value::Quantity(quantity) => Ok(quantity),
        _ => no_overload(),
    }
}

fn compare(args: &[Value<'_>]) -> Result<Ordering> {
    Ok(quantity(&args[0])?.cmp(quantity(&args[1])?))
}

fn combine<'a>(args: &[Value<'a>], change: fn(&mut Quantity, &Quantity)) -> Result<Value<'a>> {
    let mut result = quantity(&args[0])?.clone();
    match &args[1] {
        Value::Int(value) => change(&mut result, &Quantity::new(*value, Format::DecimalExponent)),
        other => change(&mut result, quantity(other)?),
    }
    Ok(Value::Quantity(Arc::new(result)))
}
