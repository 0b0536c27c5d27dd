//! A whole node agent on fakes, with an API server in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{ClusterTrustBundle, RuntimeClass, ServiceAccount};
use orlop_client::testing::MemoryApi;
use orlop_client::{Api, Client, DeleteOptions, Dynamic, Resource};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::fakes::{FakeGauges, FakeImages, FakeMounter, FakeNetwork, FakeRuntime};
use crate::config::KubeletConfig;
use crate::corev1::{Node, Pod};
use crate::kubelet::Kubelet;
use crate::node::machine::Machine;

pub struct TestNode {
    pub api: MemoryApi,
    pub client: Client,
    pub runtime: Arc<FakeRuntime>,
    pub images: Arc<FakeImages>,
    pub network: Arc<FakeNetwork>,
    pub mounter: Arc<FakeMounter>,
    pub gauges: Arc<FakeGauges>,
    pub dir: TempDir,
    pub config: KubeletConfig,
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
}

/// Longer than anything here takes; virtual time passes while all wait.
const PATIENCE: Duration = Duration::from_secs(3600);

impl TestNode {
    pub fn new(images: &[&str]) -> Self {
        let dir = super::temp_dir();
        let api = MemoryApi::default();
        let mut config = KubeletConfig::new("n1", IpAddr::V4(Ipv4Addr::LOCALHOST));
        config.dirs.root = dir.path().join("kubelet");
        config.dirs.pod_logs = dir.path().join("pods");
        config.dirs.container_logs = Some(dir.path().join("containers"));
        config.server.enabled = false;
        Self {
            client: Client::new(api.clone(), "kubelet/test"),
            api,
            runtime: Arc::default(),
            images: FakeImages::with(images),
            network: Arc::default(),
            mounter: Arc::default(),
            gauges: Arc::default(),
            dir,
            config,
            stop: CancellationToken::new(),
            task: None,
        }
    }

    /// Starts the agent and waits until the node is there.
    pub async fn start(&mut self) {
        self.stop = CancellationToken::new();
        let machine = Machine { cpus: 4, memory_bytes: 8 << 30, architecture: "amd64", ..Machine::default() };
        let kubelet = Kubelet::new(
            self.config.clone(),
            self.client.clone(),
            self.runtime.clone(),
            self.images.clone(),
            self.network.clone(),
        )
        .on(machine, self.gauges.clone(), self.mounter.clone());
        self.task = Some(tokio::spawn(kubelet.run(self.stop.clone())));
        let nodes: Api<Node> = self.client.all();
        self.until("the node", async || nodes.get_opt("n1").await.unwrap().is_some()).await;
    }

    /// Stops the agent as a crash would: nothing is cleaned up.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap();
    }

    pub async fn create(&self, name: &str, spec: Value) -> Pod {
        let mut spec = spec;
        spec["nodeName"] = "n1".into();
        let object = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
        let pod = Pod::decode(object.to_string().as_bytes()).unwrap();
        self.client.api::<Pod>("default").create(&pod).await.unwrap()
    }

    /// `kubectl delete pod`.
    pub async fn delete(&self, name: &str, grace_seconds: i64) {
        let options = DeleteOptions::default().grace(grace_seconds);
        self.client.api::<Pod>("default").delete(name, &options).await.unwrap();
    }

    pub async fn create_object(&self, kind: &str, name: &str, fields: Value) {
        self.objects(kind).create(&object(kind, name, fields)).await.unwrap();
    }

    pub async fn update_object(&self, kind: &str, name: &str, fields: Value) {
        self.objects(kind).update(&object(kind, name, fields)).await.unwrap();
    }

    /// Replaces a pod's spec, as a resize does.
    pub async fn set_spec(&self, name: &str, spec: Value) {
        let mut pod = self.pod(name).await.unwrap();
        pod["spec"] = spec;
        pod["spec"]["nodeName"] = "n1".into();
        pod["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let pods = self.client.api::<Pod>("default");
        pods.update(&Pod::decode(pod.to_string().as_bytes()).unwrap()).await.unwrap();
    }

    fn objects(&self, kind: &str) -> Api<Dynamic> {
        let resource = match kind {
            "ConfigMap" => Resource::of::<crate::corev1::ConfigMap>(),
            "Secret" => Resource::of::<crate::corev1::Secret>(),
            "ServiceAccount" => Resource::of::<ServiceAccount>(),
            "ClusterTrustBundle" => Resource::of::<ClusterTrustBundle>(),
            "RuntimeClass" => Resource::of::<RuntimeClass>(),
            other => panic!("{other} is not known here"),
        };
        let namespace = if resource.namespaced { "default" } else { "" };
        self.client.dynamic(&resource, namespace)
    }

    pub async fn pod(&self, name: &str) -> Option<Value> {
        let found = self.api.objects("/api/v1/pods");
        found.into_iter().find(|pod| pod["metadata"]["name"] == name)
    }

    /// Waits until the pod's object is as wanted, and returns it.
    pub async fn until_pod(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let what = format!("pod {name}");
        self.until(&what, async || self.pod(name).await.is_some_and(|pod| wanted(&pod))).await;
        self.pod(name).await.unwrap()
    }

    pub async fn until_gone(&self, name: &str) {
        self.until("the pod to go", async || self.pod(name).await.is_none()).await;
    }

    /// Waits for a condition; with virtual time only as long as it takes.
    pub async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let pods = self.api.objects("/api/v1/pods");
            panic!("never saw {what}; pods: {pods:#?}, calls: {:?}", self.runtime.world().calls);
        }
    }

    /// Reasons and messages of all events about an object, in order.
    pub fn events(&self, name: &str) -> Vec<String> {
        let mut events = self.api.objects("/api/v1/events");
        events.sort_by_key(|e| e["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap());
        let own = events.iter().filter(|e| e["involvedObject"]["name"] == name);
        own.map(|e| format!("{}: {}", e["reason"].as_str().unwrap(), e["message"].as_str().unwrap())).collect()
    }
}

fn object(kind: &str, name: &str, fields: Value) -> Dynamic {
    let mut object = fields;
    let cluster = match kind {
        "ClusterTrustBundle" => Some(ClusterTrustBundle::API_VERSION),
        "RuntimeClass" => Some(RuntimeClass::API_VERSION),
        _ => None,
    };
    object["kind"] = kind.into();
    object["apiVersion"] = cluster.unwrap_or("v1").into();
    object["metadata"] = json!({"name": name, "namespace": if cluster.is_some() { "" } else { "default" }});
    Dynamic(object)
}

/// The status of a container by name.
pub fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let all = lists.iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    all.into_iter().find(|c| c["name"] == name).unwrap_or(&Value::Null)
}

pub fn condition<'a>(pod: &'a Value, name: &str) -> &'a str {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|c| c["type"] == name).map_or("", |c| c["status"].as_str().unwrap_or_default())
}
