//! What a run tells people: a Markdown report, and the counts in docs/conformance.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::suite::Outcome;

/// Where the counts stand in docs/conformance.md.
const BEGIN: &str = "<!-- cargo xtask conformance --update: begin -->\n";
const END: &str = "<!-- cargo xtask conformance --update: end -->\n";
/// Of a failure's text; the log has the rest.
const LINES: usize = 12;

/// The whole report, sorted by area.
pub fn markdown(version: &str, outcomes: &[Outcome], skipped: &[String]) -> String {
    let failed = |outcome: &&Outcome| outcome.failure.is_some();
    let mut text = format!(
        "# Conformance with {version}: {} of {} passed\n\n",
        outcomes.iter().filter(|outcome| outcome.failure.is_none()).count(),
        outcomes.len() + skipped.len(),
    );
    text += "| area | passed | failed | skipped | seconds |\n|---|---|---|---|---|\n";
    for (area, tests) in by_area(outcomes) {
        let (all, failed) = (tests.len(), tests.iter().copied().filter(failed).count());
        let skipped = skipped.iter().filter(|name| self::area(name) == area).count();
        let seconds: f64 = tests.iter().map(|test| test.seconds).sum();
        let _ = writeln!(text, "| {area} | {} | {failed} | {skipped} | {seconds:.0} |", all - failed);
    }
    text += "\n## Failed\n";
    for outcome in by_area(outcomes).into_values().flatten().filter(failed) {
        let failure = outcome.failure.as_deref().unwrap_or_default();
        let _ = writeln!(text, "\n### {}\n\n```\n{}\n```", outcome.name, first_lines(failure));
    }
    text += "\n## Every test\n\n| test | | seconds |\n|---|---|---|\n";
    for outcome in by_area(outcomes).into_values().flatten() {
        let verdict = if outcome.failure.is_none() { "passed" } else { "failed" };
        let _ = writeln!(text, "| {} | {verdict} | {:.1} |", cell(&outcome.name), outcome.seconds);
    }
    for name in skipped {
        let _ = writeln!(text, "| {} | skipped | |", cell(name));
    }
    text
}

/// `[sig-node] ...` is of the area `node`.
pub fn area(name: &str) -> &str {
    name.strip_prefix("[sig-").and_then(|rest| rest.split_once(']')).map_or("other", |(area, _)| area)
}

fn by_area(outcomes: &[Outcome]) -> BTreeMap<&str, Vec<&Outcome>> {
    let mut areas = BTreeMap::<_, Vec<_>>::new();
    for outcome in outcomes {
        areas.entry(area(&outcome.name)).or_default().push(outcome);
    }
    areas.values_mut().for_each(|tests| tests.sort_by(|a, b| a.name.cmp(&b.name)));
    areas
}

pub fn first_lines(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.take(LINES).collect::<Vec<_>>().join("\n")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Counts of the list that may only grow.
fn counts(version: &str, all: &[String], passed: &BTreeSet<String>) -> String {
    let mut areas = BTreeMap::<&str, (usize, usize)>::new();
    for name in all {
        let (tests, passing) = areas.entry(area(name)).or_default();
        *tests += 1;
        *passing += usize::from(passed.contains(name));
    }
    let mut text = format!("The suite of {version}:\n\n| area | tests | pass |\n|---|---|---|\n");
    for (area, (tests, passing)) in &areas {
        let _ = writeln!(text, "| {area} | {tests} | {passing} |");
    }
    let (tests, passing) = areas.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    text + &format!("| **all** | **{tests}** | **{passing}** |\n")
}

/// Puts the counts into docs/conformance.md.
pub fn write_counts(version: &str, all: &[String], passed: &BTreeSet<String>) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let (head, rest) = text.split_once(BEGIN).context("docs/conformance.md has no place for the counts")?;
    let (_, tail) = rest.split_once(END).context("docs/conformance.md has no end of the counts")?;
    let counts = counts(version, all, passed);
    std::fs::write(&path, format!("{head}{BEGIN}{counts}{END}{tail}")).context("writing docs/conformance.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_counted() {
        let all = ["[sig-node] a", "[sig-node] b", "[sig-apps] c"].map(String::from);
        let text = counts("v1", &all, &["[sig-node] b".to_owned()].into());
        assert!(text.contains("| apps | 1 | 0 |\n| node | 2 | 1 |\n| **all** | **3** | **1** |"), "{text}");
    }

    #[test]
    fn the_report_says_what_failed_and_what_did_not_run() {
        let outcome = |name: &str, failure: Option<&str>| Outcome {
            name: name.into(),
            failure: failure.map(Into::into),
            seconds: 2.0,
        };
        let outcomes = [outcome("[sig-node] a", None), outcome("[sig-node] b", Some("first\n\nsecond"))];
        let text = markdown("v1", &outcomes, &["[sig-node] c".to_owned()]);
        for part in
            ["1 of 3 passed", "| node | 1 | 1 | 1 | 4 |", "### [sig-node] b\n\n```\nfirst\nsecond\n```", "c | skipped"]
        {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}
