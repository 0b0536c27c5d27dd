//! The Python client, in an environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Client, Judge, directory};
use crate::terminal::note;
use crate::upstream;

pub const CLIENT: Client = Client { name: "python", flags: &[], judge };

fn judge() -> Result<Judge> {
    let requirements = directory().join("python/requirements.txt");
    let text = std::fs::read_to_string(&requirements).with_context(|| format!("reading {}", requirements.display()))?;
    let version = text.lines().find_map(|line| line.strip_prefix("kubernetes=="));
    let version = version.context("requirements.txt pins no kubernetes")?.to_owned();
    Ok(Judge {
        program: environment(&version, &requirements)?.join("bin/python"),
        version,
        arguments: vec![directory().join("python/judge.py").into()],
        client: None,
    })
}

/// Installs what is required where nobody else looks, and says so when it is whole.
fn environment(version: &str, requirements: &Path) -> Result<PathBuf> {
    let environment = upstream::cache()?.join(format!("python-kubernetes-{version}"));
    let complete = environment.join("complete");
    if !complete.exists() {
        note("installing the Python client: once")?;
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/python"));
        succeed(pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))?;
        std::fs::write(&complete, "")?;
    }
    Ok(environment)
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}: Python and its venv are needed"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
