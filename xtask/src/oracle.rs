//! `cargo xtask oracle`: upstream's API server and Orlop's side by side, asked the same, and what they answer
//! compared. Neither runs controllers or nodes, so that nothing happens but what was asked for.

mod corpus;
mod difference;
mod exchange;
mod judge;
mod known;
mod mutate;
mod normal;
mod parts;
mod report;
mod sides;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::terminal::note;
use crate::upstream;
use crate::wish::Wish;
use judge::{Judge, Tally};
use known::Known;
use sides::{Programs, Sides};

/// Where the corpus lives; the script `0-world` makes it.
const NAMESPACE: &str = "oracle";

#[derive(clap::Args)]
pub struct Args {
    /// Only these kinds (`pods`, `deployments.apps`)
    #[arg(long = "kind", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Only these parts
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Of the mutations of objects ask only every Nth: the same at every run
    #[arg(long, value_name = "N", default_value = "1")]
    sample: NonZeroUsize,
    /// The binary to judge, instead of one built now
    #[arg(long)]
    orlop: Option<PathBuf>,
    /// Orlop keeps its objects in an etcd of so many members
    #[arg(long, value_name = "MEMBERS", num_args = 0..=1, default_value_t = 0, default_missing_value = "1")]
    etcd: usize,
    /// Keep the servers' data and logs
    #[arg(long)]
    keep: bool,
    /// Put the counts into docs/oracle.md, and take what differs no more off the list of known differences
    #[arg(long, conflicts_with_all = ["kinds", "only"])]
    write: bool,
    /// Ask nothing; only write docs/differences.md from the list of known differences
    #[arg(long)]
    page: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Start,
    Discovery,
    Openapi,
    Objects,
    Scripts,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        if !self.only.is_empty() { self.only.contains(&part) } else { self.kinds.is_empty() || part == Part::Objects }
    }

    fn wants_kind(&self, label: &str) -> bool {
        let plain = label.split('/').next().unwrap_or_default();
        self.kinds.is_empty() || self.kinds.iter().any(|k| k == label || k == plain)
    }
}

pub fn run(args: &Args) -> Result<()> {
    if args.page {
        return Known::read()?.write_page();
    }
    let programs = programs(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (tallies, outcome) = runtime.block_on(async {
        let wish = Wish::listen()?;
        tokio::select! {
            judged = judged(args, &programs) => judged,
            // Dropping what is under way stops the servers and removes what they made.
            why = wish.came() => Err(why),
        }
    })?;
    let known = Known::read()?;
    report::print(&tallies, &known)?;
    outcome?;
    if args.write {
        known.without_stale(&tallies)?;
        Known::read()?.write_page()?;
        report::write(&tallies, &known)?;
    }
    let complete = args.kinds.is_empty() && args.only.is_empty();
    known.verdict(&tallies, complete && !args.write)
}

/// What was found out, also when not everything could be asked.
async fn judged(args: &Args, programs: &Programs) -> Result<(BTreeMap<String, Tally>, Result<()>)> {
    let mut sides = Sides::start(programs).await?;
    let judge = Judge::new(&sides);
    let outcome = ask_everything(args, &judge).await;
    let tallies = judge.into_tallies();
    if args.keep
        && let Some(path) = sides.keep()
    {
        note(&format!("kept {}", path.display()))?;
    }
    Ok((tallies, outcome))
}

async fn ask_everything(args: &Args, judge: &Judge<'_>) -> Result<()> {
    if args.wants(Part::Start) {
        parts::start::run(judge).await?;
    }
    if args.wants(Part::Discovery) {
        parts::discovery::run(judge).await?;
    }
    if args.wants(Part::Openapi) {
        parts::openapi::run(judge).await?;
    }
    let mut scripts = corpus::scripts()?.into_iter();
    // The first makes what all others need.
    let (name, world) = scripts.next().context("there are no scripts")?;
    parts::scripts::run(judge, &name, &world).await?;
    if args.wants(Part::Objects) {
        for subject in corpus::subjects()?.iter().filter(|s| args.wants_kind(&s.label())) {
            let started = Instant::now();
            parts::objects::run(judge, subject, args.sample.get()).await.with_context(|| subject.label())?;
            note(&format!("{} {} s", subject.label(), started.elapsed().as_secs()))?;
        }
    }
    if args.wants(Part::Scripts) {
        for (name, steps) in scripts {
            note(&name)?;
            parts::scripts::run(judge, &name, &steps).await?;
        }
    }
    Ok(())
}

fn programs(args: &Args) -> Result<Programs> {
    let orlop = match &args.orlop {
        Some(orlop) => orlop.clone(),
        None => build()?,
    };
    let orlop = orlop.canonicalize().with_context(|| format!("finding {}", orlop.display()))?;
    Ok(Programs {
        orlop,
        kube_apiserver: upstream::tool("kube-apiserver")?,
        etcd: upstream::etcd::program()?,
        members: args.etcd,
    })
}

/// A build without optimizations is fast enough to be judged.
fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let cargo = |args: &[&str]| {
        let mut command = Command::new(&cargo);
        command.args(args).current_dir(&root);
        command
    };
    let status = cargo(&["build", "--quiet", "--package", "orlop"]).status()?;
    if !status.success() {
        bail!("building orlop: {status}");
    }
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps", "--offline"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).context("reading cargo metadata")?;
    let target = metadata["target_directory"].as_str().context("finding the target directory")?;
    Ok(Path::new(target).join("debug/orlop"))
}
