//! The unified diff in messages about fields that may not change (`k8s.io/apimachinery/pkg/util/diff`).
//!
//! Upstream prints its internal types, whose fields have Go's names and stand in Go's order, empty ones too. Here the
//! names are Go's and only fields that are set are printed, by name.

use std::fmt::Write;

use serde_json::Value;

/// Lines around a change.
const CONTEXT: usize = 3;

pub(crate) fn diff(old: &Value, new: &Value) -> String {
    let (old, new) = (lines(old), lines(new));
    let mut out = String::new();
    let mut push = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("strings take everything");
    for hunk in hunks(&edits(&old, &new)) {
        let count = |skip: fn(&Edit) -> bool| hunk.iter().filter(|edit| !skip(edit)).count();
        let (removed, added) = (count(Edit::is_added), count(Edit::is_removed));
        let (at_old, at_new) = hunk.first().map_or((0, 0), Edit::position);
        push(format_args!("@@ -{} +{} @@\n", range(at_old, removed), range(at_new, added)));
        for edit in hunk {
            match edit {
                Edit::Same(i, _) => push(format_args!(" {}", old[*i])),
                Edit::Removed(i, _) => push(format_args!("-{}", old[*i])),
                Edit::Added(_, j) => push(format_args!("+{}", new[*j])),
            }
        }
    }
    out
}

fn range(start: usize, length: usize) -> String {
    match length {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        _ => format!("{},{length}", start + 1),
    }
}

/// Positions in the old and the new text.
#[derive(Clone, Copy)]
enum Edit {
    Same(usize, usize),
    Removed(usize, usize),
    Added(usize, usize),
}

impl Edit {
    fn is_added(&self) -> bool {
        matches!(self, Self::Added(..))
    }

    fn is_removed(&self) -> bool {
        matches!(self, Self::Removed(..))
    }

    fn position(&self) -> (usize, usize) {
        match *self {
            Self::Same(i, j) | Self::Removed(i, j) | Self::Added(i, j) => (i, j),
        }
    }
}

/// Enough for any pod; beyond it the middle is shown as replaced whole.
const MAX_CELLS: usize = 4_000_000;

fn edits(old: &[String], new: &[String]) -> Vec<Edit> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let mut edits: Vec<Edit> = (0..head).map(|i| Edit::Same(i, i)).collect();
    let (rows, columns) = (old_end - head, new_end - head);
    // Longest common subsequence of what follows each pair of positions.
    let width = columns + 1;
    let fits = rows.saturating_mul(columns) <= MAX_CELLS;
    let mut longest = vec![0u32; if fits { (rows + 1) * width } else { 0 }];
    if fits {
        for i in (0..rows).rev() {
            for j in (0..columns).rev() {
                longest[i * width + j] = if old[head + i] == new[head + j] {
                    longest[(i + 1) * width + j + 1] + 1
                } else {
                    longest[(i + 1) * width + j].max(longest[i * width + j + 1])
                };
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < rows || j < columns {
        if fits && i < rows && j < columns && old[head + i] == new[head + j] {
            edits.push(Edit::Same(head + i, head + j));
            (i, j) = (i + 1, j + 1);
        } else if i < rows && (j == columns || !fits || longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
            edits.push(Edit::Removed(head + i, head + j));
            i += 1;
        } else {
            edits.push(Edit::Added(head + i, head + j));
            j += 1;
        }
    }
    edits.extend((0..tail).map(|k| Edit::Same(old_end + k, new_end + k)));
    edits
}

/// Changes with the lines around them; changes close to one another share a hunk.
fn hunks(edits: &[Edit]) -> Vec<&[Edit]> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (at, _) in edits.iter().enumerate().filter(|(_, edit)| !matches!(edit, Edit::Same(..))) {
        let (start, end) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(edits.len()));
        match ranges.last_mut() {
            Some((_, last)) if start <= *last => *last = end,
            _ => ranges.push((start, end)),
        }
    }
    ranges.into_iter().map(|(start, end)| &edits[start..end]).collect()
}

/// Pretty JSON, a space for each level, each line with its end.
fn lines(value: &Value) -> Vec<String> {
    let mut text = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut text, serde_json::ser::PrettyFormatter::with_indent(b" "));
    serde::Serialize::serialize(&go_names(value, true), &mut serializer).expect("writing to memory");
    String::from_utf8_lossy(&text).split('\n').map(|line| format!("{line}\n")).collect()
}

/// Maps keep their keys; fields of structs start with a capital letter in Go.
fn go_names(value: &Value, is_struct: bool) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let name_in_go = if is_struct { go_name(name) } else { name.clone() };
                let is_map = matches!(
                    name.as_str(),
                    "nodeSelector" | "limits" | "requests" | "overhead" | "matchLabels" | "labels" | "annotations"
                );
                (name_in_go, go_names(value, !is_map))
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| go_names(item, is_struct)).collect(),
        other => other.clone(),
    }
}

fn go_name(name: &str) -> String {
    match name {
        "dnsPolicy" => "DNSPolicy".to_owned(),
        "dnsConfig" => "DNSConfig".to_owned(),
        "os" => "OS".to_owned(),
        "tty" => "TTY".to_owned(),
        _ => {
            let mut chars = name.chars();
            chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
        }
    }
}
