//! `int(x)`, `string(x)` and their like.

use std::sync::Arc;

use super::{Result, Text, Timestamp, Value, fail, time};

const TWO_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_64: f64 = 18_446_744_073_709_551_616.0;

fn cannot<T>(value: &Value<'_>, to: &str) -> Result<T> {
    fail(format!("type conversion error from '{}' to '{to}'", value.type_name()))
}

pub fn to_int<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    Ok(Value::Int(match value {
        Value::Int(value) => *value,
        Value::Uint(value) => match i64::try_from(*value) {
            Ok(value) => value,
            Err(_) => return fail("integer overflow"),
        },
        // The bounds themselves are excluded: they are not told apart from what lies beyond.
        Value::Double(value) if *value > -TWO_63 && *value < TWO_63 => *value as i64,
        Value::Double(_) => return fail("integer overflow"),
        Value::String(text) => match go_int(text) {
            Some(value) => value,
            None => return cannot(value, "int"),
        },
        Value::Duration(nanos) => *nanos,
        Value::Timestamp(time) => time.seconds,
        _ => return cannot(value, "int"),
    }))
}

pub fn to_uint<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    Ok(Value::Uint(match value {
        Value::Uint(value) => *value,
        Value::Int(value) => match u64::try_from(*value) {
            Ok(value) => value,
            Err(_) => return fail("unsigned integer overflow"),
        },
        Value::Double(value) if *value >= 0.0 && *value < TWO_64 => *value as u64,
        Value::Double(_) => return fail("unsigned integer overflow"),
        Value::String(text) => match text.parse() {
            Ok(number) if !text.starts_with('+') => number,
            _ => return cannot(value, "uint"),
        },
        _ => return cannot(value, "uint"),
    }))
}

pub fn to_double<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    Ok(Value::Double(match value {
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::String(text) => match go_double(text) {
            Some(number) => number,
            None => return cannot(value, "double"),
        },
        _ => return cannot(value, "double"),
    }))
}

pub fn to_bool<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => cannot(value, "bool"),
        },
        _ => cannot(value, "bool"),
    }
}

pub fn to_bytes<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => Ok(Value::Bytes(Arc::from(text.as_bytes()))),
        _ => cannot(value, "bytes"),
    }
}

pub fn to_string<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    Ok(Value::String(match value {
        Value::String(text) => text.clone(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Text::Shared(text.into()),
            Err(_) => return fail("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Value::Type(name) => Text::Shared(name.clone()),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Duration(_)
        | Value::Timestamp(_)
        | Value::Ip(_)
        | Value::Cidr(_) => value.to_string().into(),
        _ => return cannot(value, "string"),
    }))
}

pub fn to_duration<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::String(text) => match time::parse_duration(text) {
            Ok(nanos) => Ok(Value::Duration(nanos)),
            Err(_) => cannot(value, "google.protobuf.Duration"),
        },
        _ => cannot(value, "google.protobuf.Duration"),
    }
}

pub fn to_timestamp<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Timestamp(_) => Ok(value.clone()),
        Value::Int(seconds) => Ok(Value::Timestamp(Timestamp::new(*seconds, 0, 0)?)),
        Value::String(text) => match time::parse_timestamp(text) {
            Ok(time) => Ok(Value::Timestamp(time)),
            Err(_) => cannot(value, "google.protobuf.Timestamp"),
        },
        _ => cannot(value, "google.protobuf.Timestamp"),
    }
}

/// Go's `strconv.ParseInt(text, 10, 64)`.
fn go_int(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Go's `strconv.ParseFloat`: hexadecimal floats and underscores aside, which nobody writes.
fn go_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let word = matches!(unsigned.to_ascii_lowercase().as_str(), "inf" | "infinity" | "nan");
    if !word && !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Too large a number is an error, infinity by name is not.
    (word || value.is_finite()).then_some(value)
}

/// Go's `%g`: the shortest text that reads back the same.
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
