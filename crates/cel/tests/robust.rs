//! Nothing an author writes makes the crate panic, hang or grow without bound.

#![cfg(test)]

use orlop_cel::cost::{PER_CALL_LIMIT, estimate::estimate};
use orlop_cel::env::Env;
use orlop_cel::escape::{escape, unescape};
use orlop_cel::parser::parse;
use orlop_cel::plan::Program;
use orlop_cel::source::Source;
use orlop_cel::types::Type;
use orlop_cel::value::{Result, Value, Variables};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

struct Object(Json);

impl<'a> Variables<'a> for &'a Object {
    fn get(&self, name: &str) -> Result<Option<Value<'a>>> {
        Ok((name == "object").then(|| Value::of(&self.0)))
    }
}

fn run(text: &str) {
    let env = Env::new().with_variable("object", Type::Dyn);
    let Ok(checked) = env.compile(text) else { return };
    let bounds = estimate(&checked, &env);
    assert!(bounds.min <= bounds.max, "{text}");
    let Ok(program) = Program::new(&checked, env.types()) else { return };
    let object = Object(json!({"a": [1, 2.5, "x", null], "b": {"c": true}, "n": -3}));
    let outcome = program.eval(&&object, PER_CALL_LIMIT);
    // One step may go over, by no more than what it costs itself.
    assert!(outcome.cost <= PER_CALL_LIMIT * 2 || outcome.value.is_err(), "{text}");
}

/// Pieces that are more likely to make an expression than any characters would.
const WORDS: [&str; 48] = [
    "object",
    "object.a",
    ".b",
    ".?c",
    "[0]",
    "[?1]",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "1",
    "-2",
    "3u",
    "1.5",
    "'s'",
    "b'b'",
    "null",
    "true",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " == ",
    " != ",
    " < ",
    " in ",
    " && ",
    " || ",
    "!",
    "-",
    ".map(x, x)",
    ".all(x, x > 0)",
    ".filter(i, i != 1)",
    "has(object.b)",
    "size(",
    "string(",
    ".matches('a+')",
    ".transformMap(k, v, v)",
    "dyn(",
    "duration('1h')",
    ".format([1])",
    ".sortBy(x, x)",
];

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = parse(&Source::new(&text));
    }

    #[test]
    fn any_bytes_of_the_grammar_are_read_or_refused(text in "[\"'`rb\\\\x0-9a-fu.eE+\\-()\\[\\]{}?:,!&|=<> \\n/]{0,40}") {
        run(&text);
    }

    #[test]
    fn any_words_are_checked_and_run_or_refused(words in proptest::collection::vec(0..WORDS.len(), 0..14)) {
        let text: String = words.into_iter().map(|word| WORDS[word]).collect();
        run(&text);
    }

    #[test]
    fn escaped_names_come_back(name in "[a-zA-Z_./-]{1,12}") {
        let escaped = escape(&name).expect("such names have an escape");
        prop_assert_eq!(unescape(&escaped), Some(name));
    }
}

#[test]
fn nesting_ends_in_an_error() {
    for text in ["(", "[", "{1:", "f(", "!(", "-(", "a?(", "a[", "a.b("] {
        let deep = text.repeat(5_000);
        assert!(parse(&Source::new(&deep)).is_err(), "{text}");
    }
    for (text, times) in [("1+", 5_000), ("a.", 5_000), ("a.b().", 5_000), ("true?1:", 5_000)] {
        let long = format!("{}1", text.repeat(times));
        assert!(parse(&Source::new(&long)).is_err(), "{text}");
    }
}

#[test]
fn what_is_just_shallow_enough_runs() {
    run(&format!("{}1{}", "(".repeat(249), ")".repeat(249)));
    run(&format!("{}1{}", "[".repeat(249), "]".repeat(249)));
    run(&format!("{}1{}", "{1:".repeat(249), "}".repeat(249)));
    run(&format!("{}1{}", "dyn(".repeat(249), ")".repeat(249)));
    run(&format!("{}1", "1+".repeat(240)));
    run(&format!("{}true", "true && ".repeat(5_000)));
    run(&format!("{}true", "!".repeat(5_000)));
    let nested = (0..200).fold("1".to_owned(), |inner, depth| format!("[1].map(x{depth}, {inner})"));
    run(&nested);
    let refused = parse(&Source::new(&format!("{}1{}", "(".repeat(250), ")".repeat(250)))).expect_err("too deep");
    assert!(refused.to_string().contains("expression recursion limit exceeded: 250"), "{refused}");
}

#[test]
fn a_sign_before_what_is_no_number_is_refused() {
    for text in ["!-a", "!-'s'", "!-true", "!--1"] {
        assert!(parse(&Source::new(text)).is_err(), "{text}");
    }
}

#[test]
fn macros_that_repeat_their_target_do_not_explode() {
    let text = format!("optional.of(1){}", ".optMap(x, x)".repeat(60));
    assert!(parse(&Source::new(&text)).is_err());
}
