//! A node of a test's own: directories, cgroup root and image made for it and removed with it.

#![cfg(test)]
#![allow(dead_code)]

use std::fs;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use orlop_runtime::{
    Container, ContainerConfig, ContainerRuntime, ContainerState, ExecConfig, Runtime, RuntimeEvent, RuntimeOptions,
    SandboxConfig, ShimCommand, reset,
};

/// Long enough for a loaded machine; reached only by a bug.
const PATIENCE: Duration = Duration::from_secs(30);

/// The tests of the embedded runtime are those of others, too: a program named after one is run by it.
pub const OCI_RUNTIME: Option<&str> = match env!("CARGO_CRATE_NAME").as_bytes() {
    b"runc" => Some("runc"),
    b"crun" => Some("crun"),
    _ => None,
};

pub struct Node {
    /// Dropped first, while the directories still stand.
    cleanup: Cleanup,
    pub dir: tempfile::TempDir,
    pub options: RuntimeOptions,
    pub runtime: Arc<Runtime>,
}

/// For tests that failed before [`Node::finish`].
struct Cleanup(RuntimeOptions);

impl Node {
    pub async fn new() -> Self {
        needs("nsenter", "util-linux");
        let dir = tempfile::Builder::new().prefix("orlop-").tempdir_in("/var/tmp").unwrap();
        let name = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        make_image(&dir.path().join("image"));
        fs::create_dir(dir.path().join("logs")).unwrap();
        let options = options(dir.path(), &name);
        let runtime = Runtime::open(options.clone()).await.unwrap();
        Self { dir, cleanup: Cleanup(options.clone()), options, runtime }
    }

    /// Takes over a node that another process made; its directory stays.
    pub async fn reopen(dir: &str) -> Self {
        let path = PathBuf::from(dir);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let options = options(&path, &name);
        let runtime = Runtime::open(options.clone()).await.unwrap();
        Self { dir: tempfile::tempdir().unwrap(), cleanup: Cleanup(options.clone()), options, runtime }
    }

    /// Goes without a runtime for a while.
    pub async fn without_runtime(mut self, meanwhile: impl FnOnce()) -> Self {
        // Opened elsewhere, so that the old one is dropped before `meanwhile`.
        let nowhere = tempfile::tempdir().unwrap();
        self.runtime = Runtime::open(options(nowhere.path(), "nowhere")).await.unwrap();
        tokio::task::yield_now().await;
        meanwhile();
        self.runtime = Runtime::open(self.options.clone()).await.unwrap();
        self
    }

    pub fn sandbox_config(&self) -> SandboxConfig {
        SandboxConfig {
            pod_uid: "uid".into(),
            pod_name: "pod".into(),
            pod_namespace: "default".into(),
            hostname: "pod-0".into(),
            cgroup: "kubepods/poduid".into(),
            ..SandboxConfig::default()
        }
    }

    /// A container that runs a shell script in the busybox image.
    pub fn script(&self, script: &str) -> ContainerConfig {
        self.command(&["sh", "-c", script])
    }

    pub fn command(&self, args: &[&str]) -> ContainerConfig {
        ContainerConfig {
            name: "main".into(),
            rootfs_layers: vec![self.dir.path().join("image")],
            image: "busybox".into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            log_path: self.dir.path().join("logs").join(format!("{}.log", orlop_base::id::suffix(6))),
            ..ContainerConfig::default()
        }
    }

    pub async fn sandbox(&self) -> String {
        self.runtime.run_sandbox(&self.sandbox_config()).await.unwrap().id
    }

    /// Runs a container in a sandbox of its own until it exits.
    pub async fn run(&self, config: &ContainerConfig) -> Finished {
        let sandbox = self.sandbox().await;
        let finished = self.run_in(&sandbox, config).await;
        self.runtime.remove_sandbox(&sandbox).await.unwrap();
        finished
    }

    pub async fn run_in(&self, sandbox: &str, config: &ContainerConfig) -> Finished {
        let log_path = self.dir.path().join("logs").join(format!("{}.log", orlop_base::id::suffix(6)));
        let config = ContainerConfig { log_path, ..config.clone() };
        let id = self.start_in(sandbox, &config).await;
        let container = self.wait_exit(&id).await;
        Finished { container, log: read_log(&config.log_path) }
    }

    pub async fn start_in(&self, sandbox: &str, config: &ContainerConfig) -> String {
        let id = self.runtime.create_container(sandbox, config).await.unwrap();
        self.runtime.start_container(&id).await.unwrap();
        id
    }

    pub async fn wait_exit(&self, id: &str) -> Container {
        let mut events = self.runtime.events();
        loop {
            let container = self.runtime.container(id).await.unwrap();
            if container.state == ContainerState::Exited {
                return container;
            }
            let next = patiently(events.recv()).await.unwrap();
            assert!(!matches!(next, RuntimeEvent::SandboxStopped { .. }), "the sandbox died");
        }
    }

    /// Standard output and exit code of a command in a container.
    pub async fn exec(&self, id: &str, args: &[&str]) -> (String, i32) {
        let config = ExecConfig {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            stdout: true,
            ..ExecConfig::default()
        };
        let exec = self.runtime.exec(id, &config).await.unwrap();
        let text = read_to_end(exec.streams.stdout.unwrap()).await;
        (text, patiently(exec.exit).await.unwrap())
    }

    /// Ends everything and checks that nothing is left.
    pub async fn finish(self) {
        let Self { dir, options, runtime, cleanup } = self;
        drop(runtime);
        reset(&options).await.unwrap();
        drop(cleanup);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(dir.path().to_str().unwrap()), "mounts are left");
        assert!(!options.state_dir.exists() && !options.run_dir.exists(), "files are left");
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
        for hierarchy in hierarchies.chain([path("/sys/fs/cgroup")]) {
            let left = hierarchy.join(&options.cgroup_root);
            assert!(!left.exists(), "{} is left", left.display());
        }
    }
}

fn options(dir: &Path, name: &str) -> RuntimeOptions {
    RuntimeOptions {
        state_dir: dir.join("state"),
        run_dir: dir.join("run"),
        cgroup_root: format!("orlop-test/{name}"),
        shim: ShimCommand { program: env!("CARGO_BIN_EXE_orlop-shim").into(), args: vec!["shim".into()] },
        oci_runtime: OCI_RUNTIME.map(|name| oci_runtime(dir, name)),
    }
}

/// The program, or what stands before it: crun refuses hosts that have both versions of cgroups, so it gets
/// to see the first alone.
fn oci_runtime(dir: &Path, name: &str) -> PathBuf {
    needs(name, name);
    if name != "crun" {
        return name.into();
    }
    let script = dir.join("crun");
    if !script.exists() {
        let inside = "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun \"$@\"";
        let text = format!("#!/bin/sh\nexec unshare --mount --propagation slave sh -c '{inside}' crun \"$@\"\n");
        write_program(&script, &text);
    }
    script
}

/// By another process: a file that is open for writing here would be so, for a moment, in every child that another
/// test starts meanwhile, and what is being written cannot be executed.
pub fn write_program(path: &Path, text: &str) {
    let mut install = Command::new("install");
    let mut install = install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    install.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(install.wait().unwrap().success());
}

/// Fails, and says what to install, where a program is missing.
pub fn needs(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    assert!(found, "this test needs {program}: install the package {package}");
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if !self.0.state_dir.exists() {
            return;
        }
        let options = self.0.clone();
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime.block_on(reset(&options));
        })
        .join();
    }
}

pub struct Finished {
    pub container: Container,
    pub log: Vec<Line>,
}

impl Finished {
    /// What was printed, without times and streams.
    pub fn text(&self) -> String {
        self.log.iter().map(|line| format!("{}\n", line.text)).collect()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub stream: String,
    pub tag: String,
    pub text: String,
}

pub fn read_log(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let mut parts = line.splitn(4, ' ').skip(1).map(str::to_owned);
        Line { stream: parts.next().unwrap(), tag: parts.next().unwrap(), text: parts.next().unwrap() }
    };
    text.lines().map(line).collect()
}

pub async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("waited too long")
}

pub async fn read_to_end(fd: OwnedFd) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let (mut file, mut bytes) = (fs::File::from(fd), Vec::new());
        // A terminal ends with an error, and only the second is its end: the first may have missed the last words.
        for _ in 0..2 {
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    });
    patiently(read).await.unwrap()
}

/// Busybox with all its applets, as the example images have it.
fn make_image(root: &Path) {
    for dir in ["bin", "etc", "tmp", "root", "usr/share"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    needs("busybox", "busybox-static");
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let applets = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for applet in String::from_utf8(applets.stdout).unwrap().lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/var/www:/bin/false\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:33:\n").unwrap();
}

pub fn path(text: &str) -> PathBuf {
    text.into()
}
