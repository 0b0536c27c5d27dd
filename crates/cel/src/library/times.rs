//! Parts of times and durations.

use crate::decls::Op;
use crate::value::time::{Civil, zone_offset};
use crate::value::{Result, Value, no_overload};

pub fn op(function: &str, _overload: &str) -> Option<Op> {
    Some(match function {
        "getFullYear" => |_, args| calendar(args, |civil| civil.year),
        "getMonth" => |_, args| calendar(args, |civil| civil.month - 1),
        "getDate" => |_, args| calendar(args, |civil| civil.day),
        "getDayOfMonth" => |_, args| calendar(args, |civil| civil.day - 1),
        "getDayOfYear" => |_, args| calendar(args, |civil| civil.day_of_year),
        "getDayOfWeek" => |_, args| calendar(args, |civil| civil.weekday),
        "getHours" => |_, args| clock(args, |civil| civil.hour, 3_600_000_000_000),
        "getMinutes" => |_, args| clock(args, |civil| civil.minute, 60_000_000_000),
        "getSeconds" => |_, args| clock(args, |civil| civil.second, 1_000_000_000),
        "getMilliseconds" => |_, args| match args {
            [Value::Duration(nanos)] => Ok(Value::Int(nanos / 1_000_000)),
            [Value::Timestamp(time), ..] => {
                calendar(args, |_| 0)?;
                Ok(Value::Int(i64::from(time.nanos) / 1_000_000))
            }
            _ => no_overload(),
        },
        _ => return None,
    })
}

fn calendar<'a>(args: &[Value<'a>], part: fn(&Civil) -> i64) -> Result<Value<'a>> {
    let (time, offset) = match args {
        [Value::Timestamp(time)] => (time, 0),
        [Value::Timestamp(time), Value::String(zone)] => (time, zone_offset(zone, time)?),
        _ => return no_overload(),
    };
    Ok(Value::Int(part(&time.civil(offset))))
}

fn clock<'a>(args: &[Value<'a>], part: fn(&Civil) -> i64, unit: i64) -> Result<Value<'a>> {
    match args {
        [Value::Duration(nanos)] => Ok(Value::Int(nanos / unit)),
        _ => calendar(args, part),
    }
}
