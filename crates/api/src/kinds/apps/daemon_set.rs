use crate::equality::same_field;
use crate::kinds::prelude::*;
use crate::kinds::prepare::set_in;
use crate::table::{Now, age, cells, columns, containers, labels, selector_or_none};

pub struct DaemonSet;

facts!(namespaced("apps", "DaemonSet", "daemonsets").short(&["ds"]).categories(&["all"]).status().generation());

impl Kind for DaemonSet {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn pod_template(&self) -> Option<&'static str> {
        Some("spec.template")
    }

    validation! {
        create: sets::daemon_set,
        update: sets::daemon_set_update,
        "status": sets::daemon_set_status,
        warn: workloads::template_warnings,
    }

    /// Its conversion gives every object the annotation.
    fn set_defaults(&self, version: &str, obj: &mut Value) {
        if let Some(schema) = self.schema(version) {
            crate::defaults::apply(&schema, obj);
        }
        set_template_generation(obj, template_generation(obj));
    }

    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        self.reset_fields(subresource).keep_old(obj, old);
        set_template_generation(obj, template_generation(old));
    }

    fn prepare_create(&self, obj: &mut Value) {
        self.reset_fields("").drop_from(obj);
        set_template_generation(obj, template_generation(obj).max(1));
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        self.drop_disabled(obj, old);
        let changed = !same_field(&obj["spec"], &old["spec"], "template");
        set_template_generation(obj, template_generation(old) + i64::from(changed));
    }

    /// It is an annotation of `apps/v1` alone.
    fn annotations_of_version(&self) -> &'static [&'static str] {
        &[TEMPLATE_GENERATION]
    }

    fn columns(&self) -> Vec<Column> {
        columns(
            "Name, Desired:integer, Current:integer, Ready:integer, Up-to-date:integer, Available:integer, Node Selector, Age, Containers*, Images*, Selector*",
        )
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let [names, images] = containers(obj.list("spec.template.spec.containers"));
        cells![
            meta::name(obj),
            obj.int("status.desiredNumberScheduled"),
            obj.int("status.currentNumberScheduled"),
            obj.int("status.numberReady"),
            obj.int("status.updatedNumberScheduled"),
            obj.int("status.numberAvailable"),
            labels(obj.map("spec.template.spec.nodeSelector")),
            age(obj, now),
            names,
            images,
            selector_or_none(obj.at("spec.selector"))
        ]
    }
}

/// How `apps/v1` carries what was once `spec.templateGeneration`.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(obj: &Value) -> i64 {
    annotation(obj, TEMPLATE_GENERATION).parse().unwrap_or_default()
}

fn set_template_generation(obj: &mut Value, generation: i64) {
    set_in(obj, "metadata.annotations", TEMPLATE_GENERATION, generation.to_string());
}
