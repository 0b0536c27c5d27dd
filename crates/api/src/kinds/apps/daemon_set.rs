use crate::kinds::prelude::*;

pub struct DaemonSet;

facts!(namespaced("apps", "DaemonSet", "daemonsets").short(&["ds"]).categories(&["all"]).status());

impl Kind for DaemonSet {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
