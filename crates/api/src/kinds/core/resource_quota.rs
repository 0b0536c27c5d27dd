use crate::kinds::prelude::*;

pub struct ResourceQuota;

facts!(namespaced("", "ResourceQuota", "resourcequotas").short(&["quota"]).status());

impl Kind for ResourceQuota {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
