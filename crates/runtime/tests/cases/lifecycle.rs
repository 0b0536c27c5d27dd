//! Sandboxes and containers through their lives: commands in them, attachments, signals, restarts of the
//! agent, and leaving nothing behind.

#![cfg(test)]

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Node, OCI_RUNTIME, patiently, read_log, read_to_end};
use orlop_runtime::{
    ContainerRuntime, ContainerState, ExecConfig, HostNamespaces, Runtime, RuntimeError, RuntimeEvent, SandboxConfig,
};

fn write_and_close(fd: OwnedFd, text: &str) {
    fs::File::from(fd).write_all(text.as_bytes()).unwrap();
}

fn exec_config(args: &[&str]) -> ExecConfig {
    ExecConfig {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        stdin: true,
        stdout: true,
        stderr: true,
        ..ExecConfig::default()
    }
}

#[tokio::test]
async fn commands_in_a_running_container() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let mut config = node.script("sleep 1000");
    config.env = vec![("GREETING".into(), "hello".into())];
    config.security.uid = 33;
    let id = node.start_in(&sandbox, &config).await;

    let script = "id -u; echo $GREETING; cat; echo err >&2; tr '\\0' ' ' </proc/1/cmdline; exit 7";
    let exec = node.runtime.exec(&id, &exec_config(&["sh", "-c", script])).await.unwrap();
    write_and_close(exec.streams.stdin.unwrap(), "from outside\n");
    let out = read_to_end(exec.streams.stdout.unwrap()).await;
    assert_eq!(out, "33\nhello\nfrom outside\nsleep 1000 ");
    assert_eq!(read_to_end(exec.streams.stderr.unwrap()).await, "err\n");
    assert_eq!(patiently(exec.exit).await.unwrap(), 7);

    let (text, code) = node.exec(&id, &["sh", "-c", "kill -KILL $$"]).await;
    assert_eq!((text.as_str(), code), ("", 137));
    let error = node.runtime.exec(&id, &exec_config(&["nope"])).await.err().unwrap();
    assert!(error.to_string().starts_with("failed to exec in container: "), "{error}");
    // Other runtimes have their own words.
    assert!(
        OCI_RUNTIME.is_some() || error.to_string().ends_with(": exec: \"nope\": executable file not found in $PATH")
    );

    // A command that nobody waits for any more is killed.
    let exec = node.runtime.exec(&id, &exec_config(&["sh", "-c", "trap '' TERM; echo up; sleep 1000"])).await.unwrap();
    drop(exec.exit);
    assert!(["up\n", ""].contains(&read_to_end(exec.streams.stdout.unwrap()).await.as_str()));

    node.runtime.stop_container(&id, 0).await.unwrap();
    let error = node.runtime.exec(&id, &exec_config(&["true"])).await.err().unwrap().to_string();
    assert_eq!(error, format!("container {id} is not running"));
    assert!(matches!(node.runtime.exec("none", &exec_config(&["true"])).await, Err(RuntimeError::NotFound(_))));
    node.finish().await;
}

#[tokio::test]
async fn terminals() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let mut config =
        node.script("tty; [ -c /dev/console ] && echo console; stty size; read line; echo got $line; sleep 1000");
    (config.tty, config.stdin) = (true, true);
    let id = node.start_in(&sandbox, &config).await;
    let streams = node.runtime.attach(&id).await.unwrap();
    let terminal = streams.tty.unwrap();
    let size = rustix::termios::Winsize { ws_row: 40, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&terminal, size).unwrap();
    write_and_close(streams.stdin.unwrap(), "typed\n");
    let stdout = streams.stdout.unwrap();
    let seen = tokio::task::spawn_blocking(move || {
        let mut reader = std::io::BufReader::new(fs::File::from(stdout));
        let mut text = String::new();
        while !text.contains("got typed") {
            std::io::BufRead::read_line(&mut reader, &mut text).unwrap();
        }
        text
    });
    patiently(seen).await.unwrap();
    let log: Vec<String> = read_log(&config.log_path).into_iter().map(|line| line.text).collect();
    for line in ["/dev/pts/0", "console", "got typed"] {
        assert!(log.iter().any(|l| l == line), "{log:?}");
    }

    let mut config = exec_config(&["sh", "-c", "tty; echo $TERM; exit 3"]);
    config.tty = true;
    let exec = node.runtime.exec(&id, &config).await.unwrap();
    assert!(exec.streams.stderr.is_none() && exec.streams.tty.is_some());
    let text = read_to_end(exec.streams.stdout.unwrap()).await;
    assert_eq!(text, "/dev/pts/1\r\nxterm\r\n");
    assert_eq!(patiently(exec.exit).await.unwrap(), 3);
    node.finish().await;
}

#[tokio::test]
async fn several_clients_attached() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let mut config = node.script("while read line; do echo out $line; echo err $line >&2; done; echo end");
    config.stdin = true;
    let id = node.start_in(&sandbox, &config).await;
    let one = node.runtime.attach(&id).await.unwrap();
    let two = node.runtime.attach(&id).await.unwrap();
    let gone = node.runtime.attach(&id).await.unwrap();
    drop(gone);
    write_and_close(one.stdin.unwrap(), "a\n");
    // Standard input stays open for the next one: it is not to end with the first client.
    write_and_close(two.stdin.unwrap(), "b\n");
    let third = node.runtime.attach(&id).await.unwrap();
    write_and_close(third.stdin.unwrap(), "exit\n");
    until_lines(&config.log_path, 6).await;
    node.runtime.stop_container(&id, 0).await.unwrap();
    for client in [one.stdout, two.stdout] {
        let text = read_to_end(client.unwrap()).await;
        assert_eq!(text, "out a\nout b\nout exit\n");
    }
    assert_eq!(read_to_end(one.stderr.unwrap()).await, "err a\nerr b\nerr exit\n");
    node.finish().await;
}

#[tokio::test]
async fn input_that_ends_with_its_first_client() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let mut config = node.script("cat; echo done");
    (config.stdin, config.stdin_once) = (true, true);
    let id = node.start_in(&sandbox, &config).await;
    let client = node.runtime.attach(&id).await.unwrap();
    write_and_close(client.stdin.unwrap(), "all of it\n");
    assert_eq!(read_to_end(client.stdout.unwrap()).await, "all of it\ndone\n");
    assert_eq!(node.wait_exit(&id).await.exit_code, 0);
    node.finish().await;
}

#[tokio::test]
async fn a_slow_client_slows_its_container_and_loses_nothing() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let mut config = node.script("read go; seq 1 200000");
    config.stdin = true;
    let id = node.start_in(&sandbox, &config).await;
    let client = node.runtime.attach(&id).await.unwrap();
    write_and_close(client.stdin.unwrap(), "go\n");
    // More than pipes hold; only then does anyone read.
    let other = node.start_in(&sandbox, &node.script("echo not starved")).await;
    node.wait_exit(&other).await;
    let text = read_to_end(client.stdout.unwrap()).await;
    assert_eq!(text.lines().count(), 200_000);
    assert!(text.ends_with("199999\n200000\n"));
    node.wait_exit(&id).await;
    assert_eq!(read_log(&config.log_path).len(), 200_000);
    node.finish().await;
}

#[tokio::test]
async fn stopping() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let polite = node.script("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done");
    let id = node.start_in(&sandbox, &polite).await;
    until_logged(&polite.log_path, "up").await;
    node.runtime.stop_container(&id, 30).await.unwrap();
    let container = node.runtime.container(&id).await.unwrap();
    assert_eq!((container.state, container.exit_code), (ContainerState::Exited, 5));
    assert_eq!(read_log(&polite.log_path).last().unwrap().text, "bye");

    let mut other = node.script("trap 'exit 6' USR1; echo up; while :; do sleep 0.01; done");
    other.stop_signal = 10;
    let id = node.start_in(&sandbox, &other).await;
    until_logged(&other.log_path, "up").await;
    node.runtime.stop_container(&id, 30).await.unwrap();
    assert_eq!(node.runtime.container(&id).await.unwrap().exit_code, 6);

    let deaf = node.script("trap '' TERM; echo up; while :; do sleep 1000; done");
    let id = node.start_in(&sandbox, &deaf).await;
    until_logged(&deaf.log_path, "up").await;
    let begin = Instant::now();
    node.runtime.stop_container(&id, 1).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let container = node.runtime.container(&id).await.unwrap();
    assert_eq!((container.exit_code, container.signal, container.reason.as_str()), (137, 9, "Error"));
    // Again, and what is not there.
    node.runtime.stop_container(&id, 1).await.unwrap();
    node.runtime.stop_container("none", 1).await.unwrap();
    node.runtime.remove_container(&id).await.unwrap();
    node.runtime.remove_container(&id).await.unwrap();
    assert!(matches!(node.runtime.container(&id).await, Err(RuntimeError::NotFound(_))));
    node.finish().await;
}

async fn until_logged(path: &std::path::Path, text: &str) {
    patiently(async {
        while !read_log(path).iter().any(|line| line.text == text) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn namespaces_are_shared_as_asked() {
    let node = Node::new().await;
    let namespaces = "for n in net ipc uts pid mnt cgroup; do readlink /proc/self/ns/$n; done; sleep 1000";
    let lines = |path: &std::path::Path| read_log(path).into_iter().map(|l| l.text).collect::<Vec<_>>();
    let host: Vec<String> = ["net", "ipc", "uts", "pid", "mnt", "cgroup"]
        .iter()
        .map(|n| fs::read_link(format!("/proc/self/ns/{n}")).unwrap().to_str().unwrap().to_owned())
        .collect();
    for (share_pid, host_namespaces) in [
        (false, HostNamespaces::default()),
        (true, HostNamespaces::default()),
        (false, HostNamespaces { network: true, pid: true, ipc: true }),
    ] {
        let config = SandboxConfig { share_pid, host: host_namespaces, ..node.sandbox_config() };
        let sandbox = node.runtime.run_sandbox(&config).await.unwrap();
        assert_eq!(sandbox.netns.is_none(), host_namespaces.network);
        let (a, b) = (node.script(namespaces), node.script(namespaces));
        let first = node.start_in(&sandbox.id, &a).await;
        node.start_in(&sandbox.id, &b).await;
        let mut target = node.script("ps -o args; readlink /proc/self/ns/pid");
        target.target_container = Some(first.clone());
        let debug = node.run_in(&sandbox.id, &target).await;
        until_lines(&a.log_path, 6).await;
        until_lines(&b.log_path, 6).await;
        let (a, b) = (lines(&a.log_path), lines(&b.log_path));
        let same: Vec<bool> = (0..6).map(|n| a[n] == b[n]).collect();
        let shared_pid = share_pid || host_namespaces.pid;
        assert_eq!(same, [true, true, true, shared_pid, false, false]);
        let of_host: Vec<bool> = (0..6).map(|n| a[n] == host[n]).collect();
        let HostNamespaces { network, pid, ipc } = host_namespaces;
        assert_eq!(of_host, [network, ipc, network, pid, false, false]);
        assert!(debug.text().contains("sleep 1000") && debug.text().contains(&a[3]), "{}", debug.text());
        if let Some(netns) = &sandbox.netns {
            let name = format!("--net={}", netns.display());
            let out = Command::new("nsenter").args([&name, "readlink", "/proc/self/ns/net"]).output().unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), a[0]);
        }
        node.runtime.remove_sandbox(&sandbox.id).await.unwrap();
        assert!(sandbox.netns.is_none_or(|path| !path.exists()));
    }
    node.finish().await;
}

async fn until_lines(path: &std::path::Path, count: usize) {
    patiently(async {
        while read_log(path).len() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_dev_shm_and_one_reaper_per_pod() {
    let node = Node::new().await;
    let config = SandboxConfig { share_pid: true, ..node.sandbox_config() };
    let sandbox = node.runtime.run_sandbox(&config).await.unwrap().id;
    let write = node
        .run_in(&sandbox, &node.script("echo shared > /dev/shm/note; df -m /dev/shm | tail -1 | awk '{print $2}'"))
        .await;
    assert_eq!(write.text(), "64\n");
    // The orphan is gone, not only dead, sooner or later.
    let orphan = "(sleep 0.01 & echo $! > /tmp/pid); while [ -e /proc/$(cat /tmp/pid) ]; do usleep 1000; done";
    let read = node.run_in(&sandbox, &node.script(&format!("cat /dev/shm/note; {orphan}; echo reaped"))).await;
    assert_eq!(read.text(), "shared\nreaped\n");
    node.finish().await;
}

#[tokio::test]
async fn sysctls_of_the_pod() {
    let node = Node::new().await;
    let mut config = node.sandbox_config();
    config.sysctls.insert("net.ipv4.ip_local_port_range".into(), "10000 20000".into());
    config.sysctls.insert("kernel.shm_rmid_forced".into(), "1".into());
    let sandbox = node.runtime.run_sandbox(&config).await.unwrap().id;
    let read = "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_eq!(node.run_in(&sandbox, &node.script(read)).await.text(), "10000\t20000\n1\n0\n");
    let own = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    assert_ne!(own, "10000\t20000\n");
    config.sysctls.insert("net.none.such".into(), "1".into());
    let error = node.runtime.run_sandbox(&config).await.unwrap_err().to_string();
    assert!(error.contains("set sysctl /proc/sys/net/none/such=1: no such file or directory"), "{error}");
    assert_eq!(node.runtime.sandboxes().await.unwrap().len(), 1);
    node.finish().await;
}

#[tokio::test]
async fn logs_follow_rotation() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let mut config = node.script("while read line; do echo $line; done");
    config.stdin = true;
    let id = node.start_in(&sandbox, &config).await;
    let mut stdin = fs::File::from(node.runtime.attach(&id).await.unwrap().stdin.unwrap());
    stdin.write_all(b"one\n").unwrap();
    until_logged(&config.log_path, "one").await;
    let rotated = config.log_path.with_extension("1");
    fs::rename(&config.log_path, &rotated).unwrap();
    node.runtime.reopen_log(&id).await.unwrap();
    stdin.write_all(b"two\n").unwrap();
    until_logged(&config.log_path, "two").await;
    assert_eq!(read_log(&rotated).len(), 1);
    node.finish().await;
}

#[tokio::test]
async fn a_sandbox_stops_with_all_in_it() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let mut events = node.runtime.events();
    let a = node.start_in(&sandbox, &node.script("trap '' TERM; sleep 1000")).await;
    let b = node.start_in(&sandbox, &node.script("sleep 1000")).await;
    let created = node.runtime.create_container(&sandbox, &node.script("true")).await.unwrap();
    node.runtime.stop_sandbox(&sandbox).await.unwrap();
    node.runtime.stop_sandbox(&sandbox).await.unwrap();
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    for id in [&a, &b] {
        let container = node.runtime.container(id).await.unwrap();
        assert_eq!((container.state, container.exit_code), (ContainerState::Exited, 137));
        assert!(
            seen.contains(&RuntimeEvent::ContainerExited { sandbox_id: sandbox.clone(), container_id: id.clone() })
        );
    }
    assert!(seen.contains(&RuntimeEvent::SandboxStopped { sandbox_id: sandbox.clone() }));
    assert!(!node.runtime.sandboxes().await.unwrap()[0].ready);
    assert!(node.runtime.start_container(&created).await.is_err());
    assert!(node.runtime.create_container(&sandbox, &node.script("true")).await.is_err());
    node.runtime.remove_sandbox(&sandbox).await.unwrap();
    node.runtime.remove_sandbox(&sandbox).await.unwrap();
    assert_eq!((node.runtime.sandboxes().await.unwrap().len(), node.runtime.containers().await.unwrap().len()), (0, 0));
    node.finish().await;
}

#[tokio::test]
async fn a_killed_shim_takes_its_pod_with_it() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let mut events = node.runtime.events();
    let id = node.start_in(&sandbox, &node.script("sleep 1000")).await;
    let pid = node.runtime.container(&id).await.unwrap().pid.unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
    assert!(Command::new("kill").args(["-9", &shim]).status().unwrap().success());
    while patiently(events.recv()).await.unwrap() != (RuntimeEvent::SandboxStopped { sandbox_id: sandbox.clone() }) {}
    let container = node.runtime.container(&id).await.unwrap();
    assert_eq!((container.state, container.exit_code), (ContainerState::Exited, 137));
    // Dead; when it is buried is up to whoever inherited it.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    node.finish().await;
}

/// How a test of this module is called in this program, whichever that is.
fn test_name(function: &str) -> String {
    let module = module_path!().split_once("::").map_or_else(String::new, |(_, module)| format!("{module}::"));
    module + function
}

/// The agent of [`the_agent_is_killed_and_its_containers_are_adopted`], in a process of its own.
#[tokio::test]
async fn agent_process() {
    let Ok(script) = std::env::var("ORLOP_TEST_AGENT") else { return };
    let mut node = Node::new().await;
    node.dir.disable_cleanup(true);
    let sandbox = node.sandbox().await;
    let long = node.start_in(&sandbox, &node.script("while :; do sleep 0.01; done")).await;
    let short = node
        .start_in(&sandbox, &node.script("until [ -e /dev/shm/go ]; do usleep 1000; done; echo last words; exit 9"))
        .await;
    let created = node.runtime.create_container(&sandbox, &node.script("echo late")).await.unwrap();
    let failed = node.runtime.create_container(&sandbox, &node.command(&["nope"])).await.unwrap();
    node.runtime.start_container(&failed).await.unwrap_err();
    let report = [node.dir.path().to_str().unwrap(), &sandbox, &long, &short, &created, &failed].join("\n");
    fs::write(&script, report).unwrap();
    fs::rename(&script, format!("{script}.done")).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_agent_is_killed_and_its_containers_are_adopted() {
    let scratch = tempfile::tempdir().unwrap();
    let report = scratch.path().join("report");
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args([&test_name("agent_process"), "--exact"])
        .env("ORLOP_TEST_AGENT", &report)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let done = scratch.path().join("report.done");
    patiently(async {
        while !done.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    let text = fs::read_to_string(done).unwrap();
    let [dir, sandbox, long, short, created, failed] = <[&str; 6]>::try_from(text.lines().collect::<Vec<_>>()).unwrap();

    // One container ends while there is no agent at all.
    let node = Node::reopen(dir).await;
    let (_, code) = node.exec(long, &["true"]).await;
    assert_eq!(code, 0, "it runs on");
    drop(node.runtime.clone());
    let pid = node.runtime.container(long).await.unwrap().pid;
    let node = node
        .without_runtime(|| {
            let shm = fs::read_dir(format!("{dir}/run/sandboxes/{sandbox}/shm")).is_ok();
            assert!(shm);
            fs::write(format!("{dir}/run/sandboxes/{sandbox}/shm/go"), "").unwrap();
            let exit = format!("{dir}/state/containers/{short}/exit");
            let begin = Instant::now();
            while !std::path::Path::new(&exit).exists() {
                assert!(begin.elapsed() < Duration::from_secs(30));
                std::thread::yield_now();
            }
        })
        .await;
    let runtime = &node.runtime;
    assert!(runtime.sandboxes().await.unwrap()[0].ready);
    let container = runtime.container(long).await.unwrap();
    assert_eq!((container.state, container.pid), (ContainerState::Running, pid));
    let container = runtime.container(short).await.unwrap();
    assert_eq!((container.state, container.exit_code, container.reason.as_str()), (ContainerState::Exited, 9, "Error"));
    assert!(container.started_unix_nanos > 0 && container.finished_unix_nanos > container.started_unix_nanos);
    assert_eq!(read_log(&container.log_path)[0].text, "last words");
    assert_eq!(runtime.container(failed).await.unwrap().reason, "StartError");
    assert_eq!(runtime.container(created).await.unwrap().state, ContainerState::Created);
    runtime.start_container(created).await.unwrap();
    let late = node.wait_exit(created).await;
    assert_eq!(read_log(&late.log_path)[0].text, "late");
    runtime.stop_container(long, 0).await.unwrap();
    let dir = dir.to_owned();
    node.finish().await;
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn after_a_reboot_nothing_runs_and_nothing_is_forgotten() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let id = node.start_in(&sandbox, &node.script("sleep 1000")).await;
    let saved = node.dir.path().join("saved");
    assert!(Command::new("cp").arg("-a").arg(&node.options.state_dir).arg(&saved).status().unwrap().success());
    let options = node.options.clone();
    node.runtime.remove_sandbox(&sandbox).await.unwrap();
    // Torn files, as a power loss leaves them.
    fs::write(saved.join("sandboxes/torn.json"), "").unwrap();
    fs::create_dir(saved.join("containers/torn")).unwrap();
    fs::write(saved.join("containers/torn/config"), "{").unwrap();
    let node = node
        .without_runtime(move || {
            fs::remove_dir_all(&options.state_dir).unwrap();
            fs::rename(&saved, &options.state_dir).unwrap();
        })
        .await;
    assert!(!node.runtime.sandboxes().await.unwrap()[0].ready);
    let container = node.runtime.container(&id).await.unwrap();
    assert_eq!(
        (container.state, container.exit_code, container.reason.as_str()),
        (ContainerState::Exited, 255, "Unknown")
    );
    assert_eq!(node.runtime.containers().await.unwrap().len(), 1);
    node.runtime.remove_sandbox(&sandbox).await.unwrap();
    node.finish().await;
}

#[tokio::test]
async fn many_pods_at_once() {
    let node = Node::new().await;
    let starts = (0..20).map(|n| {
        let node = &node;
        async move {
            let sandbox = node.sandbox().await;
            node.run_in(&sandbox, &node.script(&format!("echo {n}"))).await.text()
        }
    });
    let texts = futures_util::future::join_all(starts).await;
    assert_eq!(texts, (0..20).map(|n| format!("{n}\n")).collect::<Vec<_>>());
    node.finish().await;
}

#[tokio::test]
async fn a_runtime_can_be_opened_twice_in_a_row() {
    let node = Node::new().await;
    let id = node.sandbox().await;
    let again = Runtime::open(node.options.clone()).await.unwrap();
    assert!(again.sandboxes().await.unwrap().iter().any(|s| s.id == id && s.ready));
    assert!(again.version().starts_with("orlop://"));
    node.finish().await;
}
