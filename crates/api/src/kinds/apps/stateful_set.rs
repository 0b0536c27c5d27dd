use crate::kinds::prelude::*;
use crate::kinds::prepare::{list_mut, set};
use crate::table::{Now, age, cells, columns, containers};

pub struct StatefulSet;

facts!(
    namespaced("apps", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .categories(&["all"])
        .scale()
        .status()
        .generation()
);

impl Kind for StatefulSet {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn pod_template(&self) -> Option<&'static str> {
        Some("spec.template")
    }

    /// A conversion gives each claim its kind.
    fn set_defaults(&self, version: &str, obj: &mut Value) {
        if let Some(schema) = self.schema(version) {
            crate::defaults::apply(&schema, obj);
        }
        for claim in list_mut(obj, "spec.volumeClaimTemplates").iter_mut().filter(|claim| claim.is_object()) {
            set(claim, "apiVersion", "v1");
            set(claim, "kind", "PersistentVolumeClaim");
        }
    }

    validation! {
        create: sets::stateful_set,
        update: sets::stateful_set_update,
        "status": sets::stateful_set_status,
        warn: sets::stateful_set_warnings,
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Ready, Age, Containers*, Images*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let [names, images] = containers(obj.list("spec.template.spec.containers"));
        let ready = format!("{}/{}", obj.int("status.readyReplicas"), obj.int("spec.replicas"));
        cells![meta::name(obj), ready, age(obj, now), names, images]
    }
}
