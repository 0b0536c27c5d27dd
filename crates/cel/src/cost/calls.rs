//! Estimates of the language's own functions, by overload.

use super::estimate::{Argument, Price};
use super::range::Range;
use super::{REGEX_FACTOR, STRING_FACTOR};

fn size(argument: &Argument<'_>) -> Range {
    argument.size.unwrap_or(Range::UNKNOWN)
}

fn plain(cost: Range) -> Price {
    Price { cost, size: None }
}

pub fn price(overload: &str, target: Option<&Argument<'_>>, args: &[Argument<'_>]) -> Price {
    match (overload, target, args) {
        ("string_format", Some(target), _) => plain(size(target).scaled(STRING_FACTOR)),
        ("string_to_bytes", _, [text]) => {
            let size = size(text);
            Price { cost: size.scaled(STRING_FACTOR), size: Some(Range::new(size.min, size.max.wrapping_mul(4))) }
        }
        ("bytes_to_string", _, [bytes]) => {
            let size = size(bytes);
            Price { cost: size.scaled(STRING_FACTOR), size: Some(Range::new(size.min / 4, size.max)) }
        }
        ("strings_quote", _, [text]) => {
            let size = size(text);
            let quoted = Range::new(size.min.wrapping_add(2), size.max.wrapping_mul(2).wrapping_add(2));
            Price { cost: size.scaled(STRING_FACTOR), size: Some(quoted) }
        }
        ("starts_with_string" | "ends_with_string", _, [part]) => plain(size(part).scaled(STRING_FACTOR)),
        ("in_list", _, [_, list]) => plain(size(list)),
        ("matches_string", Some(text), [pattern]) | ("matches", None, [text, pattern]) => {
            plain(regex(size(text), size(pattern)))
        }
        ("contains_string", Some(text), [part]) => {
            plain(size(text).scaled(STRING_FACTOR).times(size(part).scaled(STRING_FACTOR)))
        }
        ("add_string" | "add_bytes", _, [a, b]) => {
            let sum = size(a).plus(size(b));
            Price { cost: sum.scaled(STRING_FACTOR), size: Some(sum) }
        }
        ("add_list", _, [a, b]) => Price { cost: Range::exactly(1), size: Some(size(a).plus(size(b))) },
        (
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
            | "equals"
            | "not_equals",
            _,
            [a, b],
        ) => {
            let most = size(a).max.min(size(b).max);
            plain(Range::new(u64::from(most > 0), most).scaled(STRING_FACTOR))
        }
        _ => plain(Range::exactly(1)),
    }
}

/// Of matching a text against a pattern.
pub fn regex(text: Range, pattern: Range) -> Range {
    text.plus(Range::exactly(1)).scaled(STRING_FACTOR).times(pattern.scaled(REGEX_FACTOR))
}
