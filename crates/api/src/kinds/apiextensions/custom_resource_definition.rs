use crate::kinds::prelude::*;
use crate::kinds::prepare::set;

pub struct CustomResourceDefinition;

facts!(
    cluster("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions")
        .short(&["crd", "crds"])
        .categories(&["api-extensions"])
        .status()
        .generation()
);

impl Kind for CustomResourceDefinition {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn prepare_create(&self, obj: &mut Value) {
        self.reset_fields("").drop_from(obj);
        remember_stored_version(obj);
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        remember_stored_version(obj);
    }
}

/// `status.storedVersions` names every version objects may stand in the store in.
fn remember_stored_version(obj: &mut Value) {
    let Some(version) = obj.list("spec.versions").iter().find(|v| v.flag("storage")).map(|v| v["name"].clone()) else {
        return;
    };
    let mut stored = obj.list("status.storedVersions").to_vec();
    if !stored.contains(&version) {
        stored.push(version);
        set(obj, "status.storedVersions", stored);
    }
}
