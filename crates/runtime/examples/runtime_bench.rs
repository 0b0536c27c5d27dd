//! How long a pod takes and what its shim costs. Run as root:
//! `cargo run --example runtime_bench -- [pods] [program that has the shim, such as orlop itself]`

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use orlop_runtime::{
    ContainerConfig, ContainerRuntime, ContainerState, Resources, Runtime, RuntimeOptions, SandboxConfig, Seccomp,
    ShimCommand, reset, shim,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const DEFAULT_PODS: usize = 50;

fn main() -> Outcome<()> {
    let mut args = std::env::args_os().skip(1);
    let first = args.next();
    if first.as_deref().is_some_and(|arg| arg == shim::SUBCOMMAND) {
        shim::main(args);
    }
    let pods = first.and_then(|arg| arg.to_str()?.parse().ok()).unwrap_or(DEFAULT_PODS);
    let mut command = ShimCommand::default();
    command.program = args.next().map_or(command.program, Into::into);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(bench(pods, command))
}

async fn bench(pods: usize, command: ShimCommand) -> Outcome<()> {
    let dir = tempfile::Builder::new().prefix("orlop-bench-").tempdir_in("/var/tmp")?;
    let image = dir.path().join("image");
    fs::create_dir_all(image.join("bin"))?;
    fs::copy("/bin/busybox", image.join("bin/busybox"))?;
    let options = RuntimeOptions {
        state_dir: dir.path().join("state"),
        run_dir: dir.path().join("run"),
        cgroup_root: format!("orlop-bench/{}", std::process::id()),
        shim: command,
        oci_runtime: None,
    };
    let runtime = Runtime::open(options.clone()).await?;
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut shims = Vec::new();
    for n in 0..pods {
        let sandbox_config = sandbox(n);
        let container_config = container(&image, dir.path(), n);
        let begin = Instant::now();
        let sandbox = runtime.run_sandbox(&sandbox_config).await?;
        let made = Instant::now();
        let id = runtime.create_container(&sandbox.id, &container_config).await?;
        let created = Instant::now();
        runtime.start_container(&id).await?;
        let started = Instant::now();
        let exec = runtime
            .exec(
                &id,
                &orlop_runtime::ExecConfig { args: vec!["/bin/busybox".into(), "true".into()], ..Default::default() },
            )
            .await?;
        exec.exit.await?;
        times.entry("1 run_sandbox").or_default().push(made - begin);
        times.entry("2 create_container").or_default().push(created - made);
        times.entry("3 start_container").or_default().push(started - created);
        times.entry("4 the three together").or_default().push(started - begin);
        times.entry("5 exec true").or_default().push(started.elapsed());
        let container = runtime.container(&id).await?;
        assert_eq!(container.state, ContainerState::Running);
        shims.push(parent_of(container.pid.ok_or("no pid")?)?);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{pods} pods, one container each; min / median / p90")?;
    for (what, times) in &mut times {
        times.sort();
        let at = |q: usize| times[(times.len() - 1) * q / 100].as_secs_f64() * 1000.0;
        writeln!(out, "{what:<24} {:6.2} {:6.2} {:6.2} ms", at(0), at(50), at(90))?;
    }
    report_memory(&mut out, &shims)?;
    let begin = Instant::now();
    for sandbox in runtime.sandboxes().await? {
        runtime.remove_sandbox(&sandbox.id).await?;
    }
    writeln!(out, "{:<24} {:6.2} ms each", "remove_sandbox", begin.elapsed().as_secs_f64() * 1000.0 / pods as f64)?;
    drop(runtime);
    reset(&options).await?;
    Ok(())
}

fn sandbox(n: usize) -> SandboxConfig {
    SandboxConfig {
        pod_name: format!("pod-{n}"),
        pod_namespace: "bench".into(),
        hostname: format!("pod-{n}"),
        cgroup: format!("kubepods/burstable/pod{n}"),
        ..SandboxConfig::default()
    }
}

fn container(image: &Path, dir: &Path, n: usize) -> ContainerConfig {
    let mut config = ContainerConfig {
        name: "main".into(),
        rootfs_layers: vec![image.to_owned()],
        args: ["/bin/busybox", "sleep", "1000"].map(str::to_owned).to_vec(),
        log_path: dir.join(format!("{n}.log")),
        ..ContainerConfig::default()
    };
    config.resources = Resources {
        cpu_shares: Some(102),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: Some(1000),
        ..Resources::default()
    };
    config.security.seccomp = Seccomp::RuntimeDefault;
    // The kubelet's defaults.
    config.security.masked_paths = [
        "/proc/asound",
        "/proc/acpi",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]
    .map(str::to_owned)
    .to_vec();
    config.security.readonly_paths =
        ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"].map(str::to_owned).to_vec();
    config
}

fn parent_of(pid: i32) -> Outcome<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).ok_or("no parent")?;
    Ok(line.trim().parse()?)
}

fn report_memory(out: &mut impl Write, shims: &[i32]) -> Outcome<()> {
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    for pid in shims {
        for line in fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let Some(kilobytes) = value.trim().strip_suffix(" kB") else { continue };
            *totals.entry(key.to_owned()).or_default() += kilobytes.trim().parse::<u64>()?;
        }
    }
    for key in ["Rss", "Pss", "Pss_Anon", "Pss_File", "Private_Dirty"] {
        let total = totals.get(key).copied().unwrap_or(0);
        writeln!(out, "shim {key:<19} {:6} kB each", total / shims.len().max(1) as u64)?;
    }
    Ok(())
}
