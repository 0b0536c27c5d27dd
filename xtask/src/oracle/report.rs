//! What differs, sorted by kind, and the counts for docs/oracle.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::judge::Tally;
use super::known::Known;
use crate::terminal::say;

const BEGIN: &str = "<!-- cargo xtask oracle --write: begin -->\n";
const END: &str = "<!-- cargo xtask oracle --write: end -->\n";
/// Of a request or an answer, as an example.
const EXAMPLE_MAX: usize = 600;

pub fn print(tallies: &BTreeMap<String, Tally>, known: &Known) -> Result<()> {
    let mut text = String::new();
    for (kind, tally) in tallies.iter().filter(|(_, tally)| !tally.findings.is_empty()) {
        writeln!(text, "== {kind}: {} of {} requests differ", tally.differing, tally.requests)?;
        let mut findings: Vec<_> = tally.findings.iter().collect();
        findings.sort_by(|a, b| b.1.count.cmp(&a.1.count).then(a.0.cmp(b.0)));
        for (gist, finding) in findings {
            let mark = if known.has(kind, gist) { " (known)" } else { "" };
            writeln!(text, "{kind} | {gist} | {} times{mark}", finding.count)?;
            if mark.is_empty() {
                writeln!(text, "    {}\n    {}", finding.case, brief(&finding.ask))?;
                writeln!(text, "    upstream: {}", brief(&finding.difference.upstream))?;
                writeln!(text, "    orlop:    {}", brief(&finding.difference.orlop))?;
            }
        }
    }
    writeln!(text, "\n{}", table(tallies, known))?;
    say(&text)
}

pub fn write(tallies: &BTreeMap<String, Tally>, known: &Known) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/oracle.md");
    let text = std::fs::read_to_string(&path).context("reading docs/oracle.md")?;
    let (head, rest) = text.split_once(BEGIN).context("docs/oracle.md has no place for the table")?;
    let (_, tail) = rest.split_once(END).context("docs/oracle.md has no end of the table")?;
    let table = table(tallies, known);
    std::fs::write(&path, format!("{head}{BEGIN}{table}{END}{tail}")).context("writing docs/oracle.md")
}

fn table(tallies: &BTreeMap<String, Tally>, known: &Known) -> String {
    let mut text =
        "| kind | requests | answers that differ | differences | of them known |\n|---|--:|--:|--:|--:|\n".to_owned();
    let mut sum = [0; 4];
    for (kind, tally) in tallies {
        let listed = tally.findings.keys().filter(|gist| known.has(kind, gist)).count();
        let row = [tally.requests, tally.differing, tally.findings.len(), listed];
        sum.iter_mut().zip(row).for_each(|(sum, n)| *sum += n);
        text.push_str(&line(kind, row));
    }
    text + &line("**all**", sum)
}

fn line(kind: &str, [requests, differing, findings, known]: [usize; 4]) -> String {
    format!("| {kind} | {requests} | {differing} | {findings} | {known} |\n")
}

fn brief(text: &str) -> String {
    let text = text.replace('\n', "\\n");
    match text.char_indices().nth(EXAMPLE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
