//! Containers on the real kernel: what runs in them sees what it should.

#![cfg(test)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use crate::support::{Node, OCI_RUNTIME};
use orlop_runtime::{ContainerRuntime, ContainerState, Mount, Resources, RuntimeError, Seccomp, Security};

#[tokio::test]
async fn output_exit_codes_and_records() {
    let node = Node::new().await;
    let done = node.run(&node.script("echo out; echo err >&2; printf unfinished; exit 3")).await;
    let mut lines: Vec<(&str, &str, &str)> =
        done.log.iter().map(|l| (l.stream.as_str(), l.tag.as_str(), l.text.as_str())).collect();
    lines.sort_unstable();
    assert_eq!(lines, [("stderr", "F", "err"), ("stdout", "F", "out"), ("stdout", "P", "unfinished")]);
    assert_eq!((done.container.exit_code, done.container.reason.as_str()), (3, "Error"));
    assert!(done.container.created_unix_nanos <= done.container.started_unix_nanos);
    assert!(done.container.started_unix_nanos <= done.container.finished_unix_nanos);
    let ok = node.run(&node.command(&["true"])).await;
    assert_eq!((ok.container.exit_code, ok.container.reason.as_str()), (0, "Completed"));
    node.finish().await;
}

#[tokio::test]
async fn inside_looks_like_a_container() {
    let node = Node::new().await;
    let mut config = node.script(
        "hostname; id; echo home=$HOME host=$HOSTNAME path=$PATH; pwd; echo pid=$$; \
         for f in null zero full random urandom tty; do [ -c /dev/$f ] || echo no $f; done; \
         [ -L /dev/stdout ] && [ -d /dev/shm ] && [ -d /dev/mqueue ] && [ -c /dev/ptmx ] && echo dev; \
         ip link | grep -c 'lo:.*UP'; ls /sys/class/net; \
         touch /sys/x 2>&1; touch /etc/new && echo writable; \
         cat /proc/1/oom_score_adj; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; \
         ls /proc/self/fd | wc -l; grep -c . /proc/self/mountinfo; cat /proc/self/cgroup | grep -vc ':/$'; \
         ls /sys/fs/cgroup | head -1",
    );
    config.working_dir = "/work/dir".into();
    let done = node.run(&config).await;
    let text = done.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "pod-0");
    assert_eq!(lines[1], "uid=0(root) gid=0(root) groups=0(root)".split(" groups").next().unwrap(), "{text}");
    assert_eq!(lines[2], "home=/root host=pod-0 path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    assert_eq!(lines[3..7], ["/work/dir", "pid=1", "dev", "1"], "{text}");
    assert_eq!(lines[7..10], ["lo", "touch: /sys/x: Read-only file system", "writable"], "{text}");
    assert_eq!(lines[10..14], ["0", "CapEff:\t00000000a80425fb", "NoNewPrivs:\t0", "Seccomp:\t0"], "{text}");
    assert_eq!(lines[14], "4", "stdin, stdout, stderr and the directory itself: {text}");
    node.finish().await;
}

#[tokio::test]
async fn users_capabilities_and_privileges() {
    let node = Node::new().await;
    let status =
        "id -u; id -g; id -G; grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp:' /proc/self/status | cut -f2";
    let mut config = node.script(status);
    config.security = Security {
        uid: 33,
        gid: 34,
        supplemental_groups: vec![100, 200],
        add_capabilities: vec!["NET_ADMIN".into()],
        no_new_privileges: true,
        seccomp: Seccomp::RuntimeDefault,
        ..Security::default()
    };
    let zero = "0000000000000000";
    let want = ["33", "34", "34 100 200", zero, zero, zero, "00000000a80435fb", zero, "1", "2"];
    assert_eq!(node.run(&config).await.text().lines().collect::<Vec<_>>(), want);

    config.security = Security { drop_capabilities: vec!["ALL".into()], ..Security::default() };
    let text = node.run(&config).await.text();
    assert_eq!(text.lines().skip(3).take(5).collect::<Vec<_>>(), [zero; 5]);

    let probe = "mount -t tmpfs none /tmp 2>/dev/null && echo mounted; [ -w /proc/sys/kernel/hostname ] && echo sys; \
                 chown 1:1 /tmp 2>/dev/null && echo chowned";
    let mut config = node.script(probe);
    assert_eq!(node.run(&config).await.text().lines().last(), Some("chowned"));
    config.security.privileged = true;
    config.args[2] += "; ls /dev | grep -c .";
    let text = node.run(&config).await.text();
    assert!(text.starts_with("mounted\nsys\nchowned\n"), "{text}");
    node.finish().await;
}

#[tokio::test]
async fn seccomp_is_enforced() {
    let node = Node::new().await;
    let mut config = node.script("unshare -U true 2>&1; ping -c1 -W1 127.0.0.1 >/dev/null && echo ping");
    config.security.seccomp = Seccomp::RuntimeDefault;
    let text = node.run(&config).await.text();
    assert_eq!(text, "unshare: unshare(0x10000000): Operation not permitted\nping\n");

    let profile = node.dir.path().join("profile.json");
    fs::write(
        &profile,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#,
    )
    .unwrap();
    let mut config = node.script("mkdir /tmp/x");
    config.security.seccomp = Seccomp::Localhost(profile);
    config.security.uid = 33;
    assert_eq!(node.run(&config).await.text(), "mkdir: can't create directory '/tmp/x': No space left on device\n");
    node.finish().await;
}

#[tokio::test]
async fn mounts_of_every_sort() {
    let node = Node::new().await;
    let host = node.dir.path().join("volume");
    fs::create_dir_all(host.join("sub")).unwrap();
    fs::write(host.join("file"), "content").unwrap();
    let mount = |container: &str, host: std::path::PathBuf| Mount {
        container_path: container.into(),
        host_path: host,
        ..Mount::default()
    };
    let mut config = node.script(
        "cat /etc/config; echo x > /data/written && echo rw; echo x > /ro/y; ls /a/b; ls -d /made; echo x > /etc/config && echo filerw",
    );
    config.mounts = vec![
        mount("/a/b", host.clone()),
        mount("/a", host.join("sub")),
        mount("/etc/config", host.join("file")),
        mount("/data", host.clone()),
        Mount { read_only: true, ..mount("/ro", host.clone()) },
        mount("/made", node.dir.path().join("missing/dir")),
    ];
    let done = node.run(&config).await;
    let text = done.text();
    assert!(text.starts_with("contentrw\n"), "{text}");
    for line in ["sh: can't create /ro/y: Read-only file system", "written", "/made", "filerw"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert!(
        host.join("written").exists() && host.join("sub/b").exists() && node.dir.path().join("missing/dir").is_dir()
    );

    // A directory where the image has a file.
    let mut config = node.script("true");
    config.mounts = vec![mount("/etc/passwd", host.clone())];
    let sandbox = node.sandbox().await;
    let id = node.runtime.create_container(&sandbox, &config).await.unwrap();
    let error = node.runtime.start_container(&id).await.unwrap_err().to_string();
    assert!(
        OCI_RUNTIME.is_some()
            || error.contains("error mounting") && error.contains("Are you trying to mount a directory onto a file"),
        "{error}"
    );
    node.finish().await;
}

#[tokio::test]
async fn read_only_masked_and_hidden() {
    let node = Node::new().await;
    let mut config = node.script("exec 2>&1; touch /x; cat /proc/uptime | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/vm/swappiness; touch /tmp/ok && echo tmp");
    config.security.read_only_rootfs = true;
    config.security.masked_paths = vec!["/proc/uptime".into(), "/sys/firmware".into(), "/proc/none-such".into()];
    config.security.readonly_paths = vec!["/proc/sys".into(), "/proc/none-such".into()];
    config.mounts =
        vec![Mount { container_path: "/tmp".into(), host_path: node.dir.path().join("tmp"), ..Mount::default() }];
    assert_eq!(
        node.run(&config).await.text(),
        "touch: /x: Read-only file system\n0\n0\nsh: can't create /proc/sys/vm/swappiness: Read-only file system\ntmp\n"
    );
    node.finish().await;
}

/// Other runtimes find out only after they have said that the container runs.
const KNOWN_WHEN_EXECUTED: [&str; 2] = ["/bin/bad", "/proc/self/exe"];

#[tokio::test]
async fn programs_that_cannot_run() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let script = node.dir.path().join("image/bin/bad");
    fs::write(&script, "#!/none/such\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for (args, want) in [
        (&["foo"][..], "exec: \"foo\": executable file not found in $PATH"),
        (&["/foo"], "exec: \"/foo\": stat /foo: no such file or directory"),
        (&["/etc"], "exec: \"/etc\": is a directory"),
        (&["/etc/passwd"], "exec: \"/etc/passwd\": permission denied"),
        (&["/bin/bad"], "exec /bin/bad: no such file or directory"),
        (&["/proc/self/exe"], "exec: \"/proc/self/exe\": permission denied"),
    ] {
        if OCI_RUNTIME.is_some() && KNOWN_WHEN_EXECUTED.contains(&args[0]) {
            continue;
        }
        let id = node.runtime.create_container(&sandbox, &node.command(args)).await.unwrap();
        let error = node.runtime.start_container(&id).await.unwrap_err();
        assert!(error.to_string().starts_with("failed to start container: "), "{error}");
        // Other runtimes have their own words.
        assert!(OCI_RUNTIME.is_some() || error.to_string().ends_with(&format!(": {want}")), "{error}");
        let container = node.runtime.container(&id).await.unwrap();
        assert_eq!(container.state, ContainerState::Exited);
        assert_eq!(
            (container.exit_code, container.reason.as_str(), container.message),
            (128, "StartError", error.to_string())
        );
        assert!(matches!(node.runtime.start_container(&id).await, Err(RuntimeError::Other(_))));
    }
    node.finish().await;
}

#[tokio::test]
async fn limits_are_enforced() {
    let node = Node::new().await;
    let mut config = node.script("head -c 200m /dev/zero | tail >/dev/null; echo survived");
    config.resources = Resources { memory_limit_bytes: Some(32 << 20), ..Resources::default() };
    config.args = ["tail", "-c", "200000000", "/dev/zero"].map(str::to_owned).to_vec();
    let oom = node.run(&config).await.container;
    assert_eq!((oom.exit_code, oom.signal, oom.reason.as_str()), (137, 9, "OOMKilled"));

    let mut config = node.script("for i in $(seq 40); do sleep 1000 & done; echo all");
    // Other runtimes have threads of their own in there at first.
    config.resources = Resources { pids_limit: Some(20), ..Resources::default() };
    let done = node.run(&config).await;
    assert!(done.text().contains("can't fork: Resource temporarily unavailable"), "{}", done.text());

    let sandbox = node.sandbox().await;
    let mut config = node.script("while :; do :; done");
    config.resources = Resources {
        cpu_quota_us: Some(10_000),
        cpu_period_us: Some(100_000),
        cpu_shares: Some(2),
        ..Resources::default()
    };
    let id = node.start_in(&sandbox, &config).await;
    let begin = (Instant::now(), node.runtime.container_stats(&id).await.unwrap().cpu_usage_nanos);
    let mut used = 0;
    // Half a second of wall time under a quota of a tenth; measured by the kernel's own clock.
    while begin.0.elapsed().as_millis() < 500 {
        tokio::task::yield_now().await;
        used = node.runtime.container_stats(&id).await.unwrap().cpu_usage_nanos - begin.1;
    }
    let share = used as f64 / begin.0.elapsed().as_nanos() as f64;
    assert!(share < 0.25, "used {share:.2} of a core under a quota of 0.10");
    node.runtime.stop_container(&id, 0).await.unwrap();
    let mut config = node.script("echo alive");
    config.resources = Resources { memory_limit_bytes: Some(256 << 10), ..Resources::default() };
    let id = node.runtime.create_container(&sandbox, &config).await.unwrap();
    match node.runtime.start_container(&id).await {
        // How far it gets with a quarter of a megabyte is the kernel's business; hanging is not an option.
        Ok(()) => drop(node.wait_exit(&id).await),
        Err(error) => assert!(error.to_string().contains("container init was"), "{error}"),
    }
    node.finish().await;
}

#[tokio::test]
async fn limits_change_while_it_runs() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let mut config = node.script("sleep 1000");
    config.resources = Resources { memory_limit_bytes: Some(32 << 20), ..Resources::default() };
    let id = node.start_in(&sandbox, &config).await;
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
    for mebibytes in [64, 16, 48] {
        let resources = Resources { memory_limit_bytes: Some(mebibytes << 20), ..Resources::default() };
        node.runtime.update_resources(&id, &resources).await.unwrap();
        let (text, _) = node.exec(&id, &["sh", "-c", limit]).await;
        assert_eq!(text.trim(), (mebibytes << 20).to_string());
    }
    let stats = node.runtime.container_stats(&id).await.unwrap();
    assert!(stats.memory_usage_bytes > 0 && stats.pids == 1 && stats.cpu_usage_nanos > 0, "{stats:?}");
    node.exec(&id, &["dd", "if=/dev/zero", "of=/tmp/big", "bs=1M", "count=3"]).await;
    let layer = node.runtime.container_stats(&id).await.unwrap().writable_layer_bytes;
    assert!((3 << 20..4 << 20).contains(&layer), "{layer}");
    let pod = node.runtime.cgroup_stats("kubepods/poduid").await.unwrap();
    assert!(pod.memory_usage_bytes > 0);
    node.finish().await;
}

#[tokio::test]
async fn images_of_many_layers() {
    let node = Node::new().await;
    let mut config = node.script("cat /top /bottom; ls /layers | wc -l");
    let base = config.rootfs_layers.pop().unwrap();
    fs::write(base.join("bottom"), "bottom\n").unwrap();
    for n in 0..200 {
        let layer = node.dir.path().join(format!("layers/{n:064}"));
        fs::create_dir_all(layer.join("layers")).unwrap();
        fs::write(layer.join("layers").join(n.to_string()), "").unwrap();
        fs::write(layer.join("top"), format!("{n}\n")).unwrap();
        config.rootfs_layers.push(layer);
    }
    config.rootfs_layers.push(base);
    assert_eq!(node.run(&config).await.text(), "0\nbottom\n200\n");
    node.finish().await;
}
