use crate::equality::same_field;
use crate::kinds::prelude::*;
use crate::table::{Now, cells, columns, containers, labels};

pub struct PodTemplate;

facts!(namespaced("", "PodTemplate", "podtemplates").generation());

impl Kind for PodTemplate {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn pod_template(&self) -> Option<&'static str> {
        Some("template")
    }

    validation! {
        create: pod_template::pod_template,
        update: pod_template::pod_template_update,
        warn: pod_template::pod_template_warnings,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        !same_field(obj, old, "template")
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Containers, Images, Pod Labels")
    }

    fn row(&self, obj: &Value, _now: Now) -> Vec<Value> {
        let [names, images] = containers(obj.list("template.spec.containers"));
        cells![meta::name(obj), names, images, labels(obj.map("template.metadata.labels"))]
    }
}
