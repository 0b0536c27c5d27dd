//! `conformance/passed.txt`: the tests that pass. It may only grow.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::suite::Outcome;
use crate::upstream;

const HEAD: &str =
    "# The conformance tests that pass. `cargo xtask conformance --update` adds to it; nothing takes away.\n";

/// A run, held against the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// On the list and in the run, but not passed.
    pub lost: Vec<String>,
    /// Passed, and not on the list yet.
    pub won: Vec<String>,
}

impl Verdict {
    /// `chosen` are the tests that should have run: one that did not run did not pass.
    pub fn of(listed: &BTreeSet<String>, chosen: &[String], outcomes: &[Outcome]) -> Self {
        let passed: BTreeSet<&String> = outcomes.iter().filter(|o| o.failure.is_none()).map(|o| &o.name).collect();
        let lost = chosen.iter().filter(|name| listed.contains(*name) && !passed.contains(name));
        let won = passed.iter().filter(|name| !listed.contains(**name));
        Self { lost: lost.cloned().collect(), won: won.map(|name| (*name).clone()).collect() }
    }
}

/// Lines that are not comments.
pub fn read(file: &str) -> Result<BTreeSet<String>> {
    let path = upstream::directory().join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

pub fn listed() -> Result<BTreeSet<String>> {
    read("passed.txt")
}

pub fn write(names: &BTreeSet<String>) -> Result<()> {
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    let path = upstream::directory().join("passed.txt");
    std::fs::write(&path, format!("{HEAD}{lines}")).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, failure: Option<&str>) -> Outcome {
        Outcome { name: name.into(), failure: failure.map(Into::into), seconds: 1.0 }
    }

    #[test]
    fn what_failed_or_did_not_run_is_lost_and_what_is_new_is_won() {
        let listed = ["kept", "broken", "crashed", "elsewhere"].map(String::from).into();
        let chosen = ["kept", "broken", "crashed", "new", "hopeless"].map(String::from);
        let outcomes = [
            outcome("kept", None),
            outcome("broken", Some("why")),
            outcome("new", None),
            outcome("hopeless", Some("x")),
        ];
        let verdict = Verdict::of(&listed, &chosen, &outcomes);
        assert_eq!(verdict, Verdict { lost: vec!["broken".into(), "crashed".into()], won: vec!["new".into()] });
    }

    #[test]
    fn the_slice_is_of_tests_that_pass() {
        let listed = listed().unwrap();
        let others: Vec<String> =
            read("slice.txt").unwrap().into_iter().filter(|name| !listed.contains(name)).collect();
        assert!(others.is_empty(), "in slice.txt but not in passed.txt: {others:#?}");
    }
}
