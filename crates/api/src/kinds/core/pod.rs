use std::borrow::Cow;

use crate::kinds::pod::{affinity, app_armor, gated, row, status};
use crate::kinds::prelude::*;
use crate::kinds::prepare::{remove, set};
use crate::table::{Now, columns};

pub struct Pod;

facts!(
    namespaced("", "Pod", "pods")
        .short(&["po"])
        .categories(&["all"])
        .generation()
        .subresource("attach", "PodAttachOptions", &["create", "get"])
        .subresource("binding", "Binding", &["create"])
        .subresource("ephemeralcontainers", "Pod", &["get", "patch", "update"])
        .subresource_of("eviction", ("policy", "v1", "Eviction"), &["create"])
        .subresource("exec", "PodExecOptions", &["create", "get"])
        .subresource("log", "Pod", &["get"])
        .subresource("portforward", "PodPortForwardOptions", &["create", "get"])
        .subresource("proxy", "PodProxyOptions", &["create", "delete", "get", "patch", "update"])
        .subresource("resize", "Pod", &["get", "patch", "update"])
        .status()
);

impl Kind for Pod {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: pod::pod,
        update: pod::update,
        "status": pod_status::status,
        "ephemeralcontainers": pod::ephemeral_containers,
        "resize": pod::resize,
        warn: pod_warnings::of_pod,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"]),
            // Upstream wrote filters for `resize` and `ephemeralcontainers`, but its storage of them offers none.
            _ => ResetFields::NONE,
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        gated::drop_unless_used(obj, &Value::Null);
        crate::defaults::set_pod_level_resources(obj);
        affinity::select_by_own_labels(obj);
        app_armor::sync(obj);
        let status = status::of_new_pod(obj);
        set(obj, "status", status);
    }

    fn warnings_as_sent(&self, obj: &Value) -> Vec<String> {
        app_armor::warnings(obj)
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        gated::drop_unless_used(obj, old);
        // It was told from none by who creates pods alone.
        if obj.map("spec.overhead").is_empty() {
            remove(obj, "spec.overhead");
        }
        keep_pod_resources(obj, old);
    }

    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        match subresource {
            "status" => status::prepare_update(obj, old),
            "ephemeralcontainers" => take_only(obj, old, |sent, spec| {
                match sent.get("ephemeralContainers") {
                    Some(containers) => spec.insert("ephemeralContainers".into(), containers.clone()),
                    None => spec.remove("ephemeralContainers"),
                };
            }),
            "resize" if same_containers(obj, old) => {
                take_only(obj, old, take_resources);
                keep_pod_resources(obj, old);
            }
            _ => {}
        }
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels![
            "spec.nodeName",
            "spec.host" => "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork" => flag,
            "status.phase",
            "status.podIP" => (|pod| Cow::Borrowed(pod.list("status.podIPs").first().map_or("", |ip| ip.text("ip")))),
            // Known to selectors, yet no pod has a value for it.
            "status.podIPs" => (|_| Cow::Borrowed("")),
            "status.nominatedNodeName",
        ]
    }

    fn deletion(&self) -> Deletion {
        Deletion::Graceful
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Ready, Status, Restarts, Age, IP*, Node*, Nominated Node*, Readiness Gates*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        row::cells(obj, now)
    }
}

/// Pod-level resources stay when an update leaves them out (KEP 2837).
fn keep_pod_resources(obj: &mut Value, old: &Value) {
    if !obj.has("spec.resources") && old.has("spec.resources") {
        crate::kind::keep_old_at(obj, old, "spec.resources");
    }
}

/// The old pod, but for what `take` moves from the sent spec into its spec.
fn take_only(obj: &mut Value, old: &Value, take: fn(&Map<String, Value>, &mut Map<String, Value>)) {
    let sent = obj.map("spec").clone();
    crate::kind::keep_metadata(obj, old);
    for path in ["spec", "status"] {
        crate::kind::keep_old_at(obj, old, path);
    }
    take(&sent, crate::meta::child_mut(obj, "spec"));
}

/// A resize names the same containers in the same order; else validation says what is wrong.
fn same_containers(obj: &Value, old: &Value) -> bool {
    ["spec.containers", "spec.initContainers"].iter().all(|path| {
        let (sent, kept) = (obj.list(path), old.list(path));
        sent.len() == kept.len() && sent.iter().zip(kept).all(|(a, b)| a["name"] == b["name"])
    })
}

fn take_resources(sent: &Map<String, Value>, spec: &mut Map<String, Value>) {
    take_field(sent, spec, "resources");
    for field in ["containers", "initContainers"] {
        let sent = sent.get(field).and_then(Value::as_array).into_iter().flatten();
        let kept = spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for (sent, kept) in sent.zip(kept) {
            if let (Value::Object(sent), Value::Object(kept)) = (sent, kept) {
                take_field(sent, kept, "resources");
                take_field(sent, kept, "resizePolicy");
            }
        }
    }
}

fn take_field(from: &Map<String, Value>, to: &mut Map<String, Value>, field: &str) {
    match from.get(field) {
        Some(value) => to.insert(field.to_owned(), value.clone()),
        None => to.remove(field),
    };
}
