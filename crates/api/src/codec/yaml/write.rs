//! JSON values to YAML text, laid out as go-yaml v2's emitter does, so that files written by `kubectl` and by
//! Orlop do not differ.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::style::{Place, Style, is_break, is_printable, style_of};

/// Lines are folded at the first space past this column.
const BEST_WIDTH: usize = 80;
const INDENT: usize = 2;
/// Longer keys, and those of several lines, are written with `? `.
const MAX_SIMPLE_KEY: usize = 128;

/// Writes one document, with a final line break.
pub fn to_yaml(value: &Value) -> String {
    let mut writer = Writer { out: String::new(), column: 0, whitespace: true, indention: true };
    writer.node(value, Place::Root, 0);
    if writer.column > 0 {
        writer.line_break();
    }
    writer.out
}

struct Writer {
    out: String,
    /// In characters.
    column: usize,
    /// The last character was white space, so that none is needed before the next word.
    whitespace: bool,
    /// Only indentation (and `-`, `?`) stands on this line so far.
    indention: bool,
}

impl Writer {
    /// `indent` is where the children of a collection go.
    fn node(&mut self, value: &Value, place: Place, indent: usize) {
        match value {
            Value::Null => self.plain("null", indent),
            Value::Bool(b) => self.plain(if *b { "true" } else { "false" }, indent),
            Value::Number(number) => self.plain(&number_text(number), indent),
            // Never at the margin, where `---` and `...` within would end the document.
            Value::String(text) => self.string(text, place, indent.max(INDENT)),
            Value::Array(items) if items.is_empty() => self.indicator("[]", true, false),
            Value::Object(map) if map.is_empty() => self.indicator("{}", true, false),
            Value::Array(items) => self.sequence(items, place, indent),
            Value::Object(map) => self.mapping(map, indent),
        }
    }

    fn sequence(&mut self, items: &[Value], place: Place, indent: usize) {
        // A list in a mapping starts in the key's own column.
        let indent = if place == Place::Value && !self.indention { indent.saturating_sub(INDENT) } else { indent };
        for item in items {
            self.indent(indent);
            self.indicator("-", true, true);
            self.node(item, Place::Item, indent + INDENT);
        }
    }

    fn mapping(&mut self, map: &Map<String, Value>, indent: usize) {
        let mut entries: Vec<_> = map.iter().collect();
        entries.sort_by(|a, b| compare_keys(a.0, b.0));
        for (key, value) in entries {
            self.indent(indent);
            if key.len() <= MAX_SIMPLE_KEY && !key.contains(is_break) {
                self.string(key, Place::Key, indent + INDENT);
                self.indicator(":", false, false);
            } else {
                self.indicator("?", true, true);
                self.string(key, Place::Value, indent + INDENT);
                self.indent(indent);
                self.indicator(":", true, true);
            }
            self.node(value, Place::Value, indent + INDENT);
        }
    }

    fn string(&mut self, text: &str, place: Place, indent: usize) {
        match style_of(text, place) {
            Style::Plain => self.folded(text, indent, place != Place::Key, |_| None),
            Style::Single => {
                self.indicator("'", true, false);
                self.folded_quoted(text, indent, place != Place::Key);
                self.indicator("'", false, false);
            }
            Style::Double => self.double_quoted(text, indent, place != Place::Key),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn plain(&mut self, word: &str, indent: usize) {
        self.folded(word, indent, false, |_| None);
    }

    /// Plain text, broken at single spaces once the line is long.
    fn folded(&mut self, text: &str, indent: usize, may_break: bool, escape: fn(char) -> Option<char>) {
        if !self.whitespace {
            self.put(' ');
        }
        self.fold(text, indent, may_break, false, escape);
    }

    fn folded_quoted(&mut self, text: &str, indent: usize, may_break: bool) {
        self.fold(text, indent, may_break, true, |c| (c == '\'').then_some('\''));
    }

    fn fold(&mut self, text: &str, indent: usize, may_break: bool, inner_only: bool, escape: fn(char) -> Option<char>) {
        let mut after_space = false;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c == ' ' {
                let inner = !inner_only || (at > 0 && at + 1 < text.len());
                let single = chars.peek().is_none_or(|(_, next)| *next != ' ');
                if may_break && !after_space && self.column > BEST_WIDTH && inner && single {
                    self.indent(indent);
                } else {
                    self.put(c);
                }
                after_space = true;
            } else {
                if let Some(before) = escape(c) {
                    self.put(before);
                }
                self.put(c);
                after_space = false;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn double_quoted(&mut self, text: &str, indent: usize, may_break: bool) {
        self.indicator("\"", true, false);
        let mut after_space = false;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c == ' ' {
                if may_break && !after_space && self.column > BEST_WIDTH && at > 0 && at + 1 < text.len() {
                    self.indent(indent);
                    if chars.peek().is_some_and(|(_, next)| *next == ' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(c);
                }
                after_space = true;
                continue;
            }
            after_space = false;
            if !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.escaped(c);
            } else {
                self.put(c);
            }
        }
        self.indicator("\"", false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn escaped(&mut self, c: char) {
        self.put('\\');
        let short = match c {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0b' => 'v',
            '\x0c' => 'f',
            '\r' => 'r',
            '\x1b' => 'e',
            '"' | '\\' => c,
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = u32::from(c);
                let hex = match code {
                    0..=0xff => format!("x{code:02X}"),
                    0x100..=0xffff => format!("u{code:04X}"),
                    _ => format!("U{code:08X}"),
                };
                hex.chars().for_each(|c| self.put(c));
                return;
            }
        };
        self.put(short);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.indicator("|", true, false);
        if text.starts_with([' ', '\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
            self.indicator("2", false, false);
        }
        let mut tail = text.chars().rev();
        match (tail.next().is_some_and(is_break), tail.next()) {
            (false, _) => self.indicator("-", false, false),
            (true, before) if before.is_none_or(is_break) => self.indicator("+", false, false),
            (true, _) => {}
        }
        self.line_break();
        let mut at_line_start = true;
        for c in text.chars() {
            if is_break(c) {
                self.raw_break(c);
                at_line_start = true;
                continue;
            }
            if at_line_start {
                self.indent(indent);
                at_line_start = false;
            }
            self.put(c);
            self.indention = false;
        }
        // Unlike other scalars this leaves the line open or closed as the text does.
    }

    fn indicator(&mut self, text: &str, needs_whitespace: bool, keeps_indention: bool) {
        if needs_whitespace && !self.whitespace {
            self.put(' ');
        }
        text.chars().for_each(|c| self.put(c));
        self.whitespace = false;
        self.indention &= keeps_indention;
    }

    /// To column `indent`, on a new line unless this one holds nothing but indentation up to there.
    fn indent(&mut self, indent: usize) {
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn line_break(&mut self) {
        self.raw_break('\n');
        self.whitespace = true;
    }

    fn raw_break(&mut self, c: char) {
        self.out.push(c);
        self.column = 0;
        self.indention = true;
    }
}

/// Letters after everything else, runs of digits by value.
fn compare_keys(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(i) = a.iter().zip(&b).position(|(x, y)| x != y) else { return a.len().cmp(&b.len()) };
    match (a[i].is_alphabetic(), b[i].is_alphabetic()) {
        (true, true) => return a[i].cmp(&b[i]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero inside a number that began before counts as a digit of it, not as a leading zero.
    let inside =
        (a[i] == '0' || b[i] == '0') && a[..i].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let run = |text: &[char]| {
        let digits = text[i..].iter().take_while(|c| c.is_ascii_digit());
        let value = |n: i64, c: &char| n.wrapping_mul(10).wrapping_add(i64::from(*c as u32 - '0' as u32));
        (digits.clone().fold(i64::from(inside), value), digits.count())
    };
    run(&a).cmp(&run(&b)).then_with(|| a[i].cmp(&b[i]))
}

fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => go_float(float, false),
        _ => number.to_string(),
    }
}

/// Go's `FormatFloat(f, 'g', -1, …)`: shortest digits, exponent form below 1e-4 and from 1e6 on.
pub(super) fn go_float(float: f64, single: bool) -> String {
    let scientific = if single { format!("{:e}", float as f32) } else { format!("{float:e}") };
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let power: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&power) {
        return if single { (float as f32).to_string() } else { float.to_string() };
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", power.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::yaml::from_yaml;
    use serde_json::json;

    #[test]
    fn lays_out_as_kubectl_does() {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "a", "labels": {}, "annotations": { "b10": "x", "b9": "true", "b-1": "", "B": "1e3" } },
            "spec": {
                "containers": [
                    { "name": "c", "args": ["-c", "a: b", "#x", "it's", "- y", "two\nlines\n", "open\nend", " lead", "tab\there", "10:30", "2024-01-02"], "ports": [] },
                    [["deep"], 1.5, null]
                ],
            },
        });
        let want = concat!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n    B: \"1e3\"\n    b-1: \"\"\n    b9: \"true\"\n    b10: x\n",
            "  labels: {}\n  name: a\nspec:\n  containers:\n  - args:\n    - -c\n    - 'a: b'\n    - '#x'\n    - it's\n    - '- y'\n",
            "    - |\n      two\n      lines\n    - |-\n      open\n      end\n    - ' lead'\n    - \"tab\\there\"\n    - \"10:30\"\n",
            "    - \"2024-01-02\"\n    name: c\n    ports: []\n  - - - deep\n    - 1.5\n    - null\n",
        );
        assert_eq!(to_yaml(&object), want);
        assert_eq!(from_yaml(want.as_bytes()).unwrap(), object);
    }

    #[test]
    fn folds_long_lines() {
        let words = "word ".repeat(30).trim_end().to_owned();
        let text = to_yaml(&json!({ "m": words }));
        assert!(text.lines().all(|line| line.len() <= BEST_WIDTH + 6), "{text}");
        assert_eq!(text.lines().count(), 2);
        assert_eq!(from_yaml(text.as_bytes()).unwrap()["m"], words);
    }

    #[test]
    fn a_document_of_a_single_text_does_not_end_within() {
        let long = "word ".repeat(20);
        for text in ["--- a", "... ", "a\n---\nb", "---\na\n", " \n...\n", "\n\n--- a"] {
            for text in [text.to_owned(), format!("{long}{text}"), format!("{long}\t{text}"), format!("{long}'{text}")]
            {
                let written = to_yaml(&json!(text));
                assert_eq!(from_yaml(written.as_bytes()).ok(), Some(json!(text)), "{written}");
            }
        }
    }
}
