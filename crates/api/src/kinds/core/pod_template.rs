use crate::kinds::prelude::*;

pub struct PodTemplate;

facts!(namespaced("", "PodTemplate", "podtemplates"));

impl Kind for PodTemplate {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
