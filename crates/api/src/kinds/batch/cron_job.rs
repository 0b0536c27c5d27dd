use crate::kinds::prelude::*;

pub struct CronJob;

facts!(namespaced("batch", "CronJob", "cronjobs").short(&["cj"]).categories(&["all"]).status().generation());

impl Kind for CronJob {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
