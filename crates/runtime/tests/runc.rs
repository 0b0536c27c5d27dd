//! The same containers, run by runc (Debian's package `runc`).

#![cfg(test)]

mod support;

#[path = "cases/containers.rs"]
mod containers;
#[path = "cases/lifecycle.rs"]
mod lifecycle;
#[path = "cases/propagation.rs"]
mod propagation;
#[path = "cases/upheaval.rs"]
mod upheaval;

/// Half a start is not lost: an agent that comes back meanwhile waits for its outcome.
#[tokio::test]
async fn an_agent_that_dies_while_a_container_starts() {
    use orlop_runtime::{ContainerRuntime, ContainerState, Runtime};
    let mut node = support::Node::new().await;
    let (script, go, begun) = (node.dir.path().join("slow"), node.dir.path().join("go"), node.dir.path().join("begun"));
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *create*) touch {}; until [ -e {} ]; do sleep 0.01; done;; esac\nexec runc \"$@\"\n",
        begun.display(),
        go.display()
    );
    support::write_program(&script, &text);
    node.options.oci_runtime = Some(script);
    node.runtime = Runtime::open(node.options.clone()).await.unwrap();
    let sandbox = node.sandbox().await;
    let id = node.runtime.create_container(&sandbox, &node.script("sleep 1000")).await.unwrap();
    let (runtime, started) = (node.runtime.clone(), id.clone());
    let start = tokio::spawn(async move { runtime.start_container(&started).await });
    support::patiently(async {
        while !begun.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    start.abort();
    let _ = start.await;
    let node = node.without_runtime(|| std::fs::write(go, "").unwrap()).await;
    assert_eq!(node.runtime.container(&id).await.unwrap().state, ContainerState::Running);
    node.finish().await;
}
