//! The official suite: which tests, how they are run, what came of them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::machine::{KUBECONFIG, Machine};
use crate::terminal::note;
use crate::upstream;

/// Which tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub areas: Vec<String>,
    pub focus: Vec<String>,
    pub skip: Vec<String>,
}

/// Tests that share the cluster with others, and those that do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Parallel,
    Serial,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub name: String,
    /// None when it passed.
    pub failure: Option<String>,
    pub seconds: f64,
}

impl Selection {
    /// As ginkgo takes it.
    fn flags(&self, part: Part) -> Vec<String> {
        let mut labels = match part {
            Part::Parallel => "Conformance && !Serial".to_owned(),
            Part::Serial => "Conformance && Serial".to_owned(),
        };
        if !self.areas.is_empty() {
            let areas: Vec<String> = self.areas.iter().map(|area| format!("sig-{area}")).collect();
            labels += &format!(" && ({})", areas.join(" || "));
        }
        let mut flags = vec![format!("--label-filter={labels}")];
        flags.extend(self.focus.iter().map(|pattern| format!("--focus={pattern}")));
        flags.extend(self.skip.iter().map(|pattern| format!("--skip={pattern}")));
        flags
    }
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Self::Parallel => "parallel",
            Self::Serial => "serial",
        }
    }
}

/// The names of the chosen tests; needs no cluster.
pub fn list(selection: &Selection, part: Part, reports: &Path) -> Result<Vec<String>> {
    let mut ginkgo = Command::new(upstream::tool("ginkgo")?);
    let report = format!("{}-list.json", part.name());
    ginkgo.args(["run", "--dry-run", "--silence-skips"]).args(selection.flags(part));
    ginkgo.arg(format!("--json-report={report}")).arg("--output-dir").arg(reports).arg(upstream::tool("e2e.test")?);
    let output =
        ginkgo.args(["--", "--provider=skeleton", "--kubeconfig=/dev/null"]).output().context("running ginkgo")?;
    let path = reports.join(report);
    if !path.exists() {
        bail!("ginkgo: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(outcomes(&path)?.into_iter().map(|outcome| outcome.name).collect())
}

/// Runs the chosen tests on the machine. Leaves a log and JUnit in `reports`.
pub fn run(
    machine: &Machine,
    selection: &Selection,
    part: Part,
    parallel: usize,
    reports: &Path,
) -> Result<Vec<Outcome>> {
    let name = part.name();
    let mut ginkgo = machine.command(upstream::tool("ginkgo")?)?;
    // Always in the same order.
    ginkgo.args(["run", "-v", "--no-color", "--keep-going", "--timeout=6h", "--seed=1"]).args(selection.flags(part));
    let procs = if part == Part::Parallel { parallel } else { 1 };
    ginkgo.arg(format!("--procs={procs}")).arg("--output-dir").arg(reports);
    ginkgo.args([format!("--json-report={name}.json"), format!("--junit-report={name}.xml")]);
    ginkgo.arg(upstream::tool("e2e.test")?).arg("--").args(suite_flags()?);
    follow(&mut ginkgo, &reports.join(format!("{name}.log")))?;
    outcomes(&reports.join(format!("{name}.json")))
}

fn suite_flags() -> Result<Vec<String>> {
    let kubectl = upstream::tool("kubectl")?;
    let fixed = ["--provider=skeleton", "--num-nodes=1", "--allowed-not-ready-nodes=0", "--dump-logs-on-failure=true"];
    let waits =
        ["--node-schedulable-timeout=2m", "--system-pods-startup-timeout=2m", "--system-daemonsets-startup-timeout=1m"];
    let mut flags: Vec<String> = fixed.iter().chain(&waits).map(|flag| (*flag).to_owned()).collect();
    flags.extend([format!("--kubeconfig={KUBECONFIG}"), format!("--kubectl-path={}", kubectl.display())]);
    Ok(flags)
}

/// Runs to the end, whatever it is: what it says goes to the log, the end of each test to the terminal.
fn follow(command: &mut Command, log: &Path) -> Result<()> {
    let mut log = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let mut child = command.stdout(Stdio::piped()).stderr(log.try_clone()?).spawn().context("running ginkgo")?;
    let output = child.stdout.take().context("ginkgo has no output")?;
    let mut test = String::new();
    let mut ended = None;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        log.write_all(&line)?;
        log.write_all(b"\n")?;
        let line = String::from_utf8_lossy(&line);
        if line.starts_with("[sig-") {
            (*line).clone_into(&mut test);
        }
        // A bullet ends a test, whose name is above it or, when several run at once, on the next line.
        if let Some(bullet) = ended.take() {
            note(&format!("{bullet} {test}"))?;
        }
        if line.starts_with('\u{2022}') {
            ended = Some(line.into_owned());
        }
    }
    child.wait()?;
    Ok(())
}

/// What a report of ginkgo's says of the tests that ran.
fn outcomes(report: &Path) -> Result<Vec<Outcome>> {
    let file = File::open(report).with_context(|| format!("the suite left no report: opening {}", report.display()))?;
    let suites: Vec<Suite> = serde_json::from_reader(BufReader::new(file)).context("reading ginkgo's report")?;
    let specs = suites.into_iter().flat_map(|suite| suite.specs);
    Ok(specs.filter(|spec| spec.kind == "It").filter_map(Spec::outcome).collect())
}

#[derive(Deserialize)]
struct Suite {
    #[serde(rename = "SpecReports")]
    specs: Vec<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    #[serde(default)]
    container_hierarchy_texts: Option<Vec<String>>,
    #[serde(rename = "LeafNodeType")]
    kind: String,
    #[serde(default)]
    leaf_node_text: String,
    state: String,
    /// In nanoseconds.
    #[serde(default)]
    run_time: f64,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    #[serde(default)]
    message: String,
}

impl Spec {
    fn outcome(self) -> Option<Outcome> {
        let failure = match self.state.as_str() {
            "skipped" | "pending" => return None,
            "passed" => None,
            state => Some(self.failure.map_or_else(|| state.to_owned(), |failure| failure.message)),
        };
        let mut words = self.container_hierarchy_texts.unwrap_or_default();
        words.push(self.leaf_node_text);
        Some(Outcome { name: words.join(" "), failure, seconds: self.run_time / 1e9 })
    }
}
