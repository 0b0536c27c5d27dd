//! The node runs short, and pods go.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::virtual_time;
use crate::node::gauges::FileSystem;
use crate::testing::node::{TestNode, condition};

fn spec(priority: i32) -> serde_json::Value {
    json!({"containers": [{"name": "a", "image": "nginx:1", "imagePullPolicy": "IfNotPresent"}],
        "priority": priority, "restartPolicy": "Always", "terminationGracePeriodSeconds": 30})
}

fn node_condition(node: &TestNode, name: &str) -> String {
    let object = node.api.objects("/api/v1/nodes").remove(0);
    condition(&object, name).to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_least_important_pod_makes_room() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    for (name, priority) in [("important", 10), ("other", 0)] {
        node.create(name, spec(priority)).await;
        node.until_pod(name, |pod| condition(pod, "Ready") == "True").await;
    }
    assert_eq!(node_condition(&node, "MemoryPressure"), "False");
    node.gauges.memory_available.store(50 << 20, Ordering::SeqCst);
    let evicted = node.until_pod("other", |pod| pod["status"]["phase"] == "Failed").await;
    node.gauges.memory_available.store(1 << 30, Ordering::SeqCst);
    let status = &evicted["status"];
    assert_eq!(status["reason"], "Evicted");
    let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ";
    assert_eq!(status["message"], message);
    assert_eq!(condition(&evicted, "DisruptionTarget"), "True");
    node.until("the stop", async || node.runtime.world().calls.contains(&"stop a 2".to_owned())).await;
    node.until("the event", async || node.events("other").contains(&format!("Evicted: {message}"))).await;
    node.until("pressure", async || node_condition(&node, "MemoryPressure") == "True").await;
    // Best-effort pods stay out until the pressure has been gone for a while.
    node.create("late", spec(0)).await;
    let late = node.until_pod("late", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(late["status"]["message"], "Pod was rejected: The node had condition: [MemoryPressure]. ");
    node.until("relief", async || node_condition(&node, "MemoryPressure") == "False").await;
    assert_eq!(condition(&node.pod("important").await.unwrap(), "Ready"), "True");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn unused_images_go_before_pods() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1", "unused:1"]);
    node.start().await;
    node.create("web", spec(0)).await;
    node.until_pod("web", |pod| condition(pod, "Ready") == "True").await;
    let disk = FileSystem { total_bytes: 1000, available_bytes: 50, used_bytes: 950, ..FileSystem::default() };
    *node.gauges.disk.lock().unwrap() = disk;
    let (images, gauges) = (node.images.clone(), node.gauges.clone());
    node.until("the image to go", async || {
        let gone = !images.here.lock().unwrap().contains_key("unused:1");
        if gone {
            gauges.disk.lock().unwrap().available_bytes = 500;
        }
        gone
    })
    .await;
    node.until("pressure", async || node_condition(&node, "DiskPressure") == "True").await;
    assert!(node.images.here.lock().unwrap().contains_key("nginx:1"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_grows_past_its_limit_costs_the_pod() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let mut limited = spec(0);
    limited["volumes"] = json!([{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]);
    limited["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    node.create("web", limited).await;
    let pod = node.until_pod("web", |pod| condition(pod, "Ready") == "True").await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let volume = node.config.dirs.root.join("pods").join(uid).join("volumes/kubernetes.io~empty-dir/v");
    std::fs::write(volume.join("big"), vec![1; 2 << 20]).unwrap();
    let pod = node.until_pod("web", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["message"], "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
    node.stop().await;
}
