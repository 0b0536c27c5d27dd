//! A node's surroundings in memory: a runtime whose containers end when told to, images by name, a
//! network that hands out addresses, mounts that are only remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use orlop_image::{Credentials, Image, ImageConfig, ImageError, ImageService};
use orlop_runtime::{
    Container, ContainerConfig, ContainerRuntime, ContainerState, Exec, ExecConfig, PodNetwork, PortMapping, Resources,
    Result, RuntimeError, RuntimeEvent, Sandbox, SandboxConfig, Stats, Streams,
};
use tokio::sync::{broadcast, watch};

use crate::node::gauges::{FileSystem, Gauges};
use crate::volumes::mounter::Mounter;

#[derive(Default)]
pub struct World {
    pub sandboxes: BTreeMap<String, Sandbox>,
    pub containers: BTreeMap<String, (Container, ContainerConfig)>,
    pub cgroups: BTreeMap<String, Resources>,
    /// Working sets by cgroup.
    pub memory: BTreeMap<String, u64>,
    /// What was asked of the runtime, in short.
    pub calls: Vec<String>,
    /// Containers of these names ignore the stop signal until its grace period is over.
    pub stubborn: BTreeSet<String>,
    made: u64,
}

pub struct FakeRuntime {
    world: Mutex<World>,
    events: broadcast::Sender<RuntimeEvent>,
    /// Counts changes, for tests that wait for one.
    pub changes: watch::Sender<u64>,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self { world: Mutex::default(), events: broadcast::channel(64).0, changes: watch::Sender::new(0) }
    }
}

impl FakeRuntime {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The newest instance of a container, as the runtime has it.
    pub fn newest(&self, name: &str) -> Option<(Container, ContainerConfig)> {
        let world = self.world();
        let named = world.containers.values().filter(|(c, _)| c.name == name);
        named.max_by_key(|(c, _)| c.attempt).cloned()
    }

    /// A running container ends.
    pub fn exit(&self, name: &str, exit_code: i32) {
        let id = {
            let mut world = self.world();
            let running =
                world.containers.values_mut().find(|(c, _)| c.name == name && c.state == ContainerState::Running);
            let (container, _) = running.expect("a running container");
            end(container, exit_code);
            (container.sandbox_id.clone(), container.id.clone())
        };
        let _ = self.events.send(RuntimeEvent::ContainerExited { sandbox_id: id.0, container_id: id.1 });
        self.changed();
    }

    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.world().calls)
    }

    fn called(&self, call: String) {
        self.world().calls.push(call);
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }
}

fn end(container: &mut Container, exit_code: i32) {
    container.state = ContainerState::Exited;
    container.exit_code = exit_code;
    container.reason = if exit_code == 0 { "Completed" } else { "Error" }.into();
    container.finished_unix_nanos = orlop_base::clock::unix_nanos();
}

impl ContainerRuntime for FakeRuntime {
    fn version(&self) -> String {
        "orlop://fake".into()
    }

    fn ensure_cgroup<'a>(&'a self, path: &'a str, resources: &'a Resources) -> BoxFuture<'a, Result<()>> {
        self.world().cgroups.insert(path.into(), resources.clone());
        Box::pin(async { Ok(()) })
    }

    fn remove_cgroup<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        self.world().cgroups.remove(path);
        Box::pin(async { Ok(()) })
    }

    fn cgroup_stats<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Stats>> {
        let memory = self.world().memory.get(path).copied().unwrap_or(0);
        Box::pin(async move { Ok(Stats { memory_working_set_bytes: memory, ..Stats::default() }) })
    }

    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> BoxFuture<'a, Result<Sandbox>> {
        Box::pin(async move {
            let mut world = self.world();
            world.made += 1;
            let sandbox = Sandbox {
                id: format!("s{}", world.made),
                pod_uid: config.pod_uid.clone(),
                pod_name: config.pod_name.clone(),
                pod_namespace: config.pod_namespace.clone(),
                attempt: config.attempt,
                ready: true,
                created_unix_nanos: world.made as i64,
                netns: None,
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
            };
            world.calls.push(format!("sandbox {}", config.pod_name));
            world.sandboxes.insert(sandbox.id.clone(), sandbox.clone());
            Ok(sandbox)
        })
    }

    fn stop_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut world = self.world();
            if let Some(sandbox) = world.sandboxes.get_mut(id) {
                sandbox.ready = false;
            }
            world.calls.push(format!("stop-sandbox {id}"));
            for (container, _) in world.containers.values_mut().filter(|(c, _)| c.sandbox_id == id) {
                if container.state == ContainerState::Running {
                    end(container, 137);
                }
            }
            drop(world);
            self.changed();
            Ok(())
        })
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let mut world = self.world();
        world.sandboxes.remove(id);
        world.containers.retain(|_, (c, _)| c.sandbox_id != id);
        drop(world);
        self.changed();
        Box::pin(async { Ok(()) })
    }

    fn sandboxes(&self) -> BoxFuture<'_, Result<Vec<Sandbox>>> {
        let all = self.world().sandboxes.values().cloned().collect();
        Box::pin(async { Ok(all) })
    }

    fn create_container<'a>(
        &'a self,
        sandbox_id: &'a str,
        config: &'a ContainerConfig,
    ) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let mut world = self.world();
            world.made += 1;
            let id = format!("c{}", world.made);
            let container = Container {
                id: id.clone(),
                sandbox_id: sandbox_id.into(),
                name: config.name.clone(),
                attempt: config.attempt,
                image: config.image.clone(),
                image_id: config.image_id.clone(),
                state: ContainerState::Created,
                pid: None,
                created_unix_nanos: world.made as i64,
                started_unix_nanos: 0,
                finished_unix_nanos: 0,
                exit_code: 0,
                signal: 0,
                reason: String::new(),
                message: String::new(),
                log_path: config.log_path.clone(),
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
            };
            world.containers.insert(id.clone(), (container, config.clone()));
            Ok(id)
        })
    }

    fn start_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut world = self.world();
            let (container, _) = world.containers.get_mut(id).ok_or_else(|| RuntimeError::NotFound(id.into()))?;
            container.state = ContainerState::Running;
            container.started_unix_nanos = orlop_base::clock::unix_nanos();
            let name = container.name.clone();
            world.calls.push(format!("start {name}"));
            drop(world);
            self.changed();
            Ok(())
        })
    }

    fn stop_container<'a>(&'a self, id: &'a str, grace_period_seconds: i64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let name = {
                let world = self.world();
                let (container, _) = world.containers.get(id).ok_or_else(|| RuntimeError::NotFound(id.into()))?;
                container.name.clone()
            };
            self.called(format!("stop {name} {grace_period_seconds}"));
            let stubborn = self.world().stubborn.contains(&name);
            if stubborn {
                tokio::time::sleep(std::time::Duration::from_secs(grace_period_seconds as u64)).await;
            }
            if let Some((container, _)) = self.world().containers.get_mut(id)
                && container.state == ContainerState::Running
            {
                end(container, if stubborn { 137 } else { 0 });
            }
            self.changed();
            Ok(())
        })
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.world().containers.remove(id);
        self.changed();
        Box::pin(async { Ok(()) })
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>>> {
        let all = self.world().containers.values().map(|(c, _)| c.clone()).collect();
        Box::pin(async { Ok(all) })
    }

    fn container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Container>> {
        let found = self.world().containers.get(id).map(|(c, _)| c.clone());
        Box::pin(async move { found.ok_or_else(|| RuntimeError::NotFound(id.into())) })
    }

    fn update_resources<'a>(&'a self, id: &'a str, resources: &'a Resources) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Some((_, config)) = self.world().containers.get_mut(id) {
                config.resources = resources.clone();
            }
            self.changed();
            Ok(())
        })
    }

    fn container_stats<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Stats>> {
        Box::pin(async { Ok(Stats { memory_usage_bytes: 1 << 20, ..Stats::default() }) })
    }

    fn reopen_log<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.called(format!("reopen {id}"));
        Box::pin(async { Ok(()) })
    }

    /// `cat` copies its input; anything else prints its words and exits with the last one, if that
    /// is a number.
    fn exec<'a>(&'a self, _: &'a str, config: &'a ExecConfig) -> BoxFuture<'a, Result<Exec>> {
        use std::io::{Read, Write};
        self.called(format!("exec {}", config.args.join(" ")));
        let args = config.args.clone();
        let pipe = |wanted: bool| wanted.then(|| rustix::pipe::pipe().unwrap()).unzip();
        let (stdin_read, stdin) = pipe(config.stdin);
        let (stdout, stdout_write) = pipe(config.stdout);
        let (stderr, stderr_write) = pipe(config.stderr);
        let exit = tokio::task::spawn_blocking(move || {
            let _stderr = stderr_write;
            let mut out = stdout_write.map(std::fs::File::from);
            if args[0] == "cat" {
                let mut text = Vec::new();
                stdin_read.map(std::fs::File::from).unwrap().read_to_end(&mut text).unwrap();
                out.as_mut().unwrap().write_all(&text).unwrap();
                return 0;
            }
            if let Some(out) = &mut out {
                out.write_all(args.join(" ").as_bytes()).unwrap();
            }
            args.last().and_then(|code| code.parse().ok()).unwrap_or(0)
        });
        let streams = Streams { stdin, stdout, stderr, tty: None };
        let exit = Box::pin(async move { exit.await.map_err(|e| RuntimeError::Other(e.to_string())) });
        Box::pin(async move { Ok(Exec { streams, exit }) })
    }

    fn attach<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Streams>> {
        Box::pin(async move { Err(RuntimeError::NotFound(id.into())) })
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }
}

/// Images that are here, and what pulling says of those that are not.
#[derive(Default)]
pub struct FakeImages {
    pub here: Mutex<BTreeMap<String, Image>>,
    pub remote: Mutex<BTreeSet<String>>,
    pub pulls: Mutex<Vec<String>>,
}

impl FakeImages {
    pub fn with(names: &[&str]) -> Arc<Self> {
        let images = Self::default();
        for name in names {
            images.here.lock().unwrap().insert((*name).to_owned(), image(name));
        }
        Arc::new(images)
    }
}

fn image(name: &str) -> Image {
    Image {
        id: format!("sha256:{name}"),
        repo_tags: vec![name.to_owned()],
        size_bytes: 1000,
        config: ImageConfig { cmd: vec!["run".into()], ..ImageConfig::default() },
        ..Image::default()
    }
}

impl ImageService for FakeImages {
    fn get<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, std::result::Result<Option<Image>, ImageError>> {
        let found = self.here.lock().unwrap().get(reference).cloned();
        Box::pin(async { Ok(found) })
    }

    fn list(&self) -> BoxFuture<'_, std::result::Result<Vec<Image>, ImageError>> {
        let all = self.here.lock().unwrap().values().cloned().collect();
        Box::pin(async { Ok(all) })
    }

    fn pull<'a>(
        &'a self,
        reference: &'a str,
        _: &'a [Credentials],
    ) -> BoxFuture<'a, std::result::Result<Image, ImageError>> {
        self.pulls.lock().unwrap().push(reference.to_owned());
        let found =
            self.remote.lock().unwrap().contains(reference) || self.here.lock().unwrap().contains_key(reference);
        Box::pin(async move {
            if !found {
                return Err(ImageError::NotFound(reference.to_owned()));
            }
            self.here.lock().unwrap().insert(reference.to_owned(), image(reference));
            Ok(image(reference))
        })
    }

    fn remove<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, std::result::Result<(), ImageError>> {
        self.here.lock().unwrap().retain(|name, image| name != reference && image.id != reference);
        Box::pin(async { Ok(()) })
    }

    fn disk_usage(&self) -> BoxFuture<'_, std::result::Result<(u64, u64), ImageError>> {
        Box::pin(async { Ok((0, 0)) })
    }
}

#[derive(Default)]
pub struct FakeNetwork {
    pub addresses: Mutex<BTreeMap<String, IpAddr>>,
}

impl PodNetwork for FakeNetwork {
    fn attach<'a>(&'a self, sandbox: &'a Sandbox, _: &'a [PortMapping]) -> BoxFuture<'a, Result<Vec<IpAddr>>> {
        // Every pod answers on this machine, so that probes reach what a test listens on.
        let ip = IpAddr::from([127, 0, 0, 1]);
        self.addresses.lock().unwrap().insert(sandbox.id.clone(), ip);
        Box::pin(async move { Ok(vec![ip]) })
    }

    fn detach<'a>(&'a self, sandbox_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.addresses.lock().unwrap().remove(sandbox_id);
        Box::pin(async { Ok(()) })
    }

    fn adopt<'a>(&'a self, live: &'a [String]) -> BoxFuture<'a, Result<()>> {
        self.addresses.lock().unwrap().retain(|id, _| live.contains(id));
        Box::pin(async { Ok(()) })
    }

    fn addresses(&self, sandbox_id: &str) -> Vec<IpAddr> {
        self.addresses.lock().unwrap().get(sandbox_id).copied().into_iter().collect()
    }
}

/// Mounts that exist only by name.
#[derive(Default)]
pub struct FakeMounter {
    pub mounted: Mutex<Vec<PathBuf>>,
}

impl FakeMounter {
    fn add(&self, target: &Path) -> io::Result<()> {
        self.mounted.lock().unwrap().push(target.to_path_buf());
        Ok(())
    }
}

impl Mounter for FakeMounter {
    fn tmpfs(&self, target: &Path, _: Option<u64>) -> io::Result<()> {
        self.add(target)
    }

    fn hugepages(&self, target: &Path, _: u64) -> io::Result<()> {
        self.add(target)
    }

    fn bind(&self, _: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
        self.add(target)
    }

    fn layers(&self, _: &[PathBuf], target: &Path) -> io::Result<()> {
        self.add(target)
    }

    fn unmount(&self, target: &Path) -> io::Result<()> {
        self.mounted.lock().unwrap().retain(|mounted| mounted != target);
        Ok(())
    }

    fn is_mounted(&self, target: &Path) -> io::Result<bool> {
        Ok(self.mounted.lock().unwrap().iter().any(|mounted| mounted == target))
    }

    fn mounts_below(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.mounted.lock().unwrap().iter().rev().filter(|mounted| mounted.starts_with(dir)).cloned().collect())
    }
}

/// A machine as full as the test says.
pub struct FakeGauges {
    pub memory_available: AtomicI64,
    pub disk: Mutex<FileSystem>,
}

impl Default for FakeGauges {
    fn default() -> Self {
        let disk = FileSystem {
            total_bytes: 100 << 30,
            available_bytes: 90 << 30,
            used_bytes: 10 << 30,
            ..FileSystem::default()
        };
        Self { memory_available: AtomicI64::new(4 << 30), disk: Mutex::new(disk) }
    }
}

impl Gauges for FakeGauges {
    fn memory_available_bytes(&self) -> i64 {
        self.memory_available.load(Ordering::SeqCst)
    }

    fn file_system(&self, _: &Path) -> Option<FileSystem> {
        Some(*self.disk.lock().unwrap())
    }

    fn tasks(&self) -> i64 {
        100
    }

    fn cpu_busy_nanos(&self) -> u64 {
        0
    }
}
