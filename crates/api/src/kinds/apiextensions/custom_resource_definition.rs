use crate::equality::same_field;
use crate::kinds::prelude::*;
use crate::kinds::prepare::{remove, set};
use crate::table::{Now, cells, columns, joined};

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

    fn is_stored_as_json(&self) -> bool {
        true
    }

    validation! {
        create: definition::definition,
        update: definition::update,
        "status": definition::status,
        warn: definition::warnings,
    }

    /// A conversion by webhook that says nothing is none once it went through upstream's own type.
    fn set_defaults(&self, version: &str, obj: &mut Value) {
        if let Some(schema) = self.schema(version) {
            crate::defaults::apply(&schema, obj);
        }
        let webhook = obj.at("spec.conversion.webhook");
        if !webhook.is_null() && !webhook.has("clientConfig") && !webhook.has("conversionReviewVersions") {
            remove(obj, "spec.conversion.webhook");
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    /// Empty lists and maps count in validation alone.
    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        let schema = self.schema("v1").expect("built-in kinds have a schema");
        let [obj, old] = [obj, old].map(|object| {
            let mut object = object.clone();
            crate::codec::json::settle(&mut object, schema.get(), false);
            object
        });
        !same_field(&obj, &old, "spec")
    }

    fn prepare_create(&self, obj: &mut Value) {
        self.reset_fields("").drop_from(obj);
        remember_stored_version(obj);
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        remember_stored_version(obj);
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Scope, Versions, Created At:date, Group*, Kind*, ShortNames*, Established:boolean*")
    }

    fn row(&self, obj: &Value, _now: Now) -> Vec<Value> {
        let established = condition(obj, "Established").is_some_and(|c| c["status"] == "True");
        cells![
            meta::name(obj),
            obj.text("spec.scope"),
            versions(obj),
            meta::get(obj, "creationTimestamp"),
            obj.text("spec.group"),
            obj.text("spec.names.kind"),
            joined(obj.list("spec.names.shortNames"), ","),
            established
        ]
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

/// `v1(storage),v1beta1`: served ones only.
fn versions(crd: &Value) -> String {
    let served = crd.list("spec.versions").iter().filter(|version| version.flag("served"));
    let mut names: Vec<String> = served
        .map(|version| format!("{}{}", version.text("name"), if version.flag("storage") { "(storage)" } else { "" }))
        .collect();
    names.sort();
    names.join(",")
}
