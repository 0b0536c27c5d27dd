use crate::kinds::prelude::*;

pub struct Deployment;

facts!(namespaced("apps", "Deployment", "deployments").short(&["deploy"]).categories(&["all"]).scale().status());

impl Kind for Deployment {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
