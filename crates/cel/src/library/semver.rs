//! Semantic versions (semver.org 2.0).

use std::cmp::Ordering;
use std::sync::Arc;

use super::strings::text;
use crate::decls::Op;
use crate::value::{Result, Value, fail, no_overload};

#[derive(Clone, Debug)]
pub struct Semver {
    numbers: [u64; 3],
    pre: Vec<Pre>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    /// Numbers come before words.
    Number(u64),
    Word(String),
}

/// Equal in everything but the build.
impl PartialEq for Semver {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Semver {}

impl PartialOrd for Semver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Semver {
    fn cmp(&self, other: &Self) -> Ordering {
        let released = |version: &Self| version.pre.is_empty();
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| released(self).cmp(&released(other)))
            .then_with(|| self.pre.cmp(&other.pre))
    }
}

pub fn op(_function: &str, overload: &str) -> Option<Op> {
    Some(match overload {
        "string_to_semver" | "string_bool_to_semver" => |_, args| match read(args)? {
            Ok(version) => Ok(Value::Semver(Arc::new(version))),
            Err(why) => fail(why),
        },
        "is_semver_string" | "is_semver_string_bool" => |_, args| Ok(Value::Bool(read(args)?.is_ok())),
        "semver_major" => |_, args| Ok(Value::Int(version(&args[0])?.numbers[0] as i64)),
        "semver_minor" => |_, args| Ok(Value::Int(version(&args[0])?.numbers[1] as i64)),
        "semver_patch" => |_, args| Ok(Value::Int(version(&args[0])?.numbers[2] as i64)),
        "semver_is_greater_than" => |_, args| Ok(Value::Bool(version(&args[0])? > version(&args[1])?)),
        "semver_is_less_than" => |_, args| Ok(Value::Bool(version(&args[0])? < version(&args[1])?)),
        "semver_compare_to" => |_, args| Ok(Value::Int(version(&args[0])?.cmp(version(&args[1])?) as i64)),
        _ => return None,
    })
}

fn version<'v>(value: &'v Value<'_>) -> Result<&'v Semver> {
    match value {
        Value::Semver(version) => Ok(version),
        _ => no_overload(),
    }
}

fn read(args: &[Value<'_>]) -> Result<Result<Semver, String>> {
    let written = text(&args[0])?;
    Ok(match args.get(1) {
        Some(Value::Bool(true)) => normalize(written).and_then(|text| parse(&text)),
        _ => parse(written),
    })
}

/// Drops a `v` and leading zeros, fills up missing numbers.
fn normalize(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".to_owned());
    }
    parts.resize(3, "0".to_owned());
    Ok(parts.join("."))
}

fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|c: char| c.is_ascii_digit()) { rest.to_owned() } else { format!("0{rest}") }
}

fn parse(text: &str) -> Result<Semver, String> {
    if text.is_empty() {
        return Err("Version string empty".to_owned());
    }
    let parts: Vec<&str> = text.splitn(3, '.').collect();
    let [major, minor, rest] = parts.as_slice() else { return Err("No Major.Minor.Patch elements found".to_owned()) };
    let (rest, build) = rest.split_once('+').map_or((*rest, None), |(rest, build)| (rest, Some(build)));
    let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
    let numbers = [number("major", major)?, number("minor", minor)?, number("patch", patch)?];
    let pre = pre.map_or(Ok(Vec::new()), |pre| pre.split('.').map(pre_release).collect())?;
    for part in build.into_iter().flat_map(|build| build.split('.')) {
        if part.is_empty() {
            return Err("Build meta data is empty".to_owned());
        }
        if !part.bytes().all(is_word) {
            return Err(format!("Invalid character(s) found in build meta data {part:?}"));
        }
    }
    Ok(Semver { numbers, pre })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {name} number {text:?}"));
    }
    if text.len() > 1 && text.starts_with('0') {
        let name = name[..1].to_uppercase() + &name[1..];
        return Err(format!("{name} number must not contain leading zeroes {text:?}"));
    }
    let why = |what: &str| format!("strconv.ParseUint: parsing {text:?}: {what}");
    text.parse().map_err(|_| why(if text.is_empty() { "invalid syntax" } else { "value out of range" }))
}

fn pre_release(text: &str) -> Result<Pre, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {text:?}"));
        }
        return text.parse().map(Pre::Number).map_err(|error| error.to_string());
    }
    if !text.bytes().all(is_word) {
        return Err(format!("Invalid character(s) found in prerelease {text:?}"));
    }
    Ok(Pre::Word(text.to_owned()))
}
