//! Regular expressions.

use std::borrow::Cow;

use regex::Regex;

use super::strings::{number, text};
use crate::decls::{Invocation, Op};
use crate::re2;
use crate::value::{Result, Value, fail};

pub fn op(function: &str, _overload: &str) -> Option<Op> {
    Some(match function {
        "matches" => |call, args| {
            let regex = regex(call, &args[1]).or_else(fail)?;
            Ok(Value::Bool(regex.is_match(text(&args[0])?)))
        },
        "find" => |call, args| {
            let regex = regex(call, &args[1]).or_else(|error| fail(format!("Illegal regex: {error}")))?;
            let found = regex.find(text(&args[0])?).map_or("", |found| found.as_str());
            Ok(Value::string(found.to_owned()))
        },
        "findAll" => |call, args| {
            let regex = regex(call, &args[1]).or_else(|error| fail(format!("Illegal regex: {error}")))?;
            let limit = args.get(2).map_or(Ok(-1), number)?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let found = regex.find_iter(text(&args[0])?).take(limit);
            Ok(Value::list(found.map(|part| Value::string(part.as_str().to_owned())).collect()))
        },
        _ => return None,
    })
}

fn regex<'c>(call: &Invocation<'c>, pattern: &Value<'_>) -> Result<Cow<'c, Regex>, String> {
    match call.regex {
        Some(regex) => Ok(Cow::Borrowed(regex)),
        None => re2::compile(pattern.as_str().unwrap_or_default()).map(Cow::Owned),
    }
}
