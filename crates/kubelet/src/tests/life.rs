//! Pods come, run, fail, recover and go.

use serde_json::json;

use super::virtual_time;
use crate::testing::node::{TestNode, condition, container};

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_is_deleted() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    node.create(
        "web",
        json!({"containers": [{"name": "a", "image": "nginx:1", "imagePullPolicy": "IfNotPresent"}],
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30}),
    )
    .await;
    let pod = node.until_pod("web", |pod| pod["status"]["phase"] == "Running").await;
    assert_eq!(pod["status"]["podIP"], "127.0.0.1");
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
    for name in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&pod, name), "True", "{name}");
    }
    let status = container(&pod, "a");
    assert_eq!(
        (&status["ready"], &status["started"], &status["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    assert!(status["state"]["running"]["startedAt"].is_string());
    assert!(status["containerID"].as_str().unwrap().starts_with("orlop://"));
    node.until("events", async || node.events("web").len() >= 3).await;
    assert_eq!(
        node.events("web"),
        [
            "Pulled: Container image \"nginx:1\" already present on machine and can be accessed by the pod",
            "Created: Container created",
            "Started: Container started",
        ]
    );
    node.runtime.take_calls();
    node.delete("web", 30).await;
    node.until_gone("web").await;
    node.until("a clean runtime", async || node.runtime.world().sandboxes.is_empty()).await;
    let calls = node.runtime.take_calls();
    assert_eq!(calls[0], "stop a 30");
    assert!(calls[1].starts_with("stop-sandbox"));
    let cgroups: Vec<String> = node.runtime.world().cgroups.keys().cloned().collect();
    assert_eq!(cgroups, ["kubepods/besteffort", "kubepods/burstable"]);
    node.until("no directory", async || {
        std::fs::read_dir(node.dir.path().join("kubelet/pods")).unwrap().next().is_none()
    })
    .await;
    node.stop().await;
}
