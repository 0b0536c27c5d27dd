use crate::kinds::prelude::*;

pub struct Namespace;

facts!(
    cluster("", "Namespace", "namespaces")
        .short(&["ns"])
        .verbs(&["create", "delete", "get", "list", "patch", "update", "watch"])
        .subresource("finalize", "Namespace", &["update"])
        .status()
);

impl Kind for Namespace {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
