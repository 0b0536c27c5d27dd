//! [`ContainerRuntime`] by the embedded runtime.

use futures_util::future::BoxFuture;

use super::Runtime;
use crate::spec::capabilities;
use crate::{
    Container, ContainerConfig, ContainerRuntime, Exec, ExecConfig, Resources, Result, RuntimeEvent, Sandbox,
    SandboxConfig, Stats, Streams,
};

impl ContainerRuntime for Runtime {
    fn version(&self) -> String {
        format!("orlop://{}", env!("CARGO_PKG_VERSION"))
    }

    fn user_namespaces(&self) -> bool {
        // Runtimes are only beginning to translate the owners of mounts.
        self.inner.oci_runtime.is_none()
    }

    fn limitations(&self) -> Vec<String> {
        let mut all = self.inner.cgroups.limitations();
        let resource = capabilities::bit("SYS_RESOURCE").unwrap_or(0);
        if capabilities::available() & resource == 0 {
            all.push(
                "CAP_SYS_RESOURCE is missing: negative oom_score_adj and raised resource limits are clamped".into(),
            );
        }
        all
    }

    fn ensure_cgroup<'a>(&'a self, path: &'a str, resources: &'a Resources) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.ensure_cgroup(path, resources))
    }
    fn remove_cgroup<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.remove_cgroup(path))
    }
    fn cgroup_stats<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Stats>> {
        Box::pin(self.inner.cgroup_stats(path))
    }

    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> BoxFuture<'a, Result<Sandbox>> {
        Box::pin(self.inner.run_sandbox(config))
    }
    fn stop_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.stop_sandbox(id))
    }
    fn remove_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.remove_sandbox(id))
    }
    fn sandboxes(&self) -> BoxFuture<'_, Result<Vec<Sandbox>>> {
        Box::pin(async { Ok(self.inner.sandboxes()) })
    }

    fn create_container<'a>(
        &'a self,
        sandbox_id: &'a str,
        config: &'a ContainerConfig,
    ) -> BoxFuture<'a, Result<String>> {
        Box::pin(self.inner.create_container(sandbox_id, config))
    }
    fn start_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.start_container(id))
    }
    fn stop_container<'a>(&'a self, id: &'a str, grace_period_seconds: i64) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.stop_container(id, grace_period_seconds))
    }
    fn remove_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.remove_container(id))
    }
    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>>> {
        Box::pin(async { Ok(self.inner.containers()) })
    }
    fn container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Container>> {
        Box::pin(async move { self.inner.container(id) })
    }
    fn update_resources<'a>(&'a self, id: &'a str, resources: &'a Resources) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.update_resources(id, resources))
    }
    fn container_stats<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Stats>> {
        Box::pin(self.inner.container_stats(id))
    }
    fn reopen_log<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.reopen_log(id))
    }

    fn exec<'a>(&'a self, id: &'a str, config: &'a ExecConfig) -> BoxFuture<'a, Result<Exec>> {
        Box::pin(self.inner.exec(id, config))
    }
    fn attach<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Streams>> {
        Box::pin(self.inner.attach(id))
    }

    fn events(&self) -> tokio::sync::broadcast::Receiver<RuntimeEvent> {
        self.inner.events.subscribe()
    }
}
