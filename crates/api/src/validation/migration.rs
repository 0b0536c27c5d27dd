//! StorageVersionMigrations.

use serde_json::Value;

use super::conditions::conditions;
use super::prelude::*;
use crate::kinds::read::condition;
use crate::names;
use crate::object_meta::subdomain_rule;

pub(crate) fn migration(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    let (path, resource) = (Path::new("spec.resource"), obj.at("spec.resource"));
    let (group, name) = (resource.text("group"), resource.text("resource"));
    let broken = names::dns1035_label(name);
    match name {
        "" => errors.required(&path.child("resource"), "resource is required to be set"),
        _ if !broken.is_empty() => errors.invalid(&path.child("resource"), name, broken.join(",")),
        _ => {}
    }
    let broken = names::dns1123_subdomain(group);
    if !group.is_empty() && !broken.is_empty() {
        errors.invalid(&path.child("group"), group, broken.join(","));
    }
}

pub(crate) fn migration_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    migration(obj, errors);
    metadata_update(obj, old, errors);
    immutable(&obj["spec"], &old["spec"], &Path::new("spec"), errors);
}

pub(crate) fn migration_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let path = Path::new("status");
    let list = obj.list("status.conditions");
    conditions(list, &path.child("conditions"), errors);
    let (version, was) = (obj.text("status.resourceVersion"), old.text("status.resourceVersion"));
    if !was.is_empty() && version != was {
        errors.invalid(&path.child("resourceVersion"), version, IMMUTABLE);
    }
    let at = path.child("conditions");
    let mut refuse = |why: &str| errors.invalid(&at, list.to_vec(), why);
    let holds = |of: &Value, ty: &str| condition(of, ty).is_some_and(|c| c["status"] == "True");
    if holds(obj, "Succeeded") && holds(obj, "Failed") {
        refuse("Both success and failed conditions cannot be true at the same time");
    }
    for (ty, word) in [("Succeeded", "Success"), ("Failed", "Failed")] {
        if holds(old, ty) && !holds(obj, ty) {
            refuse(&format!("{word} condition cannot be set to false once it is true"));
        }
    }
}
