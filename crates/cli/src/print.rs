//! The only place that writes to standard output and error.

use std::io::{self, Write};

/// Writes to the two standard streams. A reader that has gone away ends the program quietly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Printer;

impl Printer {
    pub fn line(self, text: impl AsRef<str>) {
        self.bytes(format!("{}\n", text.as_ref()).as_bytes());
    }

    pub fn bytes(self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        end_if_gone(out.write_all(bytes).and_then(|()| out.flush()));
    }

    /// What is not the answer itself: progress, hints, errors.
    pub fn note(self, text: impl AsRef<str>) {
        let mut out = io::stderr().lock();
        end_if_gone(writeln!(out, "{}", text.as_ref()));
    }

    pub fn error_bytes(self, bytes: &[u8]) {
        let mut out = io::stderr().lock();
        end_if_gone(out.write_all(bytes).and_then(|()| out.flush()));
    }
}

/// `orlop kubectl get pods | head`: not an error.
fn end_if_gone(result: io::Result<()>) {
    if result.is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}

/// Columns as kubectl lays them out: upper-case heads, three spaces between, the last one ragged.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    pub heads: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Columns {
    pub fn render(&self, with_heads: bool) -> String {
        let heads: Vec<String> = self.heads.iter().map(|h| h.to_uppercase()).collect();
        let all = || with_heads.then_some(&heads).into_iter().chain(&self.rows);
        let count = all().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..count)
            .map(|i| all().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in all() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 3));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect();
        let table = Columns { heads: row(&["Name", "Age"]), rows: vec![row(&["a", "1d"]), row(&["longer", "2m"])] };
        assert_eq!(table.render(true), "NAME     AGE\na        1d\nlonger   2m\n");
        assert_eq!(table.render(false), "a        1d\nlonger   2m\n");
    }
}
