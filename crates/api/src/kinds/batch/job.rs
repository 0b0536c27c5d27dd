use crate::kinds::prelude::*;

pub struct Job;

facts!(namespaced("batch", "Job", "jobs").categories(&["all"]).status());

impl Kind for Job {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
