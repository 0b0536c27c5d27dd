use crate::kinds::prelude::*;

pub struct ResourceSlice;

facts!(cluster("resource.k8s.io", "ResourceSlice", "resourceslices").generation());

impl Kind for ResourceSlice {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn field_labels(&self) -> &'static [FieldLabel] {
        field_labels!["spec.nodeName", "spec.driver", "spec.pool.name"]
    }

    fn unknown_field_label(&self, label: &str) -> String {
        format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {label}")
    }
}
