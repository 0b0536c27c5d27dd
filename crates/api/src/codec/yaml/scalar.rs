//! What an unquoted word means, by go-yaml v2's `resolve` (YAML 1.1, less base 60 and timestamps).

use serde_json::{Number, Value};

/// A plain scalar after resolution.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond `i64`.
    Uint(u64),
    Float(f64),
    Text,
}

impl Resolved {
    pub fn of(word: &str) -> Self {
        let Some(&first) = word.as_bytes().first() else { return Self::Null };
        match first {
            b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => named(word),
            b'.' => match word {
                ".nan" | ".NaN" | ".NAN" => Self::Float(f64::NAN),
                ".inf" | ".Inf" | ".INF" => Self::Float(f64::INFINITY),
                _ => float(word),
            },
            b'+' | b'-' | b'0'..=b'9' => number(word),
            _ => Self::Text,
        }
    }

    /// The JSON value; a text keeps the word as written. `None` for what JSON cannot say.
    pub fn into_value(self, word: &str) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(b),
            Self::Int(i) => Value::from(i),
            Self::Uint(u) => Value::from(u),
            // JSON writes a whole float without a fraction, and reading it back gives an integer.
            Self::Float(f) if f.fract() == 0.0 && f.abs() < 9.2e18 => Value::from(f as i64),
            Self::Float(f) => Value::Number(Number::from_f64(f)?),
            Self::Text => Value::String(word.to_owned()),
        })
    }

    /// A mapping key is always text in JSON; null cannot be one.
    pub fn into_key(self, word: &str) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(b) => b.to_string(),
            Self::Int(i) => i.to_string(),
            Self::Uint(_) => return None,
            Self::Float(f) if f.is_nan() => ".nan".to_owned(),
            Self::Float(f) if f.is_infinite() => if f > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
            Self::Float(f) => super::write::go_float(f64::from(f as f32), true),
            Self::Text => word.to_owned(),
        })
    }
}

fn named(word: &str) -> Resolved {
    match word {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Resolved::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Resolved::Bool(false),
        "~" | "null" | "Null" | "NULL" => Resolved::Null,
        _ => Resolved::Text,
    }
}

fn number(word: &str) -> Resolved {
    match word {
        "+.inf" | "+.Inf" | "+.INF" => return Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let plain: String = word.chars().filter(|c| *c != '_').collect();
    integer(&plain).unwrap_or_else(|| if is_yaml_float(&plain) { float(&plain) } else { Resolved::Text })
}

/// Go's `ParseInt(text, 0, 64)`, then `ParseUint`.
fn integer(text: &str) -> Option<Resolved> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = magnitude.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    match (negative, i64::try_from(value)) {
        (false, Ok(value)) => Some(Resolved::Int(value)),
        (true, Ok(value)) => Some(Resolved::Int(-value)),
        (true, Err(_)) if value == i64::MIN.unsigned_abs() => Some(Resolved::Int(i64::MIN)),
        (false, Err(_)) if !text.starts_with('+') => Some(Resolved::Uint(value)),
        _ => None,
    }
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_yaml_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return false;
    }
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else { return rest.is_empty() };
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    !exponent.is_empty() && exponent.bytes().all(|b| b.is_ascii_digit())
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn float(text: &str) -> Resolved {
    if !is_yaml_float(text) {
        return Resolved::Text;
    }
    text.parse().ok().filter(|f: &f64| f.is_finite()).map_or(Resolved::Text, Resolved::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resolves_as_go_yaml_does() {
        for (word, want) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("null", json!(null)),
            ("nULL", json!("nULL")),
            ("yes", json!(true)),
            ("y", json!(true)),
            ("Off", json!(false)),
            ("oFF", json!("oFF")),
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("0x1F", json!(31)),
            ("-0x1f", json!(-31)),
            ("0b11", json!(3)),
            ("1_000", json!(1000)),
            ("08", json!(8)),
            ("1.0", json!(1)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000)),
            (".5", json!(0.5)),
            (".", json!(".")),
            ("1.", json!(1)),
            ("-", json!("-")),
            ("+1", json!(1)),
            ("1.2.3", json!("1.2.3")),
            ("10:20", json!("10:20")),
            ("2001-01-01", json!("2001-01-01")),
            ("9223372036854775807", json!(i64::MAX)),
            ("18446744073709551615", json!(18446744073709551615u64)),
            ("1e999", json!("1e999")),
            ("=", json!("=")),
            ("0x", json!("0x")),
            ("1e", json!("1e")),
            ("100m", json!("100m")),
            ("-9223372036854775808", json!(i64::MIN)),
        ] {
            assert_eq!(Resolved::of(word).into_value(word), Some(want), "{word}");
        }
        assert_eq!(Resolved::of(".nan").into_value(".nan"), None);
    }
}
