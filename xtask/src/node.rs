//! A node of Orlop's as a user would start it, on a machine of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::machine::{KUBECONFIG, Machine};
use crate::upstream;

const PATIENCE: Duration = Duration::from_secs(120);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// With these images, once it is ready; `more` flags beside Orlop's defaults.
pub fn start(purpose: &str, orlop: &Path, more: &[&str], archives: &[PathBuf], log: &Path) -> Result<Machine> {
    let orlop = program(orlop)?;
    let mut machine = Machine::start(purpose, 1, log, |name| server(&orlop, name, more))?;
    get_ready(&mut machine, &orlop, archives)?;
    Ok(machine)
}

/// Where Orlop is, if it can run containers here.
pub fn program(orlop: &Path) -> Result<PathBuf> {
    let orlop = orlop.canonicalize().with_context(|| {
        format!("finding {}: scripts/build makes it, or name another with --orlop", orlop.display())
    })?;
    if !rustix::process::geteuid().is_root() {
        bail!("containers need root: run as root");
    }
    Ok(orlop)
}

/// Waits until a node runs and gives it these images; it ends when we are asked to.
pub fn get_ready(machine: &mut Machine, orlop: &Path, archives: &[PathBuf]) -> Result<()> {
    machine.end_when_asked()?;
    wait_until_ready(machine)?;
    let import = ["image", "import"].map(OsStr::new);
    archives.iter().try_for_each(|archive| machine.run(orlop, &[&import[..], &[archive.as_os_str()]].concat()))
}

/// Orlop as what runs on a machine.
pub fn server(orlop: &Path, name: &str, more: &[&str]) -> Vec<OsString> {
    let flags = ["server", "--registries", "/run/registries.yaml", "--node-name", name];
    [orlop.as_os_str()].into_iter().chain(flags.iter().chain(more).map(OsStr::new)).map(OsStr::to_owned).collect()
}

fn wait_until_ready(machine: &mut Machine) -> Result<()> {
    let (began, kubectl) = (Instant::now(), upstream::tool("kubectl")?);
    let node = format!("node/{}", machine.name());
    let asked = ["--kubeconfig", KUBECONFIG, "wait", "--for=condition=Ready", "--timeout=10s", &node];
    while !machine.command(&kubectl)?.args(asked).output()?.status.success() {
        machine.check()?;
        if began.elapsed() > PATIENCE {
            bail!("the node was not ready in time");
        }
        std::thread::sleep(ASK_EVERY);
    }
    Ok(())
}
