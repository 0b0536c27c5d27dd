use crate::kinds::prelude::*;

pub struct ComponentStatus;

facts!(cluster("", "ComponentStatus", "componentstatuses").short(&["cs"]).verbs(&["get", "list"]));

impl Kind for ComponentStatus {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
