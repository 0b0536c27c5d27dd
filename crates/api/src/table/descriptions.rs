//! What a table's columns are for, as clients may show it.
//!
//! `data/columns.txt` has a line for each kind, `group/Kind`, and below it ` Column = text`. A text that begins with
//! an at sign stands for the description of a field, `@core.v1.Event reason`, and `\n` for a new line.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::kind::KindInfo;
use crate::openapi::Descriptions;

const TABLE: &str = include_str!("../../data/columns.txt");

/// Column -> text, by kind. What every kind has, name and age, columns say themselves.
type Texts = HashMap<&'static str, HashMap<&'static str, String>>;

static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let (descriptions, mut texts, mut kind) = (Descriptions::load(), Texts::new(), "");
    for line in TABLE.lines() {
        match line.strip_prefix(' ').and_then(|line| line.split_once(" = ")) {
            Some((column, text)) => {
                let field = text.strip_prefix('@');
                let text = field.map_or_else(|| text.replace("\\n", "\n"), |field| of_field(&descriptions, field));
                texts.entry(kind).or_default().insert(column, text);
            }
            None => kind = line,
        }
    }
    texts
});

/// The description of a built-in kind's column; empty where there is none.
pub fn description(kind: &KindInfo, column: &str) -> &'static str {
    let name = format!("{}/{}", kind.group, kind.kind);
    TEXTS.get(&*name).and_then(|texts| texts.get(column)).map_or("", String::as_str)
}

fn of_field(descriptions: &Descriptions, field: &str) -> String {
    let Some((ty, field)) = field.split_once(' ') else { return String::new() };
    descriptions.of_field(&format!("io.k8s.api.{ty}"), field).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_of_a_column_and_says_something() {
        let mut kind = None;
        for line in TABLE.lines() {
            let Some((column, _)) = line.strip_prefix(' ').and_then(|line| line.split_once(" = ")) else {
                let (group, name) = line.split_once('/').expect("a group and a kind");
                kind = crate::kinds::all().iter().find(|k| k.info().group == group && k.info().kind == name);
                assert!(kind.is_some(), "{line}");
                continue;
            };
            let kind = kind.expect("a kind comes first");
            assert!(kind.columns().iter().any(|c| c.name == column), "{column} of {}", kind.info().kind);
            assert!(!description(kind.info(), column).is_empty(), "{column} of {}", kind.info().kind);
        }
    }
}
