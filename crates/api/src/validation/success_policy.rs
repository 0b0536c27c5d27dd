//! When an indexed Job counts as done before all its indexes are (KEP 3998).

use serde_json::Value;

use super::prelude::*;

const MAX_RULES: usize = 20;
const MAX_INDEXES_LENGTH: usize = 64 * 1024;

/// `path` is that of the Job's `successPolicy`.
pub(crate) fn success_policy(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    // Without completions upstream's server breaks.
    let completions = spec.int("completions");
    let (rules, path) = (spec.list("successPolicy.rules"), path.child("rules"));
    if rules.is_empty() {
        errors.required(&path, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > MAX_RULES {
        errors.too_many(&path, rules.len(), MAX_RULES);
    }
    for (i, value) in rules.iter().enumerate() {
        rule(value, completions, &path.index(i), errors);
    }
}

fn rule(rule: &Value, completions: i64, path: &Path<'_>, errors: &mut ErrorList) {
    let (count, indexes) = (rule["succeededCount"].as_i64(), rule["succeededIndexes"].as_str());
    if count.is_none() && indexes.is_none() {
        errors.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = 0;
    if let Some(text) = indexes {
        let at = path.child("succeededIndexes");
        if text.len() > MAX_INDEXES_LENGTH {
            errors.too_long(&at, MAX_INDEXES_LENGTH);
        }
        match count_indexes(text, completions) {
            Ok(sum) => total = sum,
            Err(why) => errors.invalid(&at, text, format!("error parsing succeededIndexes: {why}")),
        }
    }
    if let Some(count) = count {
        let at = path.child("succeededCount");
        non_negative(count, &at, errors);
        if count > completions {
            let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
            errors.invalid(&at, count, detail);
        }
        if indexes.is_some() && count > total {
            let what = "the number of indexes in the specified succeededIndexes field";
            errors.invalid(&at, count, format!("must be less than or equal to {total} ({what})"));
        }
    }
}

/// How many indexes `1,3-5` names, all of them below `completions` and in order.
pub(super) fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = self::interval(interval, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// The first and the last index that `3-5`, or a single index, names.
pub(super) fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let limits: Vec<&str> = text.split('-').collect();
    if limits.len() > 2 {
        return Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts \
             separated by '-'"
        ));
    }
    let first = index(limits[0], completions)?;
    match limits.get(1).map(|end| index(end, completions)).transpose()? {
        Some(end) if first >= end => Err(format!("non-increasing order, previous: {first}, current: {end}")),
        end => Ok((first, end.unwrap_or(first))),
    }
}

fn index(text: &str, completions: i64) -> Result<i64, String> {
    match text.parse::<i64>() {
        Err(_) => Err(format!("cannot convert string to integer for index: {text:?}")),
        Ok(index) if index >= completions => Err(format!("too large index: {text:?}")),
        Ok(index) => Ok(index),
    }
}
