use crate::kinds::prelude::*;

pub struct LimitRange;

facts!(namespaced("", "LimitRange", "limitranges").short(&["limits"]));

impl Kind for LimitRange {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn prepare_create(&self, obj: &mut Value) {
        if crate::meta::name(obj).is_empty() {
            crate::meta::set(obj, "name", orlop_base::id::uuid());
        }
    }
}
