use crate::kinds::prelude::*;

pub struct APIService;

facts!(cluster("apiregistration.k8s.io", "APIService", "apiservices").categories(&["api-extensions"]).status());

impl Kind for APIService {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
