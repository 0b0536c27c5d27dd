use crate::kinds::prelude::*;

pub struct ReplicaSet;

facts!(
    namespaced("apps", "ReplicaSet", "replicasets").short(&["rs"]).categories(&["all"]).scale().status().generation()
);

impl Kind for ReplicaSet {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
