//! `cargo xtask clients`: what people already have and use, unmodified, against a release binary that is started as a
//! user would, on a machine of its own for each. A client's judge is a program below `conformance/clients` that tells
//! its steps in the Test Anything Protocol.

mod controller_manager;
mod helm;
mod kube_rs;
mod kubectl;
mod python;
mod report;
mod scheduler;
mod tap;

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::conformance::images;
use crate::machine::{KUBECONFIG, Machine};
use crate::terminal::{note, say};
use crate::{node, upstream};
use report::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// The binary to judge, as scripts/build made it
    #[arg(long, default_value = ".orlop/orlop")]
    orlop: PathBuf,
    /// Only these clients: helm3, helm4, python, kube-rs, controller-manager, scheduler, kubectl
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where report.md and logs go
    #[arg(long, default_value = ".orlop/clients")]
    report: PathBuf,
}

/// One that is judged.
struct Client {
    name: &'static str,
    /// What Orlop is told to leave to it.
    flags: &'static [&'static str],
    /// Builds what no run before has.
    judge: fn() -> Result<Judge>,
}

/// What finds out whether a client works.
struct Judge {
    /// The client's.
    version: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Where the client itself is, if the program looks there.
    client: Option<(&'static str, PathBuf)>,
}

const CLIENTS: &[Client] = &[
    helm::THREE,
    helm::FOUR,
    python::CLIENT,
    kube_rs::CLIENT,
    controller_manager::CLIENT,
    scheduler::CLIENT,
    kubectl::CLIENT,
];

/// What judges run in pods, by the variable that they find its name in.
const IMAGES: [(&str, &str); 2] = [
    ("AGNHOST", "registry.k8s.io/e2e-test-images/agnhost:2.66.1"),
    ("BUSYBOX", "registry.k8s.io/e2e-test-images/busybox:1.37.0-2"),
];
/// Longer than any judge takes; one that hangs must not do so for ever.
const SECONDS: &str = "1200";

pub fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.report).with_context(|| format!("making {}", args.report.display()))?;
    let reports = args.report.canonicalize()?;
    let chosen = choose(&args.only)?;
    let judges: Vec<(&Client, Judge)> = chosen
        .into_iter()
        .map(|client| Ok((client, (client.judge)().with_context(|| format!("building {}", client.name))?)))
        .collect::<Result<_>>()?;
    let archives = archives()?;
    let mut outcomes = Vec::new();
    for (client, judge) in judges {
        note(&format!("{} {}", client.name, judge.version))?;
        let log = reports.join(format!("{}-orlop.log", client.name));
        let mut machine = node::start("clients", &args.orlop, client.flags, &archives, &log)?;
        outcomes.push(client.judge_on(&machine, judge, &reports)?);
        machine.check()?;
    }
    let text = report::markdown(&upstream::version()?, &outcomes);
    std::fs::write(reports.join("report.md"), &text).context("writing the report")?;
    say(&text)?;
    let failed: Vec<&str> = outcomes.iter().filter(|outcome| !outcome.passed()).map(|outcome| outcome.client).collect();
    if !failed.is_empty() {
        bail!("not everything worked of {}", failed.join(", "));
    }
    Ok(())
}

fn choose(only: &[String]) -> Result<Vec<&'static Client>> {
    if let Some(unknown) = only.iter().find(|name| !CLIENTS.iter().any(|client| client.name == **name)) {
        bail!("no client is called {unknown}");
    }
    Ok(CLIENTS.iter().filter(|client| only.is_empty() || only.iter().any(|name| name == client.name)).collect())
}

/// The images as archives.
fn archives() -> Result<Vec<PathBuf>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let all = runtime.block_on(images::archives(&[]))?;
    let archive = |(_, reference): &(_, &str)| {
        let name = format!("{}.tar", reference.replace(['/', ':'], "+"));
        all.iter().find(|path| path.ends_with(&name)).cloned().with_context(|| format!("the suite has no {reference}"))
    };
    IMAGES.iter().map(archive).collect()
}

/// A file or directory of the judges'.
fn directory() -> PathBuf {
    upstream::directory().join("clients")
}

impl Client {
    /// Runs its judge to the end. Leaves what it told, and what it said besides, in `reports`.
    fn judge_on(&self, machine: &Machine, judge: Judge, reports: &Path) -> Result<Outcome> {
        let began = Instant::now();
        let log = reports.join(format!("{}.log", self.name));
        let log = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let mut command = machine.command("timeout")?;
        command.args(["--kill-after=10", SECONDS]).arg(&judge.program).args(&judge.arguments);
        command.env("KUBECONFIG", KUBECONFIG).env("PATH", path()?).envs(IMAGES).envs(judge.client);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().context("running nsenter")?;
        let output = child.stdout.take().context("the judge has no output")?;
        let mut told = String::new();
        for line in BufReader::new(output).lines() {
            let line = line?;
            note(&line)?;
            told += &format!("{line}\n");
        }
        child.wait()?;
        std::fs::write(reports.join(format!("{}.tap", self.name)), &told)?;
        Ok(Outcome {
            client: self.name,
            version: judge.version,
            steps: tap::steps(&told),
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

/// Upstream's kubectl first: judges in bash call it by its name.
fn path() -> Result<OsString> {
    let kubectl = upstream::tool("kubectl")?;
    let theirs = kubectl.parent().map(Path::to_owned).into_iter();
    let ours = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(theirs.chain(std::env::split_paths(&ours)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_chosen_by_name() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
            choose(&only).map(|chosen| chosen.iter().map(|client| client.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap().len(), CLIENTS.len());
        assert_eq!(names(&["kubectl", "helm3"]).unwrap(), ["helm3", "kubectl"]);
        assert_eq!(names(&["helm2"]).unwrap_err().to_string(), "no client is called helm2");
    }
}
