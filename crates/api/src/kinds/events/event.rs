use crate::kinds::prelude::*;

pub struct Event;

facts!(namespaced("events.k8s.io", "Event", "events").short(&["ev"]).stored_as("events", "/v1"));

impl Kind for Event {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
