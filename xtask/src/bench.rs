//! `cargo xtask bench`: how fast and how small a release binary is, measured from outside, as a user would
//! start it. Medians of several runs, no test: machines differ.

mod cluster;
mod connection;
mod flood;
mod load;
mod pods;
mod process;
mod report;
mod rival;
mod scale;
mod start;
mod watchers;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::terminal;
use crate::wish::Wish;
use report::{Goal, Report, Row};
use rival::Scale;

#[derive(clap::Args)]
pub struct Args {
    /// The binary to measure, as scripts/build made it
    #[arg(long, default_value = ".orlop/orlop")]
    orlop: PathBuf,
    /// Measure Orlop and another beside it, as ratios
    #[arg(long)]
    vs: Option<Rival>,
    /// Measure only these: start, apply, pods, idle, creates, list, watch, scale, size; of ratios api (or requests, audit,
    /// watch, lists, updates of it), control-plane, scheduler, node
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Ask for a part only, to try the command: figures of no worth
    #[arg(long, requires = "vs", conflicts_with_all = ["write", "divide"])]
    quick: bool,
    /// Ask for so many times less than everything: of a busy machine, ratios in reasonable time
    #[arg(long, requires = "vs", default_value_t = 1)]
    divide: usize,
    /// Put the figures into docs/performance.md
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Rival {
    /// kube-apiserver, etcd, kube-scheduler and kube-controller-manager, as conformance/go.mod pins them
    Upstream,
}

/// What can be measured on its own.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    Start,
    Apply,
    Pods,
    Idle,
    Creates,
    List,
    Watch,
    Scale,
    Size,
}

const ALL: [Subject; 9] = {
    use Subject::{Apply, Creates, Idle, List, Pods, Scale, Size, Start, Watch};
    [Start, Apply, Pods, Idle, Creates, List, Watch, Scale, Size]
};

pub fn run(args: &Args) -> Result<()> {
    let orlop = args.orlop.canonicalize().with_context(|| {
        format!("finding {}: scripts/build makes it, or name another with --orlop", args.orlop.display())
    })?;
    if !rustix::process::geteuid().is_root() {
        bail!("containers need root: run as root");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let wish = Wish::listen()?;
        tokio::select! {
            outcome = alone_or_beside(&orlop, args) => outcome,
            // Dropping what is under way stops the servers and removes what they made.
            why = wish.came() => Err(why),
        }
    })
}

async fn alone_or_beside(orlop: &Path, args: &Args) -> Result<()> {
    if let Some(Rival::Upstream) = args.vs {
        let only = chosen(&args.only, rival::parts)?;
        let options = rival::Options { only: &only, scale: Scale::new(args.divide, args.quick), write: args.write };
        return rival::measure(orlop, &options).await;
    }
    if args.write && !args.only.is_empty() {
        bail!("--write puts the whole table in place: leave out --only");
    }
    let report =
        measure(orlop, &chosen(&args.only, |word| Subject::from_str(word, false).ok().map(|s| vec![s]))?).await?;
    terminal::say(&report.to_string())?;
    if args.write { report.write() } else { Ok(()) }
}

/// What there is to choose from depends on whether another is measured too.
fn chosen<T>(words: &[String], named: impl Fn(&str) -> Option<Vec<T>>) -> Result<Vec<T>> {
    let all = words.iter().map(|word| named(word).with_context(|| format!("--only {word}: there is no such figure")));
    Ok(all.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// A subject that fails leaves its reason in the report, and the others are measured all the same.
async fn measure(orlop: &Path, only: &[Subject]) -> Result<Report> {
    let mut report = Report::new();
    for subject in ALL.into_iter().filter(|s| only.is_empty() || only.contains(s)) {
        let outcome = match subject {
            Subject::Start => start::measure(orlop).await,
            Subject::Apply => pods::apply(orlop).await,
            Subject::Pods => pods::hundred(orlop).await,
            Subject::Idle => process::idle(orlop).await,
            Subject::Creates => load::creates(orlop).await,
            Subject::List => load::list(orlop).await,
            Subject::Watch => watchers::measure(orlop).await,
            Subject::Scale => scale::measure(orlop).await,
            Subject::Size => size(orlop),
        };
        match outcome {
            Ok(rows) => report.add(rows)?,
            Err(error) => report.fail(&format!("{error:#}"))?,
        }
    }
    Ok(report)
}

fn size(orlop: &Path) -> Result<Vec<Row>> {
    let bytes = std::fs::metadata(orlop)?.len();
    Ok(vec![Row::new("binary", Goal::AtMost(40.0), "MB", vec![bytes as f64 / 1e6])])
}
