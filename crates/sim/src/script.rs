//! What users do in a run: a list of deeds and their times, drawn from the seed beforehand.

use std::time::Duration;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{DaemonSet, Deployment, Job, Namespace, Pod, Service, StatefulSet};
use orlop_client::{Client, DeleteOptions, Error, ListOptions, Object, Patch, Propagation};
use serde_json::{Value, json};

/// One thing a user wants. Whether it can be done is another matter: most of the names are made up.
#[derive(Clone, Debug)]
pub enum Deed {
    MakeNamespace { namespace: String },
    DropNamespace { namespace: String },
    Deploy { namespace: String, name: String, spec: Value },
    Expose { namespace: String, name: String, spec: Value },
    Scale { namespace: String, name: String, replicas: u32 },
    Roll { namespace: String, name: String, image: String },
    Pause { namespace: String, name: String, paused: bool },
    Undeploy { namespace: String, name: String, propagation: Option<Propagation> },
    Unexpose { namespace: String, name: String },
    KillPods { namespace: String, share: u32 },
    Keep { namespace: String, name: String, spec: Value },
    Spread { namespace: String, name: String, spec: Value },
    Compute { namespace: String, name: String, spec: Value },
    Resize { namespace: String, name: String, replicas: u32 },
    RollSets { namespace: String, name: String, image: String },
}

/// Deeds in order of time.
pub fn draw(rng: &mut fastrand::Rng, length: Duration) -> Vec<(Duration, Deed)> {
    let namespaces = ["team-a", "team-b"];
    let names: Vec<String> = (0..rng.usize(2..=4)).map(|n| format!("app-{n}")).collect();
    let mut deeds = vec![];
    for namespace in namespaces {
        deeds.push((Duration::from_millis(rng.u64(..1500)), Deed::MakeNamespace { namespace: namespace.into() }));
    }
    for (n, name) in names.iter().enumerate() {
        let namespace = namespaces[n % 2].to_owned();
        let at = Duration::from_millis(rng.u64(1500..15_000));
        deeds
            .push((at, Deed::Deploy { namespace: namespace.clone(), name: name.clone(), spec: deployment(rng, name) }));
        let at = Duration::from_millis(rng.u64(1500..15_000));
        deeds.push((at, Deed::Expose { namespace, name: name.clone(), spec: service(rng, name) }));
    }
    for (n, namespace) in namespaces.iter().enumerate() {
        deeds.extend(sets(rng, namespace, n));
    }
    for n in 0..rng.usize(8..20) {
        let at = length.mul_f64(0.1 + 0.9 * rng.f64());
        let which = rng.usize(..names.len());
        deeds.push((at, later(rng, n, namespaces[which % 2], &names[which])));
    }
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}

fn later(rng: &mut fastrand::Rng, n: usize, namespace: &str, name: &str) -> Deed {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    match rng.u32(..100) {
        0..15 => Deed::Scale { namespace, name, replicas: rng.u32(..6) },
        15..20 => Deed::Resize { namespace, name: "set".to_owned(), replicas: rng.u32(..5) },
        20..25 => Deed::RollSets { namespace, name: "set".to_owned(), image: format!("set:{n}") },
        25..55 => Deed::Roll { namespace, name, image: format!("app:{n}") },
        55..65 => Deed::Pause { namespace, name, paused: rng.bool() },
        65..80 => Deed::KillPods { namespace, share: rng.u32(20..100) },
        80..84 => {
            let propagation =
                [None, Some(Propagation::Foreground), Some(Propagation::Background), Some(Propagation::Orphan)];
            Deed::Undeploy { namespace, name, propagation: propagation[rng.usize(..4)] }
        }
        84..88 => Deed::Deploy { namespace, spec: deployment(rng, &name), name },
        88..91 => Deed::Unexpose { namespace, name },
        91..94 => Deed::Expose { namespace, spec: service(rng, &name), name },
        94..97 => Deed::DropNamespace { namespace },
        _ => Deed::MakeNamespace { namespace },
    }
}

fn deployment(rng: &mut fastrand::Rng, name: &str) -> Value {
    let amount = |rng: &mut fastrand::Rng, least: u32| match rng.u32(..3) {
        0 => json!("25%"),
        1 => json!("50%"),
        _ => json!(rng.u32(least..3)),
    };
    let strategy = if rng.u32(..5) == 0 {
        json!({"type": "Recreate"})
    } else {
        let surge = amount(rng, 1);
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": amount(rng, 0)}})
    };
    let tolerated_seconds = rng.u32(5..40);
    let tolerations: Vec<Value> = ["not-ready", "unreachable"]
        .iter()
        .map(|taint| {
            json!({"key": format!("node.kubernetes.io/{taint}"), "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": tolerated_seconds})
        })
        .collect();
    json!({
        "replicas": rng.u32(1..6),
        "selector": {"matchLabels": {"app": name}},
        "strategy": strategy,
        "minReadySeconds": if rng.bool() { 0 } else { rng.u32(1..8) },
        "revisionHistoryLimit": rng.u32(..4),
        "progressDeadlineSeconds": 60,
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {
                "terminationGracePeriodSeconds": rng.u32(..10),
                "tolerations": tolerations,
                "containers": [{"name": "app", "image": "app:first", "ports": [{"containerPort": 8080}],
                    "resources": {"requests": {"cpu": format!("{}m", rng.u32(1..5) * 50), "memory": "32Mi"}}}],
            },
        },
    })
}

/// What is neither a Deployment nor a Service: in one seed of three each.
fn sets(rng: &mut fastrand::Rng, namespace: &str, n: usize) -> Vec<(Duration, Deed)> {
    let mut deeds = Vec::new();
    let at = |rng: &mut fastrand::Rng| Duration::from_millis(rng.u64(1500..20_000));
    let template = |name: &str| {
        json!({"metadata": {"labels": {"set": name}}, "spec": {
            "terminationGracePeriodSeconds": 3,
            "containers": [{"name": "app", "image": "set:first", "resources": {"requests": {"cpu": "20m"}}}],
        }})
    };
    if rng.u32(..3) == 0 {
        let policy = ["OrderedReady", "Parallel"][rng.usize(..2)];
        let spec = json!({"replicas": rng.u32(1..4), "serviceName": "set", "podManagementPolicy": policy,
            "minReadySeconds": rng.u32(..3), "selector": {"matchLabels": {"set": "set"}}, "template": template("set")});
        deeds.push((at(rng), Deed::Keep { namespace: namespace.to_owned(), name: "set".to_owned(), spec }));
    }
    if rng.u32(..3) == 0 {
        let surge = rng.u32(..2);
        let strategy =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 1 - surge}});
        let spec = json!({"updateStrategy": strategy, "selector": {"matchLabels": {"set": "agent"}},
            "template": template("agent")});
        deeds.push((at(rng), Deed::Spread { namespace: namespace.to_owned(), name: "set".to_owned(), spec }));
    }
    if rng.u32(..3) == 0 {
        let mut template = template("job");
        template["spec"]["restartPolicy"] = "Never".into();
        let mode = ["Indexed", "NonIndexed"][rng.usize(..2)];
        let spec = json!({"completionMode": mode, "completions": rng.u32(1..6), "parallelism": rng.u32(1..4),
            "backoffLimit": rng.u32(..4), "template": template});
        deeds.push((at(rng), Deed::Compute { namespace: namespace.to_owned(), name: format!("job-{n}"), spec }));
    }
    deeds
}

fn service(rng: &mut fastrand::Rng, name: &str) -> Value {
    let mut spec = json!({"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]});
    match rng.u32(..4) {
        0 => spec["clusterIP"] = "None".into(),
        1 => spec["type"] = "NodePort".into(),
        _ => {}
    }
    spec
}

impl Deed {
    /// Tries once, as a user would; an error is the user's to bear.
    pub async fn attempt(self, client: Client, rng: &mut fastrand::Rng) -> Result<(), Error> {
        match self {
            Self::MakeNamespace { namespace } => {
                client.all::<Namespace>().create(&object(json!({"metadata": {"name": namespace}}))).await.map(drop)
            }
            Self::DropNamespace { namespace } => {
                client.all::<Namespace>().delete(&namespace, &DeleteOptions::default()).await.map(drop)
            }
            Self::Deploy { namespace, name, spec } => {
                let deployment = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
                client.api::<Deployment>(&namespace).create(&object(deployment)).await.map(drop)
            }
            Self::Expose { namespace, name, spec } => {
                let service = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
                client.api::<Service>(&namespace).create(&object(service)).await.map(drop)
            }
            Self::Keep { namespace, name, spec } => create::<StatefulSet>(&client, &namespace, &name, spec).await,
            Self::Spread { namespace, name, spec } => create::<DaemonSet>(&client, &namespace, &name, spec).await,
            Self::Compute { namespace, name, spec } => create::<Job>(&client, &namespace, &name, spec).await,
            Self::Resize { namespace, name, replicas } => {
                let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
                client.api::<StatefulSet>(&namespace).patch(&name, &patch).await.map(drop)
            }
            Self::RollSets { namespace, name, image } => {
                let template = json!({"metadata": {"annotations": {"rolled-to": image}}});
                let patch = Patch::Merge(json!({"spec": {"template": template}}));
                let rolled = client.api::<StatefulSet>(&namespace).patch(&name, &patch).await.map(drop);
                client.api::<DaemonSet>(&namespace).patch(&name, &patch).await.map(drop).and(rolled)
            }
            Self::Scale { namespace, name, replicas } => {
                merge(&client, &namespace, &name, json!({"spec": {"replicas": replicas}})).await
            }
            Self::Roll { namespace, name, image } => {
                let template = json!({"metadata": {"annotations": {"rolled-to": image}}});
                merge(&client, &namespace, &name, json!({"spec": {"template": template}})).await
            }
            Self::Pause { namespace, name, paused } => {
                merge(&client, &namespace, &name, json!({"spec": {"paused": paused}})).await
            }
            Self::Undeploy { namespace, name, propagation } => {
                let options = DeleteOptions { propagation, ..DeleteOptions::default() };
                client.api::<Deployment>(&namespace).delete(&name, &options).await.map(drop)
            }
            Self::Unexpose { namespace, name } => {
                client.api::<Service>(&namespace).delete(&name, &DeleteOptions::default()).await.map(drop)
            }
            Self::KillPods { namespace, share } => {
                let pods = client.api::<Pod>(&namespace);
                for pod in pods.list(&ListOptions::default()).await?.items {
                    if rng.u32(..100) < share {
                        pods.delete(Object::name(&pod), &DeleteOptions::default()).await?;
                    }
                }
                Ok(())
            }
        }
    }
}

async fn create<K: Typed>(client: &Client, namespace: &str, name: &str, spec: Value) -> Result<(), Error> {
    let object = object(json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec}));
    client.api::<K>(namespace).create(&object).await.map(drop)
}

async fn merge(client: &Client, namespace: &str, name: &str, patch: Value) -> Result<(), Error> {
    client.api::<Deployment>(namespace).patch(name, &Patch::Merge(patch)).await.map(drop)
}

fn object<K: Object>(value: Value) -> K {
    K::decode(value.to_string().as_bytes()).expect("the object is written down right here")
}
