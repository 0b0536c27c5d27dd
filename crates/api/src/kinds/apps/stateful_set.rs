use crate::kinds::prelude::*;

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
}
