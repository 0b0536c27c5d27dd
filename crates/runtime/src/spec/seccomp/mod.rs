//! Seccomp: which system calls a container may make.

mod compile;
mod default;
mod profile;

use std::io;
use std::path::Path;

use crate::{Result, RuntimeError, Seccomp};

/// The filter program for a container with these capabilities; empty for none.
pub fn program(seccomp: &Seccomp, capabilities: u64) -> Result<Vec<u8>> {
    let profile = match seccomp {
        Seccomp::Unconfined => return Ok(Vec::new()),
        Seccomp::RuntimeDefault => default::profile(capabilities),
        Seccomp::Localhost(path) => read(path)?,
    };
    // Running unconfined where confinement was asked for is worse than not running.
    if !cfg!(target_arch = "x86_64") {
        return Err(RuntimeError::Start("seccomp profiles are not supported on this architecture".into()));
    }
    compile::compile(&profile).map_err(|why| RuntimeError::Start(format!("seccomp profile: {why}")))
}

fn read(path: &Path) -> Result<profile::Profile> {
    let failed =
        |why: String| RuntimeError::Start(format!("cannot load seccomp profile \"{}\": {why}", path.display()));
    let text = std::fs::read(path)
        .map_err(|e: io::Error| failed(format!("open {}: {}", path.display(), crate::init::cause(&e))))?;
    profile::Profile::parse(&text).map_err(failed)
}

#[cfg(test)]
mod tests;
