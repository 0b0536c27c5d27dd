use crate::kinds::prelude::*;

pub struct LimitRange;

facts!(namespaced("", "LimitRange", "limitranges").short(&["limits"]));

impl Kind for LimitRange {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: limit_range::limit_range,
        update: limit_range::update,
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
