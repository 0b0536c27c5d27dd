//! What goes wrong around containers: shims that are killed, programs that are replaced, disks that are full.

#![cfg(test)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Node, patiently, read_log};
use orlop_runtime::{ContainerRuntime, ContainerState, Runtime};

fn shim_of(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

fn run(args: &[&str]) {
    assert!(Command::new(args[0]).args(&args[1..]).status().unwrap().success(), "{args:?}");
}

/// Dead; when it is buried is up to whoever inherited it.
fn is_dead(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[tokio::test]
async fn a_shim_that_died_while_nobody_looked() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let id = node.start_in(&sandbox, &node.script("sleep 1000 & sleep 1000")).await;
    let pid = node.runtime.container(&id).await.unwrap().pid.unwrap();
    let shim = shim_of(pid);
    let node = node
        .without_runtime(|| {
            run(&["kill", "-9", &shim.to_string()]);
            while !is_dead(shim) {
                std::thread::yield_now();
            }
        })
        .await;
    assert!(!node.runtime.sandboxes().await.unwrap()[0].ready, "its pod is gone, to be made anew");
    let container = node.runtime.container(&id).await.unwrap();
    // Nobody saw it end (containerd's code and reason for that).
    assert_eq!(
        (container.state, container.exit_code, container.reason.as_str()),
        (ContainerState::Exited, 255, "Unknown")
    );
    assert!(is_dead(pid), "nothing of it runs on");
    assert!(node.runtime.create_container(&sandbox, &node.script("true")).await.is_err());
    node.runtime.remove_sandbox(&sandbox).await.unwrap();
    let again = node.sandbox().await;
    assert_eq!(node.run_in(&again, &node.script("echo anew")).await.text(), "anew\n");
    node.finish().await;
}

/// The file that a process was started from; a replaced one is shown as deleted.
fn program_of(pid: i32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

#[tokio::test]
async fn an_upgrade_disturbs_no_pod_and_new_ones_are_of_the_new_program() {
    let mut node = Node::new().await;
    let program = node.dir.path().join("orlop");
    let newer = node.dir.path().join("newer");
    for copy in [&program, &newer] {
        // Not written here: see `write_program`.
        run(&["cp", node.options.shim.program.to_str().unwrap(), copy.to_str().unwrap()]);
    }
    node.options.shim.program.clone_from(&program);
    node.runtime = Runtime::open(node.options.clone()).await.unwrap();
    let (old, config) = (node.sandbox().await, node.script("until [ -e /dev/shm/go ]; do sleep 0.01; done; exit 5"));
    let id = node.start_in(&old, &config).await;
    let pid = node.runtime.container(&id).await.unwrap().pid.unwrap();
    // As package managers and `cp --remove-destination` do it: a new file under the old name.
    let node = node.without_runtime(|| fs::rename(&newer, &program).unwrap()).await;
    assert_eq!(node.runtime.container(&id).await.unwrap().pid, Some(pid));
    assert!(program_of(shim_of(pid)).to_str().unwrap().ends_with(" (deleted)"));
    assert_eq!(node.run_in(&old, &node.script("echo in the old pod")).await.text(), "in the old pod\n");
    let (text, code) = node.exec(&id, &["echo", "told"]).await;
    assert_eq!((text.as_str(), code), ("told\n", 0));
    // It may be killed with the container that it ends.
    node.exec(&id, &["touch", "/dev/shm/go"]).await;
    assert_eq!(node.wait_exit(&id).await.exit_code, 5);
    let new = node.sandbox().await;
    let id = node.start_in(&new, &node.script("sleep 1000")).await;
    let pid = node.runtime.container(&id).await.unwrap().pid.unwrap();
    assert_eq!(program_of(shim_of(pid)), program);
    node.finish().await;
}

#[tokio::test]
async fn a_full_disk_stops_no_container() {
    let node = Node::new().await;
    let logs = node.dir.path().join("full");
    fs::create_dir(&logs).unwrap();
    let text = logs.to_str().unwrap().to_owned();
    run(&["mount", "-t", "tmpfs", "-o", "size=64k", "none", &text]);
    let sandbox = node.sandbox().await;
    let mut config = node.script(
        "seq 1 20000; touch /dev/shm/full; until [ -e /dev/shm/room ]; do sleep 0.01; done; echo after; exit 3",
    );
    config.log_path = logs.join("0.log");
    let id = node.start_in(&sandbox, &config).await;
    let shm = node.options.run_dir.join("sandboxes").join(&sandbox).join("shm");
    patiently(async {
        while !shm.join("full").exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Rotation makes room.
    let kept = read_log(&config.log_path);
    fs::remove_file(&config.log_path).unwrap();
    node.runtime.reopen_log(&id).await.unwrap();
    fs::write(shm.join("room"), "").unwrap();
    assert_eq!(node.wait_exit(&id).await.exit_code, 3);
    let numbers: Vec<u32> = kept.iter().map(|line| line.text.parse().expect("no half of a record")).collect();
    assert!(numbers.len() > 100 && numbers.is_sorted(), "{} records", numbers.len());
    assert_eq!(read_log(&config.log_path).last().unwrap().text, "after");
    // The shim may not have let go yet.
    run(&["umount", "-l", &text]);
    node.finish().await;
}
