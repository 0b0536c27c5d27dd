//! `'%s is %d'.format([...])`.

use super::format_number::{fixed, scientific};
use super::strings::text;
use crate::ast::{Call, Expr, Id, Kind, Literal};
use crate::decls::Op;
use crate::types::Type;
use crate::value::{List, Result, Value, convert, fail, no_overload};

pub fn op(function: &str, _overload: &str) -> Option<Op> {
    (function == "format").then_some(|_, args| {
        let Value::List(list) = &args[1] else { return no_overload() };
        format(text(&args[0])?, list)
    })
}

/// `%`, an optional precision, and what to do.
struct Clause {
    precision: Option<usize>,
    verb: char,
}

enum Piece<'t> {
    Text(&'t str),
    Clause(Clause),
}

const DEFAULT_PRECISION: usize = 6;
/// More digits than any double has; a wider result would only burn memory.
const MAX_PRECISION: usize = 100_000;

/// Splits a format at its clauses; `next` is told before each.
fn pieces(text: &str, mut next: impl FnMut(usize) -> Result<()>) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut count = 0;
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        pieces.push(Piece::Text(&rest[..at]));
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            pieces.push(Piece::Text("%"));
            rest = after;
            continue;
        }
        next(count)?;
        if rest.is_empty() {
            return fail("unexpected end of string");
        }
        let (clause, length) = clause(rest).or_else(|why| fail(format!("could not parse formatting clause: {why}")))?;
        pieces.push(Piece::Clause(clause));
        rest = &rest[length..];
        count += 1;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn clause(text: &str) -> Result<(Clause, usize), String> {
    let digits = match text.strip_prefix('.') {
        Some(rest) => rest.bytes().take_while(u8::is_ascii_digit).count(),
        None => 0,
    };
    let mut precision = None;
    let mut at = 0;
    if text.starts_with('.') {
        let number = &text[1..=digits];
        if text.len() == digits + 1 {
            return Err("error while parsing precision: could not find end of precision specifier".to_owned());
        }
        let parsed = number.parse::<usize>().ok().filter(|precision| *precision <= MAX_PRECISION);
        let Some(parsed) = parsed else {
            return Err(format!(
                "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \
                 {number:?}: invalid syntax"
            ));
        };
        precision = Some(parsed);
        at = digits + 1;
    }
    let verb = text[at..].chars().next().unwrap_or_default();
    if !"sdfebxXo".contains(verb) {
        return Err(format!("unrecognized formatting clause \"{verb}\""));
    }
    Ok((Clause { precision, verb }, at + verb.len_utf8()))
}

fn format<'a>(text: &str, args: &List<'a>) -> Result<Value<'a>> {
    let missing = |index: usize| {
        if index < args.len() { Ok(()) } else { fail(format!("index {index} out of range")) }
    };
    let mut out = String::new();
    let mut next = 0;
    for piece in pieces(text, missing)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Clause(clause) => {
                let value = args.get(next)?;
                next += 1;
                let shown = apply(&clause, &value).or_else(|why| fail(format!("error during formatting: {why}")))?;
                out.push_str(&shown);
            }
        }
    }
    Ok(Value::string(out))
}

fn apply(clause: &Clause, value: &Value<'_>) -> Result<String> {
    let refused = || fail(refusal(clause.verb, value.type_name()));
    let precision = clause.precision.unwrap_or(DEFAULT_PRECISION);
    Ok(match (clause.verb, value) {
        ('s', _) => shown(value)?,
        ('d', Value::Int(_) | Value::Uint(_)) => value.to_string(),
        ('f', Value::Double(value)) => fixed(*value, precision),
        ('e', Value::Double(value)) => scientific(*value, precision),
        ('f' | 'e', Value::String(text)) if matches!(&**text, "NaN" | "Infinity" | "-Infinity") => {
            match convert::to_double(value)? {
                Value::Double(value) => fixed(value, precision),
                _ => return refused(),
            }
        }
        ('b', Value::Int(value)) => signed(*value, |magnitude| format!("{magnitude:b}")),
        ('b', Value::Uint(value)) => format!("{value:b}"),
        ('b', Value::Bool(value)) => u8::from(*value).to_string(),
        ('o', Value::Int(value)) => signed(*value, |magnitude| format!("{magnitude:o}")),
        ('o', Value::Uint(value)) => format!("{value:o}"),
        ('x', Value::Int(value)) => signed(*value, |magnitude| format!("{magnitude:x}")),
        ('X', Value::Int(value)) => signed(*value, |magnitude| format!("{magnitude:X}")),
        ('x', Value::Uint(value)) => format!("{value:x}"),
        ('X', Value::Uint(value)) => format!("{value:X}"),
        ('x' | 'X', Value::String(text)) => hex(text.as_bytes(), clause.verb),
        ('x' | 'X', Value::Bytes(bytes)) => hex(bytes, clause.verb),
        _ => return refused(),
    })
}

fn signed(value: i64, format: fn(u64) -> String) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", format(value.unsigned_abs()))
}

fn hex(bytes: &[u8], verb: char) -> String {
    bytes.iter().map(|byte| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") }).collect()
}

fn refusal(verb: char, given: &str) -> String {
    let text = match verb {
        's' => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and \
             timestamps"
        }
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'b' => "only integers and bools can be formatted as binary",
        'o' => "octal clause can only be used on integers",
        _ => "only integers, byte buffers, and strings can be formatted as hex",
    };
    format!("{text}, was given {given}")
}

fn shown(value: &Value<'_>) -> Result<String> {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::List(list) => {
            let items: Vec<String> = list.to_vec()?.iter().map(member).collect::<Result<_>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut pairs = map.entries()?.iter().map(pair).collect::<Result<Vec<_>>>()?;
            pairs.sort();
            let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Ip(_) | Value::Cidr(_) => return fail(refusal('s', value.type_name())),
        _ => match convert::to_string(value) {
            Ok(text) => text.to_string(),
            Err(_) => return fail(refusal('s', value.type_name())),
        },
    })
}

fn pair((key, value): &(Value<'_>, Value<'_>)) -> Result<(String, String)> {
    match key {
        Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_) => Ok((member(key)?, member(value)?)),
        _ => fail(format!("no formatting function for map key of type {}", key.type_name())),
    }
}

/// A value within a list or map.
fn member(value: &Value<'_>) -> Result<String> {
    Ok(match value {
        Value::String(text) => format!("{:?}", &**text),
        Value::Bytes(_) => format!("b{:?}", shown(value)?),
        Value::Timestamp(_) => format!("timestamp({:?})", shown(value)?),
        Value::Duration(_) => format!("duration({:?})", shown(value)?),
        Value::Double(number) if !number.is_finite() => format!("{:?}", convert::format_double(*number)),
        Value::Double(number) => format!("{number:.DEFAULT_PRECISION$}"),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Type(_)
        | Value::List(_)
        | Value::Map(_) => shown(value)?,
        _ => return fail(format!("no formatting function for {}", value.type_name())),
    })
}

/// What is wrong with a call whose format and list are literals.
pub fn validate(id: Id, call: &Call, type_of: impl Fn(&Expr) -> Type) -> Option<(Id, String)> {
    let target = call.target.as_ref()?;
    let (Kind::Literal(Literal::String(text)), [list]) = (&target.kind, call.args.as_slice()) else { return None };
    let Kind::List(elements) = &list.kind else { return None };
    let pieces = match pieces(text, |_| Ok(())) {
        Ok(pieces) => pieces,
        Err(why) => return Some((id, why.to_string())),
    };
    let clauses = pieces.iter().filter_map(|piece| match piece {
        Piece::Clause(clause) => Some(clause),
        Piece::Text(_) => None,
    });
    let mut seen = 0;
    for (index, clause) in clauses.enumerate() {
        let Some(element) = elements.get(index) else {
            return Some((id, format!("index {index} out of range")));
        };
        let t = type_of(&element.value);
        if !accepts(clause.verb, &t) {
            let why = format!("error during formatting: {}", refusal(clause.verb, t.runtime_name()));
            return Some((element.value.id, why));
        }
        seen = index + 1;
    }
    (elements.len() > seen).then(|| {
        let count = elements.len();
        (id, format!("too many arguments supplied to string.format (expected {seen}, got {count})"))
    })
}

fn accepts(verb: char, t: &Type) -> bool {
    use Type::{Bool, Bytes, Double, Dyn, Int, String, Uint};
    match (verb, t) {
        (_, Dyn) => true,
        ('s', Type::Struct(_) | Type::Opaque(..)) => false,
        ('s', _) | ('d' | 'o' | 'b' | 'x' | 'X', Int | Uint) | ('b', Bool) => true,
        ('f' | 'e', Double | String) | ('x' | 'X', String | Bytes) => true,
        _ => false,
    }
}
