use crate::kinds::prelude::*;

pub struct CustomResourceDefinition;

facts!(
    cluster("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions")
        .short(&["crd", "crds"])
        .categories(&["api-extensions"])
        .status()
);

impl Kind for CustomResourceDefinition {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
