use crate::kinds::prelude::*;

pub struct Event;

facts!(namespaced("", "Event", "events").short(&["ev"]));

impl Kind for Event {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
