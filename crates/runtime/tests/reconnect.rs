//! Losing the connection to a shim is not losing the shim. In a process of its own, as it cuts every connection.

#![cfg(test)]

mod support;

use std::fs;
use std::os::fd::BorrowedFd;

use orlop_runtime::{ContainerRuntime, ContainerState};
use support::{Node, patiently};

#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let node = Node::new().await;
    let sandbox = node.sandbox().await;
    let id = node.start_in(&sandbox, &node.script("sleep 1000")).await;
    let short = node.start_in(&sandbox, &node.script("until [ -e /dev/shm/go ]; do usleep 1000; done; exit 4")).await;
    let shm = node.options.run_dir.join("sandboxes").join(&sandbox).join("shm");
    cut_connections();
    fs::write(shm.join("go"), "").unwrap();
    assert_eq!(node.wait_exit(&short).await.exit_code, 4, "an exit that nobody was connected to hear");
    patiently(async {
        let config = orlop_runtime::ExecConfig { args: vec!["true".into()], ..Default::default() };
        while node.runtime.exec(&id, &config).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(node.runtime.container(&id).await.unwrap().state, ContainerState::Running);
    assert!(node.runtime.sandboxes().await.unwrap()[0].ready);
    node.runtime.stop_container(&id, 0).await.unwrap();
    node.finish().await;
}

fn cut_connections() {
    let fds: Vec<i32> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    for fd in fds {
        // SAFETY: used for this one call; a number that is no longer open is an error, no more.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        if rustix::net::sockopt::socket_type(fd) == Ok(rustix::net::SocketType::SEQPACKET) {
            rustix::net::shutdown(fd, rustix::net::Shutdown::Both).unwrap();
        }
    }
}
