//! Running containers by a program that is not ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::records::ContainerRecord;
use super::state::Phase;
use super::{Inner, io_error};
use crate::cgroup::devices::DeviceRule;
use crate::plan::{ContainerPlan, PidNamespace, RuntimePlan};
use crate::spec::seccomp;
use crate::sys::c_path;
use crate::{Result, RuntimeError, Seccomp, bundle};

/// The program's full path, once it has shown that it runs.
pub fn find(program: &Path) -> Result<PathBuf> {
    let found = if program.components().count() > 1 {
        program.canonicalize().ok()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|candidate| candidate.is_file())
    };
    let refused = |why: String| RuntimeError::Other(format!("OCI runtime {}: {why}", program.display()));
    let found = found.ok_or_else(|| refused("no such program".into()))?;
    let output = Command::new(&found).arg("--version").output().map_err(|e| refused(crate::init::cause(&e)))?;
    if !output.status.success() {
        return Err(refused(format!("'--version' ended with {}", output.status)));
    }
    let version = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
    tracing::info!(program = %found.display(), version, "containers are run by an external OCI runtime");
    Ok(found)
}

/// What a step that failed says: an external runtime's log holds the reason.
pub fn reason(text: String) -> String {
    bundle::reason(&text).unwrap_or(text)
}

impl Inner {
    /// Writes a container's specification beside its root file system, and into its plan who reads it.
    pub fn write_bundle(
        &self,
        plan: &mut ContainerPlan,
        record: &ContainerRecord,
        program: &Path,
        devices: Option<&[DeviceRule]>,
        cgroup: &str,
    ) -> Result<()> {
        let config = &record.config;
        let confined = if config.security.privileged { &Seccomp::Unconfined } else { &config.security.seccomp };
        let seccomp = seccomp::profile(confined, plan.process.capabilities)?;
        let pid_namespace = self.pid_namespace(&plan.pid, &record.sandbox_id);
        let beside = bundle::Beside {
            cgroups_path: &format!("/{}/{cgroup}", self.cgroup_root.trim_matches('/')),
            resources: &config.resources,
            devices,
            seccomp: seccomp.as_ref(),
            pid_namespace: pid_namespace.as_deref(),
        };
        let path = self.paths.container(&plan.id).join(bundle::CONFIG);
        fs::write(&path, bundle::config(plan, &beside).to_string())
            .map_err(|e| io_error(format!("write {}", path.display()), e))?;
        let root = self.paths.oci(&record.sandbox_id);
        plan.runtime = Some(RuntimePlan { program: c_path(program), root: c_path(&root) });
        Ok(())
    }

    fn pid_namespace(&self, wanted: &PidNamespace, sandbox_id: &str) -> Option<PathBuf> {
        match wanted {
            PidNamespace::Own | PidNamespace::Host => None,
            PidNamespace::Pod => Some(self.paths.pidns(sandbox_id)),
            PidNamespace::Container { id } => match self.state().containers.get(id)?.phase {
                Phase::Running { pid, .. } => Some(format!("/proc/{pid}/ns/pid").into()),
                _ => None,
            },
        }
    }
}
