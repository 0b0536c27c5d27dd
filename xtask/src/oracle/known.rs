//! The checked-in list of known differences, `conformance/oracle/known.txt`: it may only shrink. A line is
//! `kind | gist | reason`, where `*` stands for any text. What upstream answers by chance need not differ in every run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::judge::Tally;

/// How the reason of a difference begins that may be there or not.
const BY_CHANCE: &str = "By chance: ";

struct Entry {
    kind: String,
    gist: String,
    reason: String,
    line: String,
}

pub struct Known {
    path: PathBuf,
    /// Lines of the head, each with its `#`.
    head: Vec<String>,
    entries: Vec<Entry>,
}

impl Known {
    pub fn read() -> Result<Self> {
        let path = super::corpus::folder().join("known.txt");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let (mut head, mut entries) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if line.starts_with('#') {
                head.push(line.to_owned());
                continue;
            }
            let parts: Vec<&str> = line.split(" | ").collect();
            let [kind, gist, reason] = parts[..] else { bail!("not `kind | gist | reason`: {line}") };
            if reason.trim().is_empty() {
                bail!("without a reason: {line}");
            }
            entries.push(Entry {
                kind: kind.to_owned(),
                gist: gist.to_owned(),
                reason: reason.trim().to_owned(),
                line: line.to_owned(),
            });
        }
        Ok(Self { path, head, entries })
    }

    pub fn has(&self, kind: &str, gist: &str) -> bool {
        self.entries.iter().any(|entry| entry.is(kind, gist))
    }

    /// Fails at a difference that is not on the list and, when everything was asked, at a line without one.
    pub fn verdict(&self, tallies: &BTreeMap<String, Tally>, complete: bool) -> Result<()> {
        let new = findings(tallies).filter(|(kind, gist)| !self.has(kind, gist)).count();
        let stale: Vec<&Entry> = self.entries.iter().filter(|entry| complete && entry.is_stale(tallies)).collect();
        if new > 0 {
            bail!("{new} differences are not on the list of known ones");
        }
        if let Some(first) = stale.first() {
            bail!("{} known differences are none any more (--write takes them off): {}", stale.len(), first.line);
        }
        Ok(())
    }

    /// Writes the list without the lines that no difference bears out.
    pub fn without_stale(&self, tallies: &BTreeMap<String, Tally>) -> Result<()> {
        let lines = self.entries.iter().filter(|entry| !entry.is_stale(tallies)).map(|entry| &entry.line);
        let text: String = self.head.iter().chain(lines).map(|line| format!("{line}\n")).collect();
        std::fs::write(&self.path, text).with_context(|| format!("writing {}", self.path.display()))
    }

    /// `docs/differences.md`: the reasons, each with what it is the reason of.
    pub fn page(&self) -> String {
        let mut reasons: Vec<(&str, Vec<&Entry>)> = Vec::new();
        for entry in &self.entries {
            match reasons.iter_mut().find(|(reason, _)| *reason == entry.reason) {
                Some((_, entries)) => entries.push(entry),
                None => reasons.push((&entry.reason, vec![entry])),
            }
        }
        let mut page = PAGE.to_owned();
        for (reason, entries) in reasons {
            let _ = writeln!(page, "\n- {reason}");
            for entry in entries {
                let whose = if entry.kind == "*" { String::new() } else { format!("{}: ", entry.kind) };
                // A code span of two backticks may hold one.
                let _ = writeln!(page, "  - {whose}`` {} ``", entry.gist);
            }
        }
        page
    }

    pub fn write_page(&self) -> Result<()> {
        let path = page_path();
        std::fs::write(&path, self.page()).with_context(|| format!("writing {}", path.display()))
    }
}

fn page_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/differences.md")
}

const PAGE: &str = "\
# Differences from upstream

What `cargo xtask oracle` finds that Orlop's API server answers otherwise than upstream's kube-apiserver, and why it
stays so. `cargo xtask oracle --page` writes this page from `conformance/oracle/known.txt`; what a difference looks
like is said there in the oracle's words: `*` stands for any text, `items[*].kind: extra` is a field that only Orlop
answers, `missing` one that only upstream does, `a became b` upstream's value and Orlop's.
";

impl Entry {
    fn is(&self, kind: &str, gist: &str) -> bool {
        matches(&self.kind, kind) && matches(&self.gist, gist)
    }

    fn is_stale(&self, tallies: &BTreeMap<String, Tally>) -> bool {
        !self.reason.starts_with(BY_CHANCE) && !findings(tallies).any(|(kind, gist)| self.is(kind, gist))
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    rest.is_empty() || text.char_indices().any(|(at, _)| matches(rest, &text[at..]))
}

fn findings(tallies: &BTreeMap<String, Tally>) -> impl Iterator<Item = (&str, &str)> {
    tallies.iter().flat_map(|(kind, tally)| tally.findings.keys().map(|gist| (kind.as_str(), gist.as_str())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Entry, Known, matches, page_path};

    #[test]
    fn the_page_tells_the_list() {
        let page = std::fs::read_to_string(page_path()).unwrap();
        assert!(page == Known::read().unwrap().page(), "cargo xtask oracle --page writes docs/differences.md");
    }

    #[test]
    fn only_what_is_by_chance_may_be_missing() {
        let entry = |reason: &str| Entry {
            kind: "pods".to_owned(),
            gist: "spec: extra".to_owned(),
            reason: reason.to_owned(),
            line: String::new(),
        };
        assert!(entry("It has its reason.").is_stale(&BTreeMap::new()));
        assert!(!entry("By chance: it has its reason.").is_stale(&BTreeMap::new()));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("items[*].kind: extra", "items[a/b].kind: extra", true),
            ("items[*].kind: extra", "items[*].kind: extra", true),
            ("items[*].kind: extra", "items[a].apiVersion: extra", false),
            ("*", "anything", true),
            ("a*", "b", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
