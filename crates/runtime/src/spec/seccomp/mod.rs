//! Seccomp: which system calls a container may make.

mod compile;
mod default;
mod profile;

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

pub use profile::{Action, Condition, Operator, Profile, Rule};

use crate::{Result, RuntimeError, Seccomp};

/// What confines a container with these capabilities, for a runtime that compiles it itself.
pub fn profile(seccomp: &Seccomp, capabilities: u64) -> Result<Option<Profile>> {
    Ok(match seccomp {
        Seccomp::Unconfined => None,
        Seccomp::RuntimeDefault => Some(default::profile(capabilities)),
        Seccomp::Localhost(path) => Some(read(path)?),
    })
}

/// The filter program for a container with these capabilities; empty for none.
pub fn program(seccomp: &Seccomp, capabilities: u64) -> Result<Vec<u8>> {
    match seccomp {
        Seccomp::Unconfined => Ok(Vec::new()),
        Seccomp::RuntimeDefault => default_program(capabilities),
        Seccomp::Localhost(path) => compiled(&read(path)?),
    }
}

/// Nearly every container has the same capabilities and so the same filter.
fn default_program(capabilities: u64) -> Result<Vec<u8>> {
    static LAST: Mutex<Option<(u64, Vec<u8>)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, program)) = &*last
        && *of == capabilities
    {
        return Ok(program.clone());
    }
    let program = compiled(&default::profile(capabilities))?;
    *last = Some((capabilities, program.clone()));
    Ok(program)
}

fn compiled(profile: &Profile) -> Result<Vec<u8>> {
    // Running unconfined where confinement was asked for is worse than not running.
    if !cfg!(target_arch = "x86_64") {
        return Err(RuntimeError::Start("seccomp profiles are not supported on this architecture".into()));
    }
    compile::compile(profile).map_err(|why| RuntimeError::Start(format!("seccomp profile: {why}")))
}

fn read(path: &Path) -> Result<Profile> {
    let failed =
        |why: String| RuntimeError::Start(format!("cannot load seccomp profile \"{}\": {why}", path.display()));
    let text = std::fs::read(path)
        .map_err(|e: io::Error| failed(format!("open {}: {}", path.display(), crate::init::cause(&e))))?;
    Profile::parse(&text).map_err(failed)
}

#[cfg(test)]
mod tests;
