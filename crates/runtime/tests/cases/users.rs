//! Pods whose users are not the host's.

#![cfg(test)]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use crate::support::{Node, patiently, read_log, read_to_end};
use orlop_runtime::{ContainerRuntime, ContainerState, Device, ExecConfig, Mount, SandboxConfig, UserNamespace};

const FIRST: u32 = 200_000;

fn own_users(node: &Node) -> SandboxConfig {
    SandboxConfig { users: Some(UserNamespace { first: FIRST, length: 65_536 }), ..node.sandbox_config() }
}

#[tokio::test]
async fn root_inside_is_nobody_special_outside() {
    let node = Node::new().await;
    let volume = node.dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "").unwrap();
    chown(volume.join("file"), Some(33), Some(33)).unwrap();
    let sandbox = node.runtime.run_sandbox(&own_users(&node)).await.unwrap().id;
    let mut config = node.script(
        "exec 2>&1; id -u; cat /proc/self/uid_map | tr -s ' '; echo pid=$$; stat -c %u:%g / /bin/sh /data/file /dev/shm /tmp; \
         echo x > /data/made && echo x > /made && echo written; hostname changed && hostname; \
         ip link add d0 type bridge && echo links; mount -t tmpfs none /tmp && echo mounted; \
         mknod /tmp/null c 1 3; echo x > /dev/null && head -c1 /dev/zero | wc -c; cat /dev/mem; \
         echo again > /dev/stdout; echo 1 > /proc/sys/vm/swappiness; sleep 1000",
    );
    config.security.add_capabilities = vec!["SYS_ADMIN".into(), "NET_ADMIN".into()];
    config.mounts = vec![Mount { container_path: "/data".into(), host_path: volume.clone(), ..Mount::default() }];
    let id = node.start_in(&sandbox, &config).await;
    patiently(async {
        while read_log(&config.log_path).len() < 17 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let lines: Vec<String> = read_log(&config.log_path).into_iter().map(|line| line.text).collect();
    assert_eq!(
        lines,
        [
            "0",
            " 0 200000 65536",
            "pid=1",
            "0:0",
            "0:0",
            "33:33",
            "0:0",
            "0:0",
            "written",
            "changed",
            "links",
            "mounted",
            "mknod: /tmp/null: Operation not permitted",
            "1",
            "cat: can't open '/dev/mem': No such file or directory",
            "again",
            "sh: can't create /proc/sys/vm/swappiness: Permission denied",
        ]
    );
    let owner = |path: std::path::PathBuf| path.metadata().map(|meta| (meta.uid(), meta.gid())).unwrap();
    assert_eq!(owner(volume.join("made")), (0, 0), "a volume keeps the users it has on the host");
    let upper = node.options.state_dir.join("containers").join(&id).join("upper");
    assert_eq!(owner(upper.join("made")), (FIRST, FIRST));
    let pid = node.runtime.container(&id).await.unwrap().pid.unwrap();
    assert_eq!(owner(format!("/proc/{pid}").into()), (FIRST, FIRST));
    node.finish().await;
}

#[tokio::test]
async fn commands_terminals_and_ends() {
    let node = Node::new().await;
    for share_pid in [false, true] {
        let sandbox = node.runtime.run_sandbox(&SandboxConfig { share_pid, ..own_users(&node) }).await.unwrap().id;
        let mut config = node.script("echo $$; until [ -e /dev/shm/go ]; do sleep 0.01; done; exit 7");
        config.security.uid = 33;
        let id = node.start_in(&sandbox, &config).await;
        let (text, code) = node.exec(&id, &["sh", "-c", "id -u; cut -d' ' -f1 /proc/self/uid_map | wc -l"]).await;
        assert_eq!((text.as_str(), code), ("33\n1\n", 0));
        let tty = ExecConfig { args: vec!["tty".into()], tty: true, stdout: true, ..ExecConfig::default() };
        let exec = node.runtime.exec(&id, &tty).await.unwrap();
        assert_eq!(read_to_end(exec.streams.stdout.unwrap()).await, "/dev/pts/0\r\n");
        assert_eq!(patiently(exec.exit).await.unwrap(), 0);
        let missing = node.runtime.create_container(&sandbox, &node.command(&["nope"])).await.unwrap();
        let error = node.runtime.start_container(&missing).await.unwrap_err().to_string();
        assert_eq!(error, "failed to start container: exec: \"nope\": executable file not found in $PATH");
        node.exec(&id, &["touch", "/dev/shm/go"]).await;
        let ended = node.wait_exit(&id).await;
        assert_eq!((ended.state, ended.exit_code), (ContainerState::Exited, 7));
        assert_eq!(read_log(&config.log_path)[0].text == "1", !share_pid);
        node.runtime.remove_sandbox(&sandbox).await.unwrap();
    }
    node.finish().await;
}

#[tokio::test]
async fn devices_terminals_and_limits() {
    let node = Node::new().await;
    let sandbox = node.runtime.run_sandbox(&own_users(&node)).await.unwrap().id;
    let mut config = node.script("tty; [ -c /dev/console ] && echo console; head -c2 /dev/other | wc -c");
    config.tty = true;
    config.devices =
        vec![Device { container_path: "/dev/other".into(), host_path: "/dev/zero".into(), permissions: "r".into() }];
    let lines: Vec<String> = node.run_in(&sandbox, &config).await.log.into_iter().map(|line| line.text).collect();
    assert_eq!(lines, ["/dev/pts/0", "console", "2"]);
    let mut config = node.command(&["tail", "-c", "200000000", "/dev/zero"]);
    config.resources.memory_limit_bytes = Some(32 << 20);
    let oom = node.run_in(&sandbox, &config).await.container;
    assert_eq!((oom.exit_code, oom.reason.as_str()), (137, "OOMKilled"));
    node.finish().await;
}
