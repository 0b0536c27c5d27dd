//! The price of a call, known from its arguments and result.

use super::range::scale;
use super::{AUTHORIZER_CHECK_COST, LIST_COST, REGEX_FACTOR, STRING_FACTOR, STRUCT_COST};
use crate::value::Value;

/// One for what has no size.
fn size(value: &Value<'_>) -> u64 {
    match value {
        Value::Optional(Some(inner)) => size(inner),
        value => value.size().unwrap_or(1),
    }
}

/// Like `size`, but does not look into optionals.
fn plain_size(value: &Value<'_>) -> u64 {
    value.size().unwrap_or(1)
}

fn scan(value: &Value<'_>, times: f64) -> u64 {
    (plain_size(value) as f64 * times * STRING_FACTOR).ceil() as u64
}

fn regex(text: u64, pattern: u64) -> u64 {
    // One more than its length: an empty text does not make a pattern free.
    let text = ((1.0 + text as f64) * STRING_FACTOR).ceil() as u64;
    text * scale(pattern, REGEX_FACTOR)
}

pub fn equality(left: &Value<'_>, right: &Value<'_>, negate: bool) -> u64 {
    let fixed = matches!(
        left,
        Value::Quantity(_)
            | Value::Ip(_)
            | Value::Cidr(_)
            | Value::Format(_)
            | Value::Url(_)
            | Value::Semver(_)
            | Value::Authz(_)
    );
    if fixed && !negate {
        return 1;
    }
    scale(size(left).min(size(right)), STRING_FACTOR)
}

/// `overload` is empty where several fit.
pub fn call(function: &str, overload: &str, args: &[Value<'_>], result: Option<&Value<'_>>) -> u64 {
    extension(overload, args, result)
        .or_else(|| kubernetes(function, overload, args, result))
        .unwrap_or_else(|| standard(overload, args))
}

/// Functions that came with a price of their own.
fn extension(overload: &str, args: &[Value<'_>], result: Option<&Value<'_>>) -> Option<u64> {
    let allocate = |factor: f64, size: u64| ((size as f64 * factor) as u64).saturating_add(1 + LIST_COST);
    let result_size = || result.map_or(1, plain_size);
    Some(match overload {
        "list_sets_contains_list" | "list_sets_intersects_list" => 1 + plain_size(&args[0]) * plain_size(&args[1]),
        "list_sets_equivalent_list" => 1 + 2 * plain_size(&args[0]) * plain_size(&args[1]),
        "list_slice" | "lists_range" | "list_reverse" => allocate(1.0, result_size()),
        "list_flatten" => allocate(1.0, plain_size(&args[0])),
        "list_flatten_int" => match &args[1] {
            Value::Int(depth) if *depth >= 0 => allocate(*depth as f64, plain_size(&args[0])),
            _ => allocate(1.0, plain_size(&args[0])),
        },
        "list_distinct" => self_compare(&args[0]),
        _ if overload.ends_with("_sort") && overload.starts_with("list_") => self_compare(&args[0]),
        _ if overload.ends_with("_sortByAssociatedKeys") => self_compare(&args[1]),
        _ => return None,
    })
}

/// Of comparing every element with every other.
fn self_compare(list: &Value<'_>) -> u64 {
    let size = plain_size(list);
    let text = match list {
        Value::List(list) => matches!(list.iter().next(), Some(Value::String(_) | Value::Bytes(_))),
        _ => false,
    };
    let factor = if text { 2.0 + STRING_FACTOR } else { 2.0 };
    ((size.saturating_mul(size) as f64 * factor) as u64).saturating_add(1 + LIST_COST)
}

/// Kubernetes' functions, by their names.
fn kubernetes(function: &str, overload: &str, args: &[Value<'_>], result: Option<&Value<'_>>) -> Option<u64> {
    let first = args.first();
    Some(match function {
        "check" => AUTHORIZER_CHECK_COST,
        "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name" | "allowed"
        | "reason" | "error" | "errored" | "format.named" => 1,
        "masked"
        | "prefixLength"
        | "family"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast" => 1,
        "sign" | "asInteger" | "isInteger" | "asApproximateFloat" | "isGreaterThan" | "isLessThan" | "compareTo"
        | "add" | "sub" | "major" | "minor" | "patch" => 1,
        "getScheme" | "getHostname" | "getHost" | "getPort" | "getEscapedPath" | "getQuery" => 1,
        "fieldSelector" | "labelSelector" => selector(plain_size(&args[1])),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => traversal(first?),
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "jsonpatch.escapeKey" => scan(first?, 1.0),
        "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => scan(first?, 1.0),
        "ip" if overload == "cidr_ip" => 1,
        "ip" => scan(first?, 1.0),
        "replace" | "split" | "ip.isCanonical" => scan(first?, 2.0),
        "join" => result.map_or(1, |result| scan(result, 2.0)),
        "find" | "findAll" => regex(plain_size(&args[0]), plain_size(&args[1])),
        "containsIP" | "containsCIDR" => contains(overload, args),
        "validate" => match &args[0] {
            Value::Format(format) => regex(plain_size(&args[1]), format.regex_size),
            _ => return None,
        },
        _ => return None,
    })
}

fn selector(length: u64) -> u64 {
    // Two characters make a requirement, which takes a struct and a list.
    let requirements = scale(length, 0.5);
    LIST_COST + scale(length, STRING_FACTOR) + requirements * (LIST_COST + STRUCT_COST)
}

fn contains(overload: &str, args: &[Value<'_>]) -> u64 {
    let size = plain_size(&args[0]);
    let compare = scale(size * 2, STRING_FACTOR);
    let parse = if overload.ends_with("_string") { scan(&args[1], 1.0) } else { 0 };
    let mask = if overload.starts_with("cidr_contains_cidr") { scale(size, STRING_FACTOR) + 1 } else { 0 };
    compare + mask + parse
}

/// Of walking through all of a value.
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => (text.len() as f64 * STRING_FACTOR) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * STRING_FACTOR) as u64,
        Value::List(list) => list.iter().map(|item| traversal(&item)).sum(),
        Value::Map(map) => {
            let entries = map.entries().unwrap_or_default();
            entries.iter().map(|(key, value)| traversal(key) + traversal(value)).sum()
        }
        _ => 1,
    }
}

/// The language's own, by overload.
fn standard(overload: &str, args: &[Value<'_>]) -> u64 {
    let size = |index: usize| args.get(index).map_or(1, size);
    match overload {
        "starts_with_string" | "ends_with_string" => scale(size(1), STRING_FACTOR),
        "string_to_bytes" | "bytes_to_string" | "strings_quote" | "string_format" => scale(size(0), STRING_FACTOR),
        "in_list" => size(1),
        "less_string"
        | "greater_string"
        | "less_equals_string"
        | "greater_equals_string"
        | "less_bytes"
        | "greater_bytes"
        | "less_equals_bytes"
        | "greater_equals_bytes" => scale(size(0).min(size(1)), STRING_FACTOR),
        "add_string" | "add_bytes" => scale(size(0) + size(1), STRING_FACTOR),
        "matches" | "matches_string" => regex(size(0), size(1)),
        "contains_string" => scale(size(0), STRING_FACTOR) * scale(size(1), STRING_FACTOR),
        _ => 1,
    }
}
