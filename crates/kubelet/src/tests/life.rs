//! Pods come, run, fail, recover and go.

use std::time::Duration;

use http::Method;
use orlop_api::status::StatusError;
use orlop_base::port::ReservedPort;
use orlop_client::DeleteOptions;
use orlop_client::testing::Fault;
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
    assert_eq!(cgroups, ["kubepods", "kubepods/besteffort", "kubepods/burstable"]);
    node.until("no directory", async || {
        std::fs::read_dir(node.dir.path().join("kubelet/pods")).unwrap().next().is_none()
    })
    .await;
    node.stop().await;
}

fn one(extra: serde_json::Value) -> serde_json::Value {
    let mut spec = json!({"containers": [{"name": "a", "image": "nginx:1", "imagePullPolicy": "IfNotPresent"}],
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30});
    for (key, value) in extra.as_object().unwrap() {
        if key == "container" {
            for (key, value) in value.as_object().unwrap() {
                spec["containers"][0][key] = value.clone();
            }
        } else {
            spec[key] = value.clone();
        }
    }
    spec
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_backs_off() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    node.create("web", one(json!({}))).await;
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    node.runtime.exit("a", 1);
    node.until_pod("web", |pod| container(pod, "a")["restartCount"] == 1 && container(pod, "a")["ready"] == true).await;
    let again = orlop_base::clock::unix_seconds();
    node.runtime.exit("a", 3);
    let pod =
        node.until_pod("web", |pod| container(pod, "a")["state"]["waiting"]["reason"] == "CrashLoopBackOff").await;
    let status = container(&pod, "a");
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let message = format!("back-off 10s restarting failed container=a pod=web_default({uid})");
    assert_eq!(status["state"]["waiting"]["message"], message);
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!((&pod["status"]["phase"], condition(&pod, "Ready")), (&json!("Running"), "False"));
    let pod = node.until_pod("web", |pod| container(pod, "a")["restartCount"] == 2).await;
    assert!(orlop_base::clock::unix_seconds() - again >= 10);
    assert_eq!(container(&pod, "a")["lastState"]["terminated"]["reason"], "Error");
    assert!(
        node.events("web")
            .iter()
            .any(|e| e == &format!("BackOff: Back-off restarting failed container a in pod web_default({uid})"))
    );
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_there() {
    virtual_time();
    let mut node = TestNode::new(&[]);
    node.start().await;
    node.create("web", one(json!({}))).await;
    let waiting = |reason: &'static str| {
        move |pod: &serde_json::Value| container(pod, "a")["state"]["waiting"]["reason"] == reason
    };
    let pod = node.until_pod("web", waiting("ErrImagePull")).await;
    assert_eq!(container(&pod, "a")["state"]["waiting"]["message"], "nginx:1: not found");
    let pod = node.until_pod("web", waiting("ImagePullBackOff")).await;
    let message = "Back-off pulling image \"nginx:1\": ErrImagePull: nginx:1: not found";
    assert_eq!(container(&pod, "a")["state"]["waiting"]["message"], message);
    node.until("events", async || node.events("web").len() >= 5).await;
    assert_eq!(
        node.events("web")[..5],
        [
            "Pulling: Pulling image \"nginx:1\"",
            "Failed: Failed to pull image \"nginx:1\": nginx:1: not found",
            "Failed: Error: ErrImagePull",
            "BackOff: Back-off pulling image \"nginx:1\"",
            "Failed: Error: ImagePullBackOff",
        ]
    );
    node.images.remote.lock().unwrap().insert("nginx:1".into());
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_config_map_is_waited_for() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let env = json!([{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]);
    node.create("web", one(json!({"container": {"env": env}}))).await;
    let pod = node
        .until_pod("web", |pod| container(pod, "a")["state"]["waiting"]["reason"] == "CreateContainerConfigError")
        .await;
    assert_eq!(container(&pod, "a")["state"]["waiting"]["message"], "configmap \"m\" not found");
    node.create_object("ConfigMap", "m", json!({"data": {"k": "v"}})).await;
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    let (_, config) = node.runtime.newest("a").unwrap();
    assert!(config.env.contains(&("X".to_owned(), "v".to_owned())));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn init_containers_come_first_and_sidecars_leave_last() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let init = json!([
        {"name": "i", "image": "nginx:1", "imagePullPolicy": "IfNotPresent"},
        {"name": "s", "image": "nginx:1", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always"},
    ]);
    node.create("web", one(json!({"initContainers": init}))).await;
    let pod = node.until_pod("web", |pod| container(pod, "i")["state"]["running"].is_object()).await;
    assert_eq!(container(&pod, "a")["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!((&pod["status"]["phase"], condition(&pod, "Initialized")), (&json!("Pending"), "False"));
    node.runtime.exit("i", 0);
    let pod = node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    assert_eq!(container(&pod, "i")["state"]["terminated"]["reason"], "Completed");
    assert_eq!((&container(&pod, "i")["ready"], &container(&pod, "s")["started"]), (&json!(true), &json!(true)));
    assert_eq!(condition(&pod, "Initialized"), "True");
    node.runtime.take_calls();
    node.delete("web", 30).await;
    node.until_gone("web").await;
    let calls = node.runtime.take_calls();
    let stops: Vec<&String> = calls.iter().filter(|c| c.starts_with("stop ")).collect();
    assert_eq!(stops, ["stop a 30", "stop s 30"]);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_done_is_done() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    for (name, code, phase) in [("good", 0, "Succeeded"), ("bad", 2, "Failed")] {
        node.create(name, one(json!({"restartPolicy": "Never"}))).await;
        node.until_pod(name, |pod| container(pod, "a")["ready"] == true).await;
        node.runtime.exit("a", code);
        let pod = node.until_pod(name, |pod| pod["status"]["phase"] == phase).await;
        assert_eq!(container(&pod, "a")["state"]["terminated"]["exitCode"], code);
        assert_eq!(condition(&pod, "Ready"), "False");
        assert_eq!(pod["status"]["podIP"], "127.0.0.1", "the last word keeps the address");
        assert_eq!(node.runtime.newest("a").unwrap().0.attempt, 0);
    }
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_that_a_pod_has_failed_ends_it() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    node.create("web", one(json!({}))).await;
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    let failed = orlop_client::Patch::Merge(json!({"status": {"phase": "Failed"}}));
    node.client.api::<crate::corev1::Pod>("default").patch_status("web", &failed).await.unwrap();
    let pod = node.until_pod("web", |pod| container(pod, "a")["state"]["terminated"].is_object()).await;
    assert_eq!(pod["status"]["phase"], "Failed");
    assert_eq!(node.runtime.newest("a").unwrap().0.attempt, 0, "nothing starts it again");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_agent_disturbs_nothing() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let probe = json!({"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1000});
    node.create("web", one(json!({"container": {"livenessProbe": probe}}))).await;
    node.create("gone", one(json!({}))).await;
    let before = node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    node.until_pod("gone", |pod| container(pod, "a")["ready"] == true).await;
    node.stop().await;
    // While nobody looks, one pod vanishes from the API.
    node.client.api::<crate::corev1::Pod>("default").delete("gone", &DeleteOptions::default()).await.unwrap();
    node.runtime.take_calls();
    node.start().await;
    node.until("the orphan to go", async || node.runtime.world().sandboxes.len() == 1).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let after = node.pod("web").await.unwrap();
    assert_eq!(container(&after, "a"), container(&before, "a"));
    assert_eq!(after["status"], before["status"]);
    let calls = node.runtime.take_calls();
    assert!(!calls.iter().any(|c| c.starts_with("start ")), "{calls:?}");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn liveness_failures_restart() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    // Nothing listens on the discard port.
    let probe = json!({"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 1});
    node.create("web", one(json!({"container": {"livenessProbe": probe}}))).await;
    let pod = node.until_pod("web", |pod| container(pod, "a")["restartCount"] == 1).await;
    assert_eq!(container(&pod, "a")["lastState"]["terminated"]["exitCode"], 0);
    node.until("events", async || node.events("web").iter().any(|e| e.starts_with("Killing"))).await;
    let events = node.events("web");
    let unhealthy = "Unhealthy: Liveness probe failed: dial tcp 127.0.0.1:9: connect: connection refused";
    assert!(events.iter().any(|e| e == unhealthy), "{events:?}");
    assert!(events.iter().any(|e| e == "Killing: Container a failed liveness probe, will be restarted"), "{events:?}");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_its_probe() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let reserved = ReservedPort::new().unwrap();
    let listener = tokio::net::TcpListener::bind(reserved.address).await.unwrap();
    let port = reserved.address.port();
    let probe = json!({"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 1});
    node.create("web", one(json!({"container": {"readinessProbe": probe}}))).await;
    node.until_pod("web", |pod| condition(pod, "Ready") == "True").await;
    drop(listener);
    let pod = node.until_pod("web", |pod| condition(pod, "Ready") == "False").await;
    assert_eq!(container(&pod, "a")["started"], true);
    assert_eq!(container(&pod, "a")["restartCount"], 0);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deadlines_and_rejections_fail_pods() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    node.create("late", one(json!({"activeDeadlineSeconds": 5}))).await;
    let pod = node.until_pod("late", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    assert_eq!(pod["status"]["message"], "Pod was active on the node longer than the specified deadline");
    assert!(container(&pod, "a")["state"]["terminated"].is_object());
    node.create("big", one(json!({"container": {"resources": {"requests": {"cpu": "64"}}}}))).await;
    let pod = node.until_pod("big", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "OutOfcpu");
    let message = "Pod was rejected: Node didn't have enough resource: cpu, requested: 64000, used: 0, capacity: 4000";
    assert_eq!(pod["status"]["message"], message);
    node.delete("big", 30).await;
    node.until_gone("big").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn volumes_follow_their_objects() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let spec = one(json!({
        "volumes": [{"name": "v", "configMap": {"name": "m", "defaultMode": 420}}, {"name": "e", "emptyDir": {}}],
        "container": {"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "e", "mountPath": "/e", "subPath": "x"}]},
    }));
    node.create("web", spec).await;
    let mount_failed = "FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"m\" not found";
    node.until("the failure", async || node.events("web").iter().any(|e| e == mount_failed)).await;
    node.create_object("ConfigMap", "m", json!({"data": {"k": "one"}})).await;
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    let (_, config) = node.runtime.newest("a").unwrap();
    let mount =
        |target: &str| config.mounts.iter().find(|m| m.container_path == std::path::Path::new(target)).unwrap().clone();
    assert!(mount("/v").read_only && !mount("/e").read_only);
    assert!(mount("/e").host_path.ends_with("volume-subpaths/e/a/1"));
    for target in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        assert!(mount(target).host_path.exists(), "{target}");
    }
    let file = mount("/v").host_path.join("k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
    node.update_object("ConfigMap", "m", json!({"data": {"k": "two"}})).await;
    node.until("the new text", async || std::fs::read_to_string(&file).unwrap() == "two").await;
    node.delete("web", 1).await;
    node.until_gone("web").await;
    node.until("no mounts", async || node.mounter.mounted.lock().unwrap().is_empty()).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn static_pods_have_mirrors() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    let dir = node.dir.path().join("manifests");
    std::fs::create_dir(&dir).unwrap();
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: s}\nspec:\n  containers:\n  - {name: a, image: 'nginx:1', imagePullPolicy: IfNotPresent}\n";
    std::fs::write(dir.join("s.yaml"), manifest).unwrap();
    node.config.pod_manifest_dir = Some(dir.clone());
    node.start().await;
    let pod = node.until_pod("s-n1", |pod| pod["status"]["phase"] == "Running").await;
    assert!(pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string());
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "Node");
    std::fs::remove_file(dir.join("s.yaml")).unwrap();
    node.until_gone("s-n1").await;
    node.until("nothing left", async || node.runtime.world().sandboxes.is_empty()).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn resources_change_in_place() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let requests = |cpu: &str| json!({"container": {"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}}});
    node.create("web", one(requests("1"))).await;
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    node.set_spec("web", one(requests("2"))).await;
    let pod = node.until_pod("web", |pod| container(pod, "a")["resources"]["limits"]["cpu"] == "2").await;
    assert_eq!(container(&pod, "a")["restartCount"], 0);
    assert_eq!(container(&pod, "a")["allocatedResources"]["cpu"], "2");
    assert_eq!(node.runtime.newest("a").unwrap().1.resources.cpu_quota_us, Some(200_000));
    node.set_spec("web", one(requests("64"))).await;
    let pod = node.until_pod("web", |pod| condition(pod, "PodResizePending") == "True").await;
    assert_eq!(container(&pod, "a")["resources"]["limits"]["cpu"], "2");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deletion_does_not_wait_for_what_kept_the_pod_from_starting() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let spec = one(json!({
        "volumes": [{"name": "v", "configMap": {"name": "m"}}],
        "container": {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
    }));
    node.create("web", spec).await;
    let failures = async || node.events("web").len();
    node.until("a failure", async || failures().await > 0).await;
    // By now the pauses between tries are two minutes long.
    tokio::time::sleep(std::time::Duration::from_secs(400)).await;
    let asked = orlop_base::clock::unix_seconds();
    node.delete("web", 30).await;
    node.until_gone("web").await;
    assert!(orlop_base::clock::unix_seconds() - asked <= 1);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_the_api_has_no_more_makes_room() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let big = one(json!({"container": {"resources": {"requests": {"cpu": "3"}}}}));
    node.create("old", big.clone()).await;
    node.until_pod("old", |pod| container(pod, "a")["ready"] == true).await;
    node.runtime.world().stubborn.insert("a".into());
    let pods = node.client.api::<crate::corev1::Pod>("default");
    pods.delete("old", &DeleteOptions::default()).await.unwrap();
    node.create("new", big).await;
    node.until_pod("new", |pod| container(pod, "a")["ready"] == true).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_appears_while_a_try_fails_is_not_missed() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    let sources = json!([{"configMap": {"name": "m"}}, {"secret": {"name": "s", "optional": true}}]);
    let spec = one(json!({
        "volumes": [{"name": "v", "projected": {"sources": sources}}],
        "container": {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
    }));
    // The first look at the secret takes most of a second; meanwhile the map comes that was looked for before it.
    node.api.fail_next(Method::GET, "secrets", Fault::Refused(StatusError::unavailable("not yet")));
    node.create("web", spec).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    node.create_object("ConfigMap", "m", json!({"data": {"k": "v"}})).await;
    let failed = async || node.events("web").iter().any(|e| e.starts_with("FailedMount"));
    node.until("the failure", failed).await;
    let then = orlop_base::clock::unix_nanos();
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    let waited = orlop_base::clock::unix_nanos() - then;
    assert!(waited < 400_000_000, "{waited} {:?}", node.events("web"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_class_names_a_runtime_that_is_here() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    node.create("web", one(json!({"runtimeClassName": "fast"}))).await;
    let failed = async |why: &str| {
        let event = format!("FailedCreatePodSandBox: Failed to create pod sandbox: {why}");
        node.until("the failure", async || node.events("web").contains(&event)).await;
    };
    failed("runtimeclass.node.k8s.io \"fast\" not found").await;
    node.create_object("RuntimeClass", "fast", json!({"handler": "gvisor"})).await;
    failed("no runtime for \"gvisor\" is configured").await;
    node.update_object("RuntimeClass", "fast", json!({"handler": "runc"})).await;
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    node.stop().await;
}
