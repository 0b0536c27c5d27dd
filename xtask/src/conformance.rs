//! `cargo xtask conformance`: the official suite, built from upstream's sources, run against a release binary
//! that is started as a user would, on a machine of its own.

mod cache;
pub mod images;
mod passed;
mod report;
mod root;
mod suite;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::machine::Machine;
use crate::node;
use crate::process::Process;
use crate::terminal::{note, say};
use crate::upstream;
use crate::upstream::etcd::{self, Flush};
use passed::Verdict;
pub use report::first_lines;
use suite::{Outcome, Part, Selection};

#[derive(clap::Args)]
pub struct Args {
    /// The binary to judge, as scripts/build made it
    #[arg(long, default_value = ".orlop/orlop")]
    orlop: PathBuf,
    /// Only these areas: node, apps, network, ...
    #[arg(long, value_delimiter = ',')]
    area: Vec<String>,
    /// Only tests whose name matches one of these regular expressions
    #[arg(long)]
    focus: Vec<String>,
    /// No tests whose name matches one of these regular expressions
    #[arg(long)]
    skip: Vec<String>,
    /// Only the tests of conformance/slice.txt, which take minutes and touch every area
    #[arg(long, conflicts_with_all = ["area", "focus"])]
    slice: bool,
    /// How many tests at once; serial ones follow one by one
    #[arg(long, default_value_t = 4)]
    parallel: usize,
    /// Orlop keeps its objects in an etcd of so many members
    #[arg(long, value_name = "MEMBERS", num_args = 0..=1, default_value_t = 0, default_missing_value = "1")]
    etcd: usize,
    /// Print the names of the chosen tests and run none
    #[arg(long)]
    list: bool,
    /// Add what passes to conformance/passed.txt, and count anew in docs/conformance.md
    #[arg(long)]
    update: bool,
    /// Where report.md, JUnit and logs go
    #[arg(long, default_value = ".orlop/conformance")]
    report: PathBuf,
}

const PARTS: [Part; 2] = [Part::Parallel, Part::Serial];

pub fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.report).with_context(|| format!("making {}", args.report.display()))?;
    let reports = args.report.canonicalize()?;
    let selection = args.selection()?;
    let chosen = PARTS.map(|part| suite::list(&selection, part, &reports));
    let [parallel, serial] = chosen;
    let chosen = [parallel?, serial?];
    if args.list {
        let mut names = chosen.concat();
        names.sort();
        return say(&names.iter().map(|name| format!("{name}\n")).collect::<String>());
    }
    let node = Node::start(args, &chosen.concat(), &reports)?;
    let mut outcomes = Vec::new();
    for (part, names) in PARTS.into_iter().zip(&chosen).filter(|(_, names)| !names.is_empty()) {
        note(&format!("{} tests, {}", names.len(), part.name()))?;
        outcomes.extend(suite::run(&node.machine, &selection, part, args.parallel, &reports)?);
    }
    drop(node);
    judge(&chosen.concat(), &outcomes, args.update, &reports)
}

impl Args {
    fn selection(&self) -> Result<Selection> {
        let focus = if self.slice { slice()? } else { self.focus.clone() };
        Ok(Selection { areas: self.area.clone(), focus, skip: self.skip.clone() })
    }
}

/// The slice's names as regular expressions.
fn slice() -> Result<Vec<String>> {
    let names = passed::read("slice.txt")?;
    Ok(names.iter().map(|name| format!("{}$", literally(name))).collect())
}

/// A regular expression that matches this text.
fn literally(text: &str) -> String {
    text.chars()
        .flat_map(|c| (!c.is_alphanumeric() && c.is_ascii() && c != ' ').then_some('\\').into_iter().chain([c]))
        .collect()
}

/// A node of Orlop's. Dropped in this order: what runs there ends with the machine.
struct Node {
    machine: Machine,
    _etcd: Vec<Process>,
    _dir: TempDir,
}

impl Node {
    /// With the images of these tests.
    fn start(args: &Args, tests: &[String], reports: &Path) -> Result<Self> {
        let orlop = node::program(&args.orlop)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let archives = runtime.block_on(images::archives(tests))?;
        let mut node = Self::with_store(&orlop, args.etcd, reports)?;
        node::get_ready(&mut node.machine, &orlop, &archives)?;
        Ok(node)
    }

    /// Which is an etcd of so many members, on the same machine; a log when none.
    fn with_store(orlop: &Path, members: usize, reports: &Path) -> Result<Self> {
        let dir = TempDir::with_prefix("orlop-etcd-").context("making a directory for etcd")?;
        let (etcd, program) = (etcd::Cluster::of(members, dir.path())?, etcd::program()?);
        let main = |name: &str| node::server(orlop, name, &[]).into_iter().chain(etcd.orlop_flags()).collect();
        // Orlop waits for etcd, which needs the machine.
        let machine = Machine::start("conformance", 1, &reports.join("orlop.log"), main)?;
        let members = etcd.start(|| machine.command(&program), Flush::Always)?;
        Ok(Self { machine, _etcd: members, _dir: dir })
    }
}

/// Writes the report and holds the run against the list.
fn judge(chosen: &[String], outcomes: &[Outcome], update: bool, reports: &Path) -> Result<()> {
    let version = upstream::version()?;
    let skipped: Vec<String> =
        chosen.iter().filter(|name| !outcomes.iter().any(|outcome| outcome.name == **name)).cloned().collect();
    let text = report::markdown(&version, outcomes, &skipped);
    std::fs::write(reports.join("report.md"), &text).context("writing the report")?;
    say(&text)?;
    let mut listed = passed::listed()?;
    let verdict = Verdict::of(&listed, chosen, outcomes);
    note(&format!("{} newly passed, {} of those that passed before did not", verdict.won.len(), verdict.lost.len()))?;
    if update {
        listed.extend(verdict.won);
        passed::write(&listed)?;
        let everything = PARTS.into_iter().map(|part| suite::list(&Selection::default(), part, reports));
        report::write_counts(&version, &everything.collect::<Result<Vec<_>>>()?.concat(), &listed)?;
    }
    if !verdict.lost.is_empty() {
        bail!("these passed before:\n{}", verdict.lost.join("\n"));
    }
    if outcomes.is_empty() {
        bail!("no test ran: see {}", reports.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_an_expression_that_matches_it_alone() {
        assert_eq!(literally("[sig-node] a (b)"), "\\[sig\\-node\\] a \\(b\\)");
    }
}
