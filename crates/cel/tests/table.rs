//! Expressions as data: what each is, costs and says when it is wrong, in upstream's words.

#![cfg(test)]

use std::sync::Arc;

use orlop_cel::cost::{PER_CALL_LIMIT, estimate::estimate};
use orlop_cel::decl::DeclType;
use orlop_cel::env::Env;
use orlop_cel::plan::Program;
use orlop_cel::types::Type;
use orlop_cel::value::{Result, Value, Variables};
use serde_json::Value as Json;

/// `self`, as its schema reads it, and `object`, as JSON is.
struct Input {
    object: Json,
    decl: Arc<DeclType>,
}

impl<'a> Variables<'a> for &'a Input {
    fn get(&self, name: &str) -> Result<Option<Value<'a>>> {
        Ok(match name {
            "self" => Some(Value::read(&self.object, Some(&self.decl))?),
            "object" => Some(Value::of(&self.object)),
            _ => None,
        })
    }
}

/// A value as the table writes it.
fn show(value: &Value<'_>) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Uint(number) => format!("{number}u"),
        Value::Double(number) if number.is_finite() => {
            let text = format!("{number:e}");
            let (mantissa, exponent) = text.split_once('e').unwrap();
            let exponent: i32 = exponent.parse().unwrap();
            format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        Value::String(text) => serde_json::to_string(&**text).unwrap(),
        Value::Bytes(bytes) => format!("b{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Value::Duration(nanos) => format!("duration({nanos})"),
        Value::Timestamp(time) => format!("timestamp({}.{})", time.seconds, time.nanos),
        Value::List(items) => format!("[{}]", list(items.iter().map(|item| show(&item)).collect())),
        Value::Map(map) => {
            let mut entries: Vec<String> =
                map.entries().unwrap().iter().map(|(key, value)| format!("{}: {}", show(key), show(value))).collect();
            entries.sort();
            format!("{{{}}}", list(entries))
        }
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(inner)) => format!("some({})", show(inner)),
        Value::Type(name) => format!("type({name})"),
        Value::Quantity(quantity) => format!("quantity({quantity})"),
        Value::Ip(ip) => format!("ip({ip})"),
        Value::Cidr(cidr) => format!("cidr({cidr})"),
        other => other.to_string(),
    }
}

/// One line of the table for an expression: its value and cost with the estimate, or what is wrong.
fn outcome(text: &str, env: &Env, input: &Input) -> String {
    let checked = match env.compile(text) {
        Ok(checked) => checked,
        Err(issues) => {
            let first = &issues.list[0];
            return format!("issue {}:{} {}", first.location.line, first.location.column + 1, first.message);
        }
    };
    let bounds = estimate(&checked, env);
    let program = match Program::new(&checked, env.types()) {
        Ok(program) => program,
        Err(error) => return format!("program {error}"),
    };
    let outcome = program.eval(&input, PER_CALL_LIMIT);
    let result = match &outcome.value {
        Ok(value) => show(value),
        Err(error) => format!("error {error}"),
    };
    format!("{result} | {} | {}..{}", outcome.cost, bounds.min, bounds.max)
}

#[test]
fn every_expression_is_what_upstream_says() {
    let schema: Json = serde_json::from_str(include_str!("data/schema.json")).unwrap();
    let object: Json = serde_json::from_str(include_str!("data/object.json")).unwrap();
    let decl = Arc::new(DeclType::from_schema(&schema, true, "selfType"));
    let env = Env::new().with_declared("self", decl.clone()).with_variable("object", Type::Dyn);
    let input = Input { object, decl };
    let mut wrong = Vec::new();
    for line in include_str!("data/expressions.tsv").lines() {
        let (text, want) = line.split_once('\t').unwrap();
        let text: String = serde_json::from_str(text).unwrap();
        let got = outcome(&text, &env, &input);
        if got != want {
            wrong.push(format!("{text}\n  want {want}\n  got  {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
