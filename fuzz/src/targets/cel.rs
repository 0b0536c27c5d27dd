//! Expressions of policies, rules and conditions: parsed, checked, estimated and evaluated within their budget.

use orlop_cel::cost::{PER_CALL_LIMIT, estimate::estimate};
use orlop_cel::env::Env;
use orlop_cel::plan::Program;
use orlop_cel::types::Type;
use orlop_cel::value::{Result, Value, Variables};

use crate::Target;

pub const TARGET: Target = Target {
    name: "cel",
    corpus: None,
    seeds: &[
        b"object.spec.containers.all(c, c.image.startsWith('i') && c.ports[?0].orValue({}) != {})",
        b"has(object.metadata.labels) ? object.metadata.labels.map(k, k + 'x').join(',') : \"\\u00e9\"",
        b"quantity('1Gi').isGreaterThan(quantity('500M')) || ip('::1').family() == 6 || '1.2.3'.matches('^[0-9.]+$')",
        b"[1, 2u, 3.0, b'x', null, duration('1h'), timestamp('2026-01-01T00:00:00Z')].exists_one(x, type(x) == int)",
    ],
    run,
};

struct Object(serde_json::Value);

impl<'a> Variables<'a> for &'a Object {
    fn get(&self, name: &str) -> Result<Option<Value<'a>>> {
        Ok((name == "object").then(|| Value::of(&self.0)))
    }
}

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let env = Env::new().with_variable("object", Type::Dyn);
    let Ok(checked) = env.compile(text) else { return };
    let bounds = estimate(&checked, &env);
    assert!(bounds.min <= bounds.max, "{text}");
    let Ok(program) = Program::new(&checked, env.types()) else { return };
    let object = Object(serde_json::from_slice(super::POD).expect("a valid pod"));
    let outcome = program.eval(&&object, PER_CALL_LIMIT);
    assert!(outcome.cost <= PER_CALL_LIMIT * 2 || outcome.value.is_err(), "{text}");
}
