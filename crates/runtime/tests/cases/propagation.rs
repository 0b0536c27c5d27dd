//! Mounts that follow the host's and are followed by it.

#![cfg(test)]

use std::fs;

use crate::support::Node;
use orlop_runtime::Mount;

#[tokio::test]
async fn propagation_both_ways() {
    let node = Node::new().await;
    let shared = node.dir.path().join("shared");
    fs::create_dir_all(shared.join("in")).unwrap();
    fs::create_dir_all(shared.join("out")).unwrap();
    let run = |args: &[&str]| assert!(std::process::Command::new(args[0]).args(&args[1..]).status().unwrap().success());
    let text = shared.to_str().unwrap().to_owned();
    run(&["mount", "-t", "tmpfs", "none", &text]);
    run(&["mount", "--make-shared", &text]);
    fs::create_dir_all(shared.join("in")).unwrap();
    fs::create_dir_all(shared.join("out")).unwrap();
    let sandbox = node.sandbox().await;
    let mut config = node.script(
        "mount -t tmpfs none /v/out && touch /v/out/from-container; until [ -e /v/in/from-host ]; do usleep 1000; done; umount /v/out; echo seen",
    );
    config.security.privileged = true;
    config.mounts = vec![Mount {
        container_path: "/v".into(),
        host_path: shared.clone(),
        propagation: "rshared".into(),
        ..Mount::default()
    }];
    let id = node.start_in(&sandbox, &config).await;
    run(&["mount", "-t", "tmpfs", "none", &format!("{text}/in")]);
    fs::write(shared.join("in/from-host"), "").unwrap();
    assert_eq!(node.wait_exit(&id).await.exit_code, 0);
    run(&["umount", &format!("{text}/in")]);
    run(&["umount", &text]);
    node.finish().await;
}
