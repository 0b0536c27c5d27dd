//! The same on a host that has only cgroup v2: such a host is made in a mount namespace. Controllers that the
//! real host keeps in v1 are missing there, so limits are not; everything else is.

#![cfg(test)]

mod support;

use std::process::Command;

use orlop_runtime::{ContainerRuntime, ContainerState};
use support::Node;

const INSIDE: &str = "ORLOP_TEST_VERSION_2";

#[test]
fn on_a_host_with_version_2_only() {
    let script = "mount --make-rprivate / && umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && \
                  exec \"$0\" inside --exact --nocapture";
    let program = std::env::current_exe().unwrap();
    let status = Command::new("unshare").args(["--mount", "sh", "-c", script]).arg(program).env(INSIDE, "1").status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let script = "grep ^0: /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.events; \
                  (echo x > /sys/fs/cgroup/cgroup.procs) 2>&1; cat /dev/null && echo null; mknod /tmp/kmsg c 1 11; \
                  cat /tmp/kmsg 2>&1 | head -1";
    let done = node.run_in(&sandbox, &node.script(script)).await;
    assert_eq!(
        done.text(),
        "0::/\n/sys/fs/cgroup/cgroup.events\nsh: can't create /sys/fs/cgroup/cgroup.procs: Read-only file system\n\
         null\ncat: can't open '/tmp/kmsg': Operation not permitted\n"
    );
    let mut config = node.script("sleep 1000 & sleep 1000 & wait");
    config.resources.memory_limit_bytes = Some(64 << 20);
    config.resources.cpu_shares = Some(100);
    let id = node.start_in(&sandbox, &config).await;
    let (text, code) = node.exec(&id, &["grep", "^0:", "/proc/self/cgroup"]).await;
    assert_eq!((text.as_str(), code), ("0::/\n", 0));
    assert!(node.runtime.container_stats(&id).await.unwrap().cpu_usage_nanos > 0);
    node.runtime.stop_container(&id, 0).await.unwrap();
    assert_eq!(node.runtime.container(&id).await.unwrap().state, ContainerState::Exited);
    node.finish().await;
}
