//! Strings: positions count code points.

use crate::decls::Op;
use crate::value::{Result, Value, fail, no_overload};

pub fn op(function: &str, overload: &str) -> Option<Op> {
    if overload.starts_with("list_a_") {
        return None;
    }
    Some(match function {
        "charAt" => |_, args| char_at(args),
        "indexOf" => |_, args| index_of(args),
        "lastIndexOf" => |_, args| last_index_of(args),
        "lowerAscii" => |_, args| Ok(Value::string(text(&args[0])?.to_ascii_lowercase())),
        "upperAscii" => |_, args| Ok(Value::string(text(&args[0])?.to_ascii_uppercase())),
        "trim" => |_, args| Ok(Value::string(text(&args[0])?.trim_matches(is_go_space).to_owned())),
        "replace" => |_, args| replace(args),
        "split" => |_, args| split(args),
        "substring" => |_, args| substring(args),
        "join" => |_, args| join(args),
        "strings.quote" => |_, args| Ok(Value::string(quote(text(&args[0])?))),
        _ => return None,
    })
}

pub fn text<'v>(value: &'v Value<'_>) -> Result<&'v str> {
    value.as_str().map_or_else(no_overload, Ok)
}

pub fn number(value: &Value<'_>) -> Result<i64> {
    match value {
        Value::Int(value) => Ok(*value),
        _ => no_overload(),
    }
}

fn out_of_range<T>(index: i64) -> Result<T> {
    fail(format!("index out of range: {index}"))
}

/// Go's `unicode.IsSpace`.
fn is_go_space(c: char) -> bool {
    c.is_whitespace()
}

fn char_at<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let (text, index) = (text(&args[0])?, number(&args[1])?);
    let Ok(at) = usize::try_from(index) else { return out_of_range(index) };
    match text.chars().nth(at) {
        Some(c) => Ok(Value::string(c.to_string())),
        None if text.chars().count() == at => Ok(Value::string("")),
        None => out_of_range(index),
    }
}

fn index_of<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let (haystack, needle) = (text(&args[0])?, text(&args[1])?);
    let offset = args.get(2).map_or(Ok(0), number)?;
    let Ok(from) = usize::try_from(offset) else { return out_of_range(offset) };
    let chars: Vec<char> = haystack.chars().collect();
    let needle: Vec<char> = needle.chars().collect();
    if needle.is_empty() {
        return Ok(Value::Int(offset.min(chars.len() as i64)));
    }
    let found = (from..chars.len()).find(|at| chars[*at..].starts_with(&needle));
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

fn last_index_of<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let haystack: Vec<char> = text(&args[0])?.chars().collect();
    let needle: Vec<char> = text(&args[1])?.chars().collect();
    let length = haystack.len() as i64;
    let Some(offset) = args.get(2) else {
        if needle.is_empty() {
            return Ok(Value::Int(length));
        }
        return Ok(Value::Int(last_from(&haystack, &needle, haystack.len())));
    };
    let offset = number(offset)?;
    let Ok(from) = usize::try_from(offset) else { return out_of_range(offset) };
    if needle.is_empty() {
        return Ok(Value::Int(offset.min(length)));
    }
    let found = if from >= haystack.len() { -1 } else { last_from(&haystack, &needle, from) };
    Ok(Value::Int(found))
}

fn last_from(haystack: &[char], needle: &[char], from: usize) -> i64 {
    let Some(last) = haystack.len().checked_sub(needle.len()) else { return -1 };
    let found = (0..=from.min(last)).rev().find(|at| haystack[*at..].starts_with(needle));
    found.map_or(-1, |at| at as i64)
}

fn replace<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let (whole, old, new) = (text(&args[0])?, text(&args[1])?, text(&args[2])?);
    let limit = args.get(3).map_or(Ok(-1), number)?;
    Ok(Value::string(match usize::try_from(limit) {
        Ok(limit) => whole.replacen(old, new, limit),
        Err(_) => whole.replace(old, new),
    }))
}

fn split<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let (whole, separator) = (text(&args[0])?, text(&args[1])?);
    let limit = args.get(2).map_or(Ok(-1), number)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts: Vec<&str> = if separator.is_empty() {
        characters(whole, limit)
    } else {
        match limit {
            0 => Vec::new(),
            usize::MAX => whole.split(separator).collect(),
            limit => whole.splitn(limit, separator).collect(),
        }
    };
    Ok(Value::list(parts.into_iter().map(|part| Value::string(part.to_owned())).collect()))
}

/// Every character for itself; the last part holds what is left.
fn characters(text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 >= limit {
            break;
        }
        let (first, after) = rest.split_at(c.len_utf8());
        parts.push(first);
        rest = after;
    }
    if !rest.is_empty() && limit > 0 {
        parts.push(rest);
    }
    parts
}

fn substring<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let whole = text(&args[0])?;
    let length = whole.chars().count() as i64;
    let start = number(&args[1])?;
    let end = args.get(2).map_or(Ok(length), number)?;
    if args.len() == 3 && start > end {
        return fail(format!("invalid substring range. start: {start}, end: {end}"));
    }
    for index in [start, end] {
        if !(0..=length).contains(&index) {
            return out_of_range(index);
        }
    }
    let part: String = whole.chars().skip(start as usize).take((end - start) as usize).collect();
    Ok(Value::string(part))
}

fn join<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let Value::List(list) = &args[0] else { return no_overload() };
    let separator = args.get(1).map_or(Ok(""), text)?;
    let mut out = String::new();
    for index in 0..list.len() {
        if index > 0 {
            out.push_str(separator);
        }
        match list.get(index)? {
            Value::String(text) => out.push_str(&text),
            other => return fail(format!("join: invalid input: {other}")),
        }
    }
    Ok(Value::string(out))
}

fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
