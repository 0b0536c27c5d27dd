//! Estimates of Kubernetes' and the extensions' functions.

use super::calls::regex;
use super::estimate::{Argument, Estimator, Price};
use super::range::Range;
use super::{AUTHORIZER_CHECK_COST, LIST_COST, REGEX_FACTOR, STRING_FACTOR, STRUCT_COST};
use crate::ast::{Kind, Literal};
use crate::types::Type;

/// The longest regular expression behind a named format.
const FORMAT_REGEX_SIZE: f64 = 128.0;
/// The longest named format.
const FORMAT_SIZE: u64 = 64;

type Maybe<'m, 'e> = Option<&'m Argument<'e>>;

pub fn price<'e>(
    estimator: &Estimator<'e>,
    function: &str,
    overload: &str,
    target: Maybe<'_, 'e>,
    args: &[Argument<'e>],
) -> Option<Price> {
    extension(estimator, overload, target, args).or_else(|| kubernetes(estimator, function, overload, target, args))
}

fn size(estimator: &Estimator<'_>, argument: &Argument<'_>) -> Range {
    argument.size.or_else(|| estimator.declared_size(&argument.path)).unwrap_or(Range::UNKNOWN)
}

fn plain(cost: Range) -> Option<Price> {
    Some(Price { cost, size: None })
}

fn scan(size: Range) -> Range {
    size.scaled(STRING_FACTOR)
}

fn extension<'e>(
    estimator: &Estimator<'e>,
    overload: &str,
    target: Maybe<'_, 'e>,
    args: &[Argument<'e>],
) -> Option<Price> {
    let size = |argument: &Argument<'e>| size(estimator, argument);
    match (overload, target, args) {
        ("list_sets_contains_list" | "list_sets_intersects_list", _, [a, b]) => {
            plain(size(a).times(size(b)).plus(Range::exactly(1)))
        }
        ("list_sets_equivalent_list", _, [a, b]) => plain(size(a).times(size(b)).scaled(2.0).plus(Range::exactly(1))),
        ("list_slice", Some(list), [start, end]) => {
            let end = number(end, size(list).max);
            allocate(1.0, Range::exactly(end.wrapping_sub(number(start, 0))))
        }
        ("lists_range", None, [count]) => allocate(1.0, Range::exactly(number(count, u64::MAX))),
        ("list_reverse", Some(list), []) => allocate(1.0, size(list)),
        ("list_flatten", Some(list), []) => allocate(1.0, size(list)),
        ("list_flatten_int", Some(list), [depth]) => allocate(number(depth, u64::MAX) as f64, size(list)),
        ("list_distinct", Some(list), []) => allocate(2.0, size(list).times(size(list))),
        (sort, Some(list), []) if sort.starts_with("list_") && sort.ends_with("_sort") => {
            allocate(compare_factor(sort), size(list).times(size(list)))
        }
        (sort, Some(_), [keys]) if sort.ends_with("_sortByAssociatedKeys") => {
            allocate(compare_factor(sort), size(keys).times(size(keys)))
        }
        _ => None,
    }
}

fn compare_factor(overload: &str) -> f64 {
    let text = overload.starts_with("list_string") || overload.starts_with("list_bytes");
    if text { 2.0 + STRING_FACTOR } else { 2.0 }
}

fn allocate(factor: f64, size: Range) -> Option<Price> {
    let cost = size.scaled(factor).plus(Range::exactly(1 + LIST_COST));
    Some(Price { cost, size: Some(size) })
}

/// A literal's number, none below zero.
fn number(argument: &Argument<'_>, otherwise: u64) -> u64 {
    match &argument.expr.kind {
        Kind::Literal(Literal::Int(value)) => u64::try_from(*value).unwrap_or_default(),
        _ => otherwise,
    }
}

fn kubernetes<'e>(
    estimator: &Estimator<'e>,
    function: &str,
    overload: &str,
    target: Maybe<'_, 'e>,
    args: &[Argument<'e>],
) -> Option<Price> {
    let size = |argument: &Argument<'e>| size(estimator, argument);
    match (function, target, args) {
        ("check", ..) => plain(Range::exactly(AUTHORIZER_CHECK_COST)),
        (
            "serviceAccount"
            | "path"
            | "group"
            | "resource"
            | "subresource"
            | "namespace"
            | "name"
            | "allowed"
            | "reason"
            | "error"
            | "errored"
            | "format.named"
            | "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery",
            ..,
        ) => plain(Range::exactly(1)),
        ("fieldSelector" | "labelSelector", _, [text]) => plain(selector(size(text))),
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(target), _) => {
            plain(traversal(estimator, target))
        }
        ("url" | "jsonpatch.escapeKey", _, [text]) => Some(Price { cost: scan(size(text)), size: Some(size(text)) }),
        ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(text), _) => {
            Some(Price { cost: scan(size(text)), size: Some(size(text)) })
        }
        ("replace", Some(text), [old, new, ..]) => replace(size(text), size(old), size(new)),
        ("split", Some(text), args) => split(size(text), args.get(1)),
        ("join", Some(list), args) => join(estimator, list, args.first().map(size)),
        ("find" | "findAll", Some(text), [pattern, ..]) => {
            let cost = regex(size(text), size(pattern));
            Some(Price { cost, size: Some(Range::new(0, size(text).max)) })
        }
        ("ip", ..) if overload == "cidr_ip" => plain(Range::exactly(1)),
        ("cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver", _, [text, ..]) => {
            plain(scan(size(text)))
        }
        ("ip.isCanonical", _, [text]) => plain(size(text).scaled(2.0 * STRING_FACTOR)),
        ("containsIP" | "containsCIDR", _, [other]) => plain(contains(overload, size(other))),
        ("validate", _, [text]) => plain(scan(size(text)).scaled(FORMAT_REGEX_SIZE * REGEX_FACTOR)),
        ("_==_", _, [left, right]) => equality(left, right),
        _ => None,
    }
}

fn selector(length: Range) -> Range {
    let requirements = length.scaled(0.5).scaled((LIST_COST + STRUCT_COST) as f64);
    Range::exactly(LIST_COST).plus(scan(length)).plus(requirements)
}

/// The element's type and size, if the argument is a list.
fn element<'a>(estimator: &Estimator<'_>, list: &'a Argument<'_>) -> Option<(&'a Type, Range)> {
    let Type::List(element) = list.t else { return None };
    let mut path = list.path.clone();
    let known = (!path.is_empty()).then(|| {
        path.push("@items".into());
        estimator.declared_size(&path)
    });
    Some((element, known.flatten().unwrap_or(Range::UNKNOWN)))
}

fn traversal(estimator: &Estimator<'_>, target: &Argument<'_>) -> Range {
    let length = size(estimator, target);
    match element(estimator, target) {
        Some((Type::String | Type::Bytes, each)) => length.times(Range::exactly(1).plus(scan(each))),
        Some(_) => length,
        None => scan(length),
    }
}

fn replace(text: Range, old: Range, new: Range) -> Option<Price> {
    let mut count = Range::ZERO;
    let mut kept = Range::ZERO;
    let pieces = |text: u64, old: u64| (text as f64 / old as f64).ceil() as u64;
    // The longest result: nothing is found around every character, or the shortest becomes the longest.
    if old.min == 0 {
        count.max = text.max.saturating_add(1);
        kept.max = text.max;
    } else if new.max <= old.min {
        kept.max = text.max;
    } else {
        count.max = pieces(text.max, old.min);
    }
    // The shortest result.
    if old.max == 0 {
        count.min = text.min.saturating_add(1);
        kept.min = text.min;
    } else if old.max <= new.min {
        kept.min = text.min;
    } else {
        count.min = pieces(text.min, old.max);
    }
    Some(Price { cost: text.scaled(2.0 * STRING_FACTOR), size: Some(count.times(new).plus(kept)) })
}

fn split(text: Range, limit: Option<&Argument<'_>>) -> Option<Price> {
    let most = match limit.map(|limit| &limit.expr.kind) {
        Some(Kind::Literal(Literal::Int(limit))) => *limit as u64,
        _ => text.max,
    };
    Some(Price { cost: text.scaled(2.0 * STRING_FACTOR), size: Some(Range::new(0, most)) })
}

fn join(estimator: &Estimator<'_>, list: &Argument<'_>, separator: Option<Range>) -> Option<Price> {
    let length = size(estimator, list);
    let mut result = element(estimator, list).map_or(Range::ZERO, |(_, each)| length.times(each));
    if let Some(separator) = separator {
        let gaps = Range::new(length.min.saturating_sub(1), length.max.saturating_sub(1));
        result = result.plus(separator.times(gaps));
    }
    Some(Price { cost: scan(result), size: Some(result) })
}

fn contains(overload: &str, other: Range) -> Range {
    let bytes = Range::new(4, 16);
    let mut cost = scan(bytes.plus(bytes));
    if overload.starts_with("cidr_contains_cidr") {
        cost = cost.plus(scan(bytes)).plus(Range::exactly(1));
    }
    if overload.ends_with("_string") { cost.plus(scan(other)) } else { cost }
}

fn equality(left: &Argument<'_>, right: &Argument<'_>) -> Option<Price> {
    if left.t != right.t {
        return None;
    }
    match left.t {
        Type::Opaque(name, _) if matches!(&**name, "net.IP" | "net.CIDR") => plain(Range::exactly(1)),
        Type::Struct(name) => match &**name {
            "kubernetes.Quantity" | "kubernetes.Semver" => plain(Range::exactly(1)),
            name if name.starts_with("kubernetes.authorization.") => plain(Range::exactly(1)),
            "kubernetes.NamedFormat" => plain(scan(Range::new(1, FORMAT_SIZE))),
            "kubernetes.URL" => plain(scan(Range::new(1, right.size.map_or(1, |size| size.max)))),
            _ => None,
        },
        _ => None,
    }
}
