use crate::kinds::prelude::*;

pub struct LimitRange;

facts!(namespaced("", "LimitRange", "limitranges").short(&["limits"]));

impl Kind for LimitRange {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
