//! Starting one container: image, config, create, start, postStart hook.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use orlop_image::{Image, users};
use orlop_runtime::{ContainerConfig, Mount};
use tokio_util::sync::CancellationToken;

use crate::container::config::{self, ConfigInput};
use crate::container::mounts::{self, Volumes};
use crate::container::security;
use crate::context::Context;
use crate::corev1::Container;
use crate::env::{self, EnvInput, Objects, services};
use crate::files::hostname::{PodName, kernel_name, pod_name};
use crate::files::{hosts, resolv};
use crate::images::puller::{Policy, Wanted};
use crate::metrics::ContainerType;
use crate::names;
use crate::pod::hooks;
use crate::pod::kill::KillReason;
use crate::pod::spec::{NodePod, image as image_name};
use crate::volumes::sub_path;

use super::kill;

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// Of the waiting state.
    pub reason: &'static str,
    pub message: String,
    pub retry_nanos: i64,
}

const SECOND: i64 = 1_000_000_000;
/// A start that failed is tried again after this (`backOffPeriod`), or when what it lacked appears.
const RETRY_NANOS: i64 = 10 * SECOND;
/// Services are known soon after the agent's start, or not at all.
const SERVICES_WAIT: Duration = Duration::from_secs(5);

pub const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// What a start needs to know.
pub struct Start<'a> {
    pub context: &'a Context,
    pub pod: &'a NodePod,
    pub container: &'a Container,
    pub volumes: &'a Volumes,
    pub cancelled: &'a CancellationToken,
    pub now: i64,
}

impl Start<'_> {
    pub async fn run(&self) -> Result<(), StartError> {
        let result = self.start().await;
        let metrics = &self.context.metrics;
        let container_type = self.pod.container(&self.container.name).map_or("container", |(role, _)| role.metric());
        let family = if result.is_ok() { &metrics.started_containers } else { &metrics.started_containers_errors };
        family.get_or_create(&ContainerType { container_type }).inc();
        result
    }

    async fn start(&self) -> Result<(), StartError> {
        let image = self.image().await?;
        self.check_cancelled()?;
        let attempt = self.attempt();
        let config = self.config(&image, attempt).await.map_err(|why| self.fail(CONFIG_ERROR, why))?;
        self.check_cancelled()?;
        let view = self.context.observed.view(self.pod.uid());
        let sandbox = view.ready_sandbox().ok_or_else(|| self.fail(CONFIG_ERROR, "the pod has no sandbox".into()))?;
        let created = self.context.runtime.create_container(&sandbox.id, &config).await;
        let id = created.map_err(|error| self.fail("CreateContainerError", error.to_string()))?;
        self.context.note(self.pod, self.container, "Created", "Container created");
        let started = self.context.runtime.start_container(&id).await;
        self.context.observed.read_container(&id).await;
        started.map_err(|error| self.fail("RunContainerError", error.to_string()))?;
        self.context.note(self.pod, self.container, "Started", "Container started");
        self.link_log(&id, &config.log_path);
        self.post_start(&id).await
    }

    async fn image(&self) -> Result<Image, StartError> {
        let reference = image_name(self.container);
        let policy = Policy::parse(self.container.image_pull_policy.as_deref(), reference);
        let wanted = Wanted { pod: self.pod, container: Some(self.container), reference, policy };
        let ensured = self.cancelled.run_until_cancelled(self.context.puller.ensure(self.context, &wanted, self.now));
        match ensured.await {
            None => Err(self.cancelled_error()),
            Some(Ok(image)) => Ok(image),
            Some(Err(failure)) => {
                self.context.warn(self.pod, self.container, "Failed", format!("Error: {}", failure.reason));
                Err(StartError { reason: failure.reason, message: failure.message, retry_nanos: failure.retry_nanos })
            }
        }
    }

    /// One more than the last instance's; after a loss of the runtime's records the logs still tell.
    fn attempt(&self) -> u32 {
        let view = self.context.observed.view(self.pod.uid());
        if let Some(last) = view.latest(&self.container.name) {
            return last.runtime.attempt + 1;
        }
        let dir = names::pod_log_dir(&self.context.config.dirs.pod_logs, self.pod).join(&self.container.name);
        let logs = fs::read_dir(dir).into_iter().flatten().flatten();
        let attempts = logs.filter_map(|entry| entry.file_name().to_str()?.split('.').next()?.parse::<u32>().ok());
        attempts.max().map_or(0, |last| last + 1)
    }

    async fn config(&self, image: &Image, attempt: u32) -> Result<ContainerConfig, String> {
        let (context, pod, container) = (self.context, self.pod, self.container);
        let view = context.observed.view(pod.uid());
        let target_container = self.target()?;
        let pod_ips = if pod.host_network() { context.config.node_ips.clone() } else { view.ips.clone() };
        let env = self.environment(&pod_ips).await?;
        security::verify_non_root(pod, container, &image.config.user)?;
        let reference = security::user_reference(pod, container, &image.config.user);
        let user = users::resolve(image, &reference).map_err(|error| error.to_string())?;
        let user = security::with_groups(pod, user);
        let name = pod_name(pod, &context.config.cluster_domain)?;
        let mut mounts = self.volume_mounts(&env)?;
        mounts.extend(self.file_mounts(&pod_ips, &name)?);
        let termination_file = self.termination_file(&mut mounts)?;
        let log_path = names::log_path(&context.config.dirs.pod_logs, pod, &container.name, attempt);
        make_dir(log_path.parent().unwrap_or(&log_path), 0o755)?;
        config::build(ConfigInput {
            pod,
            container,
            image,
            attempt,
            user: &user,
            hostname: &self.hostname(&name)?,
            env,
            mounts,
            termination_file,
            log_path,
            target_container,
            memory_capacity: context.machine.memory_bytes,
            seccomp_root: &context.config.dirs.seccomp,
        })
    }

    fn target(&self) -> Result<Option<String>, String> {
        let Some(name) = self.pod.ephemeral_target(&self.container.name) else { return Ok(None) };
        let view = self.context.observed.view(self.pod.uid());
        let target = view.latest(name).ok_or_else(|| format!("unable to find target container {name}"))?;
        Ok(Some(target.id().to_owned()))
    }

    async fn environment(&self, pod_ips: &[std::net::IpAddr]) -> Result<Vec<(String, String)>, String> {
        let (context, pod) = (self.context, self.pod);
        let (config_maps, secrets) = env::references(self.container);
        let mut objects = Objects::default();
        for name in config_maps {
            let found = context.objects.config_maps.get(pod.uid(), pod.namespace(), &name).await;
            objects.config_maps.insert(name, found);
        }
        for name in secrets {
            let found = context.objects.secrets.get(pod.uid(), pod.namespace(), &name).await;
            objects.secrets.insert(name, found);
        }
        if !pod.is_static() && tokio::time::timeout(SERVICES_WAIT, context.services.synced()).await.is_err() {
            return Err("services have not yet been read at least once, cannot construct envvars".to_owned());
        }
        let links = pod.spec().enable_service_links.unwrap_or(true);
        let services = services::variables(context.services.snapshot().iter(), pod.namespace(), links);
        let volumes = self.volumes.iter().map(|(name, v)| (name.clone(), v.host_path.clone())).collect();
        env::build(&EnvInput {
            pod,
            container: self.container,
            objects: &objects,
            services: &services,
            host_ips: &context.config.node_ips,
            pod_ips,
            allocatable: &context.allocatable,
            volumes: &volumes,
        })
    }

    fn volume_mounts(&self, env: &[(String, String)]) -> Result<Vec<Mount>, String> {
        let pod_dir = self.context.pod_dir(self.pod);
        let wanted = mounts::wanted(self.container, self.volumes, env)?;
        let mut mounts = Vec::with_capacity(wanted.len());
        for (index, mount) in wanted.into_iter().enumerate() {
            let source = if mount.sub_path.is_empty() {
                mount.volume_path.clone()
            } else {
                let target = sub_path::target(&pod_dir, &mount.volume, &self.container.name, index);
                let bound = sub_path::bind(&*self.context.mounter, &mount.volume_path, &mount.sub_path, &target);
                bound.map_err(|error| {
                    let name = &self.container.name;
                    format!(
                        "failed to prepare subPath for volumeMount {:?} of container {name:?}: {error}",
                        mount.volume
                    )
                })?;
                target
            };
            make_host_path(&source)?;
            mounts.push(mount.mount(source));
        }
        Ok(mounts)
    }

    /// `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`, unless the container brings its own.
    fn file_mounts(&self, pod_ips: &[std::net::IpAddr], name: &PodName) -> Result<Vec<Mount>, String> {
        let (context, pod) = (self.context, self.pod);
        let dir = context.pod_dir(pod);
        let aliases = pod.spec().host_aliases.as_deref().unwrap_or_default();
        let hosts = if pod.host_network() {
            hosts::on_host(&fs::read_to_string("/etc/hosts").unwrap_or_default(), aliases)
        } else {
            hosts::managed(pod_ips, name, aliases)
        };
        let host = resolv::Resolver::parse(&fs::read_to_string(&context.config.resolv_conf).unwrap_or_default());
        let cluster =
            resolv::ClusterDns { servers: &context.config.cluster_dns, domain: &context.config.cluster_domain };
        let (resolver, warnings) = resolv::for_pod(pod, &host, &cluster);
        for warning in warnings {
            context.pod_event(pod, orlop_client::events::EventType::Warning, "DNSConfigForming", warning);
        }
        let files = [
            ("/etc/hosts", "etc-hosts", hosts),
            ("/etc/hostname", "hostname", format!("{}\n", self.hostname(name)?)),
            ("/etc/resolv.conf", "resolv.conf", resolver.to_string()),
        ];
        let mut mounts = Vec::new();
        for (target, file, text) in files {
            if mounts::covers(self.container, target) {
                continue;
            }
            let path = dir.join(file);
            write_public(&path, &text, 0o644)?;
            mounts.push(Mount {
                container_path: target.into(),
                host_path: path,
                propagation: "private".to_owned(),
                ..Mount::default()
            });
        }
        Ok(mounts)
    }

    /// An empty file that anybody may write, at `terminationMessagePath`.
    fn termination_file(&self, mounts: &mut Vec<Mount>) -> Result<Option<PathBuf>, String> {
        let Some(path) = self.container.termination_message_path.as_deref().filter(|p| !p.is_empty()) else {
            return Ok(None);
        };
        let dir = self.context.pod_dir(self.pod).join("containers").join(&self.container.name);
        make_dir(&dir, 0o750)?;
        let file = dir.join(orlop_base::id::suffix(8));
        write_public(&file, "", 0o666)?;
        mounts.push(Mount {
            container_path: Path::new("/").join(path),
            host_path: file.clone(),
            propagation: "private".to_owned(),
            ..Mount::default()
        });
        Ok(Some(file))
    }

    fn hostname(&self, name: &PodName) -> Result<String, String> {
        if self.pod.host_network() {
            return Ok(rustix::system::uname().nodename().to_string_lossy().into_owned());
        }
        kernel_name(self.pod, name)
    }

    /// Where log collectors look: `<pod>_<namespace>_<container>-<id>.log`.
    fn link_log(&self, id: &str, log: &Path) {
        let Some(dir) = &self.context.config.dirs.container_logs else { return };
        let (pod, container) = (self.pod, &self.container.name);
        let link = dir.join(format!("{}_{}_{container}-{id}.log", pod.name(), pod.namespace()));
        if let Err(error) = fs::create_dir_all(dir).and_then(|()| std::os::unix::fs::symlink(log, &link)) {
            tracing::debug!(link = %link.display(), %error, "linking a container's log");
        }
    }

    async fn post_start(&self, id: &str) -> Result<(), StartError> {
        let Some(hook) = self.container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else { return Ok(()) };
        let hooked = self.cancelled.run_until_cancelled(hooks::run(self.context, self.pod, self.container, id, hook));
        let Some(Err(message)) = hooked.await else { return Ok(()) };
        // The message could hold secrets: it stays out of the event.
        self.context.warn(self.pod, self.container, "FailedPostStartHook", "PostStartHook failed");
        let reason = KillReason::FailedPostStartHook;
        let kill =
            kill::KillContainer { context: self.context, pod: self.pod, id, message: "FailedPostStartHook", reason };
        kill.run(None, None).await;
        Err(StartError { reason: "PostStartHookError", message, retry_nanos: 0 })
    }

    fn check_cancelled(&self) -> Result<(), StartError> {
        if self.cancelled.is_cancelled() { Err(self.cancelled_error()) } else { Ok(()) }
    }

    fn cancelled_error(&self) -> StartError {
        StartError { reason: "", message: String::new(), retry_nanos: 0 }
    }

    fn fail(&self, reason: &'static str, message: String) -> StartError {
        self.context.warn(self.pod, self.container, "Failed", format!("Error: {message}"));
        let retry_nanos = orlop_base::clock::unix_nanos() + RETRY_NANOS;
        StartError { reason, message, retry_nanos }
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), String> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|error| format!("creating {}: {error}", path.display()))
}

/// A hostPath without a type that is not there becomes a directory, as container runtimes have
/// always made it.
fn make_host_path(path: &Path) -> Result<(), String> {
    if fs::symlink_metadata(path).is_ok() { Ok(()) } else { make_dir(path, 0o755) }
}

/// Written whole, with this very mode whatever the umask.
fn write_public(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let written = fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    written.map_err(|error| format!("writing {}: {error}", path.display()))
}
