//! The layout on disk:
//!
//! ```text
//! <state>/cgroup                root of the node's cgroups
//! <state>/sandboxes/<id>.json      what the pod was to be
//! <state>/containers/<id>/config   what the container was to be
//!                        /started  } written by the shim,
//!                        /exit     } or `failed` by the agent
//!                        /upper /work /rootfs   its writable layer
//!                        /config.json           for an external runtime: the bundle is this directory
//! <state>/trash/                   on the way out
//! <run>/sandboxes/<id>/sock /netns /pidns /shm
//!                        /oci      state of an external runtime
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::mount::UnmountFlags;

use super::RuntimeOptions;

pub struct Paths {
    state: PathBuf,
    run: PathBuf,
}

impl Paths {
    pub fn new(options: &RuntimeOptions) -> Self {
        Self { state: options.state_dir.clone(), run: options.run_dir.clone() }
    }

    pub fn prepare(&self) -> io::Result<()> {
        for dir in [self.sandboxes(), self.containers(), self.trash(), self.run_sandboxes()] {
            // Writable layers hold what containers keep secret.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        Ok(())
    }

    /// Which cgroup everything stands below, for a reset that is not told.
    pub fn cgroup_record(&self) -> PathBuf {
        self.state.join("cgroup")
    }

    pub fn sandboxes(&self) -> PathBuf {
        self.state.join("sandboxes")
    }

    pub fn containers(&self) -> PathBuf {
        self.state.join("containers")
    }

    pub fn trash(&self) -> PathBuf {
        self.state.join("trash")
    }

    pub fn run_sandboxes(&self) -> PathBuf {
        self.run.join("sandboxes")
    }

    pub fn sandbox_record(&self, id: &str) -> PathBuf {
        self.sandboxes().join(format!("{id}.json"))
    }

    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    pub fn sandbox_run(&self, id: &str) -> PathBuf {
        self.run_sandboxes().join(id)
    }

    pub fn netns(&self, id: &str) -> PathBuf {
        self.sandbox_run(id).join("netns")
    }

    pub fn pidns(&self, id: &str) -> PathBuf {
        self.sandbox_run(id).join("pidns")
    }

    /// Where an external runtime keeps its state.
    pub fn oci(&self, id: &str) -> PathBuf {
        self.sandbox_run(id).join("oci")
    }

    pub fn shm(&self, id: &str) -> PathBuf {
        self.sandbox_run(id).join("shm")
    }

    /// Makes what a new pod's shim mounts on.
    pub fn make_sandbox_run(&self, id: &str) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(self.sandbox_run(id))?;
        fs::create_dir(self.shm(id))?;
        fs::write(self.pidns(id), "")?;
        fs::write(self.netns(id), "")
    }

    /// Unmounts and removes what a pod has in the run directory.
    pub fn remove_sandbox_run(&self, id: &str) -> io::Result<()> {
        for mount in [self.netns(id), self.pidns(id), self.shm(id)] {
            // Not mounted, or not there: just as well.
            let _ = rustix::mount::unmount(&mount, UnmountFlags::DETACH);
        }
        gone_is_fine(fs::remove_dir_all(self.sandbox_run(id)))
    }

    /// Removes a container's directory; whatever happens, no half of it is seen again.
    pub fn remove_container(&self, id: &str) -> io::Result<()> {
        let trash = self.trash().join(id);
        // An external runtime's container may have died while its root file system was in sight.
        let _ = rustix::mount::unmount(self.container(id).join("rootfs"), UnmountFlags::DETACH);
        match fs::rename(self.container(id), &trash) {
            Ok(()) => gone_is_fine(remove_for_good(&trash)),
            result => gone_is_fine(result),
        }
    }

    pub fn empty_trash(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.trash())? {
            gone_is_fine(fs::remove_dir_all(entry?.path()))?;
        }
        Ok(())
    }
}

/// Who had the directory open when it lost its name may write once more while it is emptied: an external
/// runtime on its way out. Nobody can come after.
fn remove_for_good(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => fs::remove_dir_all(path),
        result => result,
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Writes a file whole or not at all.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path)
}
