use crate::kinds::prelude::*;

pub struct ConfigMap;

facts!(namespaced("", "ConfigMap", "configmaps").short(&["cm"]));

impl Kind for ConfigMap {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
