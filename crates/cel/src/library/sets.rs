//! Lists as sets.

use super::lists::list;
use crate::decls::Op;
use crate::value::{Result, Value};

pub fn op(function: &str, _overload: &str) -> Option<Op> {
    Some(match function {
        "sets.contains" => |_, args| Ok(Value::Bool(contains(&args[0], &args[1])?)),
        "sets.equivalent" => |_, args| Ok(Value::Bool(contains(&args[0], &args[1])? && contains(&args[1], &args[0])?)),
        "sets.intersects" => |_, args| {
            let other = list(&args[1])?;
            for item in list(&args[0])?.to_vec()? {
                if other.contains(&item)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        },
        _ => return None,
    })
}

fn contains(set: &Value<'_>, part: &Value<'_>) -> Result<bool> {
    let (set, part) = (list(set)?.to_vec()?, list(part)?.to_vec()?);
    Ok(part.iter().all(|item| set.iter().any(|other| item.equals(other))))
}
