use crate::kinds::prelude::*;

pub struct Binding;

facts!(namespaced("", "Binding", "bindings").verbs(&["create"]));

impl Kind for Binding {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
