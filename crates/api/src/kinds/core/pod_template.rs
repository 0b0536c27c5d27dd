use crate::equality::same_field;
use crate::kinds::prelude::*;

pub struct PodTemplate;

facts!(namespaced("", "PodTemplate", "podtemplates").generation());

impl Kind for PodTemplate {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        !same_field(obj, old, "template")
    }
}
