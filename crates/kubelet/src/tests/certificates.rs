//! Volumes of certificates.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orlop_api::typed::kinds::PodCertificateRequest;
use orlop_client::{Dynamic, Resource};
use serde_json::{Value, json};

use super::virtual_time;
use crate::testing::node::{TestNode, container};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/podcertificaterequests";

fn spec(source: Value) -> Value {
    json!({"serviceAccountName": "default", "restartPolicy": "Always",
        "volumes": [{"name": "v", "projected": {"sources": [source], "defaultMode": 420}}],
        "containers": [{"name": "a", "image": "nginx:1", "imagePullPolicy": "IfNotPresent",
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]})
}

fn block(bytes: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(bytes))
}

fn file(node: &TestNode, name: &str) -> PathBuf {
    let (_, config) = node.runtime.newest("a").unwrap();
    let mount = config.mounts.iter().find(|m| m.container_path == std::path::Path::new("/v")).unwrap();
    mount.host_path.join(name)
}

#[tokio::test(start_paused = true)]
async fn a_trust_bundle_is_waited_for_and_followed() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    node.create("web", spec(json!({"clusterTrustBundle": {"name": "b", "path": "ca.pem"}}))).await;
    let missing = "FailedMount: MountVolume.SetUp failed for volume \"v\" : while getting ClusterTrustBundle: \
                   clustertrustbundle.certificates.k8s.io \"b\" not found";
    node.until("the failure", async || node.events("web").iter().any(|e| e == missing)).await;
    let bundle = |text: String| json!({"spec": {"trustBundle": text}});
    node.create_object("ClusterTrustBundle", "b", bundle(format!("noise\n{}", block(b"one")))).await;
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    let file = file(&node, "ca.pem");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), block(b"one"));
    node.update_object("ClusterTrustBundle", "b", bundle(block(b"two"))).await;
    node.until("the new text", async || std::fs::read_to_string(&file).unwrap() == block(b"two")).await;
    node.stop().await;
}

/// Answers the request that has no answer as a signer would.
async fn issue(node: &TestNode, chain: &[u8], refresh: &str, not_after: &str) {
    let mut request = node.api.objects(REQUESTS).into_iter().find(|r| r.get("status").is_none()).unwrap();
    let condition = json!({"type": "Issued", "status": "True", "reason": "Issued", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    request["status"] = json!({"conditions": [condition], "certificateChain": block(chain),
        "beginRefreshAt": refresh, "notAfter": not_after});
    let requests = node.client.dynamic(&Resource::of::<PodCertificateRequest>(), "default");
    requests.update(&Dynamic(request)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_asked_for_shown_and_renewed() {
    virtual_time();
    let mut node = TestNode::new(&["nginx:1"]);
    node.start().await;
    node.create_object("ServiceAccount", "default", json!({})).await;
    let source = json!({"podCertificate": {"signerName": "x.io/s", "keyType": "ED25519", "credentialBundlePath": "all.pem",
        "maxExpirationSeconds": 3600}});
    let pod = node.create("web", spec(source)).await;
    node.until("a request", async || node.api.objects(REQUESTS).len() == 1).await;
    let asked = node.api.objects(REQUESTS).remove(0);
    assert_eq!(asked["spec"]["podUID"], *pod.metadata.uid.as_ref().unwrap());
    assert_eq!(asked["spec"]["maxExpirationSeconds"], 3600);
    assert_eq!(asked["metadata"]["ownerReferences"][0]["kind"], "Pod");
    let at =
        |seconds: i64| jiff::Timestamp::from_second(orlop_base::clock::unix_seconds() + seconds).unwrap().to_string();
    issue(&node, b"one", &at(1800), &at(3600)).await;
    node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
    let file = file(&node, "all.pem");
    let text = || std::fs::read_to_string(&file).unwrap();
    let first = text();
    assert!(first.starts_with("-----BEGIN PRIVATE KEY-----") && first.ends_with(&block(b"one")));
    node.until("another request", async || node.api.objects(REQUESTS).len() == 2).await;
    assert_eq!(text(), first, "good until there is another");
    issue(&node, b"two", &at(1800), &at(3600)).await;
    node.until("the new certificate", async || text().ends_with(&block(b"two"))).await;
    node.stop().await;
}
