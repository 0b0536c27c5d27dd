//! The root directory of a test image: Debian packages, and programs of upstream's on top.

use std::fs::{create_dir_all, write};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use orlop_image::Tree;
use tempfile::TempDir;

use crate::upstream;

/// What Debian merges into /usr.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
                     www-data:x:33:33:www-data:/:/bin/false\n\
                     user-defined-in-image:x:1000:1000::/:/bin/sh\n\
                     nobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUPS: &str = "root:x:0:\n\
                      www-data:x:33:\n\
                      user-defined-in-image:x:1000:\n\
                      group-defined-in-image:x:50000:user-defined-in-image\n\
                      nogroup:x:65534:\n";
/// Below the scratch directory.
const ROOT: &str = "root";

pub struct Root {
    dir: TempDir,
    tree: Tree,
}

impl Root {
    /// Nothing but what every Linux has.
    pub fn bare() -> Result<Self> {
        Self::of(skeleton()?)
    }

    /// These packages with all that they depend on, unpacked and not configured; busybox fills the gaps.
    pub fn of_packages(names: &[&str]) -> Result<Self> {
        let dir = skeleton()?;
        let root = dir.path().join(ROOT);
        let names: Vec<&str> = names.iter().copied().chain(["busybox-static"]).collect();
        unpack(&closure(&names)?, dir.path())?;
        for text in ["doc", "man", "locale", "lintian", "bug", "info"] {
            absent_is_fine(std::fs::remove_dir_all(root.join("usr/share").join(text)))?;
        }
        applets(&root)?;
        Self::of(dir)
    }

    fn of(dir: TempDir) -> Result<Self> {
        let mut tree = Tree::new();
        tree.copy_from(&dir.path().join(ROOT)).context("reading the image's directory")?;
        Ok(Self { dir, tree })
    }

    /// A program of upstream's.
    pub fn program(&mut self, tool: &str, path: &str, mode: u32) -> Result<()> {
        self.tree.file(path, upstream::tool(tool)?, mode);
        Ok(())
    }

    /// A file of Kubernetes' sources.
    pub fn source(&mut self, source: &str, path: &str) -> Result<()> {
        self.tree.file(path, upstream::sources()?.join(source), 0o644);
        Ok(())
    }

    pub fn text(&mut self, path: &str, text: &str) {
        self.tree.bytes(path, text, 0o644);
    }

    pub fn link(&mut self, path: &str, target: &str) {
        self.tree.symlink(path, target);
    }

    pub fn dir(&mut self, path: &str) {
        self.tree.dir(path, 0o755);
    }

    /// The whole; the directory must live as long as the tree is read.
    pub fn into_parts(self) -> (Tree, TempDir) {
        (self.tree, self.dir)
    }
}

fn skeleton() -> Result<TempDir> {
    let dir = TempDir::with_prefix("orlop-image-").context("making a directory for an image")?;
    let root = dir.path().join(ROOT);
    for name in ["etc", "proc", "sys", "dev", "root", "run", "tmp", "var/tmp"] {
        create_dir_all(root.join(name))?;
    }
    for name in ["tmp", "var/tmp"] {
        std::fs::set_permissions(root.join(name), PermissionsExt::from_mode(0o1777))?;
    }
    for name in MERGED {
        create_dir_all(root.join("usr").join(name))?;
        symlink(Path::new("usr").join(name), root.join(name))?;
    }
    write(root.join("etc/passwd"), USERS)?;
    write(root.join("etc/group"), GROUPS)?;
    write(root.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
    Ok(dir)
}

/// Fetches packages and unpacks them into the root below `dir`.
fn unpack(packages: &[String], dir: &Path) -> Result<()> {
    let debs = dir.join("debs");
    create_dir_all(&debs)?;
    let mut download = Command::new("apt-get");
    download.args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(packages);
    succeed(download.current_dir(&debs))?;
    for deb in std::fs::read_dir(&debs)? {
        // It keeps the links that merge /bin into /usr.
        let unpack = "dpkg-deb --fsys-tarfile \"$0\" | tar -x --keep-directory-symlink -C \"$1\"";
        succeed(Command::new("bash").args(["-o", "pipefail", "-c", unpack]).arg(deb?.path()).arg(dir.join(ROOT)))?;
    }
    Ok(())
}

/// Busybox's programs under their names, where no package brought one.
fn applets(root: &Path) -> Result<()> {
    let listed = Command::new(root.join("usr/bin/busybox")).arg("--list").output().context("asking busybox")?;
    for name in String::from_utf8(listed.stdout)?.lines() {
        let taken = |dir: &str| root.join(dir).join(name).symlink_metadata().is_ok();
        if !taken("usr/bin") && !taken("usr/sbin") {
            symlink("busybox", root.join("usr/bin").join(name))?;
        }
    }
    Ok(())
}

/// What apt would install for these on a machine that has nothing yet.
fn closure(names: &[&str]) -> Result<Vec<String>> {
    let mut plan = Command::new("apt-get");
    plan.args(["-s", "-o", "Dir::State::status=/dev/null", "--no-install-recommends", "install"]).args(names);
    let output = plan.output().context("running apt-get: the test images are made of Debian packages")?;
    if !output.status.success() {
        bail!("apt-get finds no way to install {}: {}", names.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next().map(str::to_owned)).collect())
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

pub(super) fn absent_is_fine(outcome: std::io::Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => Ok(outcome?),
    }
}
