//! kube-rs: a program of its own with versions of its own, outside the workspace.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Client, Judge, directory};
use crate::upstream;

pub const CLIENT: Client = Client { name: "kube-rs", flags: &[], judge };

fn judge() -> Result<Judge> {
    let manifest = directory().join("kube-rs/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
    let version = pinned(&text).context("kube-rs/Cargo.toml pins no kube")?.to_owned();
    let target = upstream::cache()?.join(format!("kube-rs-{version}"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(&manifest).arg("--target-dir").arg(&target);
    let status = build.status().context("running cargo")?;
    if !status.success() {
        bail!("building {}: {status}", manifest.display());
    }
    Ok(Judge { version, program: target.join("debug/kube-rs-judge"), arguments: Vec::new(), client: None })
}

fn pinned(manifest: &str) -> Option<&str> {
    manifest.lines().find_map(|line| line.strip_prefix("kube = { version = \"=")?.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_pinned_one() {
        assert_eq!(pinned("a = \"1\"\nkube = { version = \"=5.0.0\", features = [] }\n"), Some("5.0.0"));
    }
}
