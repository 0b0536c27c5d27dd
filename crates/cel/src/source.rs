//! An expression's text, places in it, and the errors that point at them.

use std::fmt;

/// The text of one expression. Places are counted in code points, as CEL counts them.
#[derive(Clone, Debug)]
pub struct Source {
    pub chars: Vec<char>,
    /// Where each line after the first begins.
    lines: Vec<usize>,
}

/// A line from 1 and a column from 0; `NOWHERE` for errors about the whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub line: i32,
    pub column: i32,
}

impl Location {
    pub const NOWHERE: Self = Self { line: -1, column: -1 };
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub location: Location,
    pub message: String,
}

/// Everything wrong with an expression, printed as cel-go prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issues {
    pub list: Vec<Issue>,
    text: String,
}

/// A longer line is not shown under an error.
const MAX_SNIPPET_BYTES: usize = 16384;
/// Errors shown; the rest is counted.
const MAX_REPORTED: usize = 100;

impl Source {
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let lines = chars.iter().enumerate().filter(|(_, c)| **c == '\n').map(|(at, _)| at + 1).collect();
        Self { chars, lines }
    }

    pub fn location(&self, offset: usize) -> Location {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = if line == 0 { 0 } else { self.lines[line - 1] };
        Location { line: line as i32 + 1, column: (offset - start) as i32 }
    }

    fn line(&self, line: i32) -> Option<String> {
        let line = usize::try_from(line).ok()?.checked_sub(1)?;
        if self.chars.is_empty() || line > self.lines.len() {
            return None;
        }
        let start = if line == 0 { 0 } else { self.lines[line - 1] };
        let end = self.lines.get(line).map_or(self.chars.len(), |next| next - 1);
        Some(self.chars[start..end].iter().collect())
    }

    fn display(&self, issue: &Issue) -> String {
        let Location { line, column } = issue.location;
        let mut out = format!("ERROR: <input>:{line}:{}: {}", column + 1, issue.message);
        let Some(snippet) = self.line(line).filter(|s| s.len() <= MAX_SNIPPET_BYTES) else { return out };
        let snippet = snippet.replace('\t', " ");
        let mut chars = snippet.chars();
        // A wide dot under a wide character keeps the caret in its column.
        let dots: String =
            chars.by_ref().take(column.max(0) as usize).map(|c| if c.len_utf8() > 1 { '．' } else { '.' }).collect();
        let caret = if chars.next().is_some_and(|c| c.len_utf8() > 1) { '＾' } else { '^' };
        out.push_str(&format!("\n | {snippet}\n | {dots}{caret}"));
        out
    }

    /// The errors in the order of their places.
    pub fn issues(&self, mut list: Vec<Issue>) -> Issues {
        list.sort_by_key(|issue| issue.location);
        let mut lines: Vec<String> = list.iter().take(MAX_REPORTED).map(|issue| self.display(issue)).collect();
        if list.len() > MAX_REPORTED {
            lines.push(format!("{} more errors were truncated", list.len() - MAX_REPORTED));
        }
        Issues { list, text: lines.join("\n") }
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Issues {}
