use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, or};

pub struct StorageClass;

facts!(cluster("storage.k8s.io", "StorageClass", "storageclasses").short(&["sc"]));

impl Kind for StorageClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: storage::class,
        update: storage::class_update,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        // Of several defaults upstream marks the newest, which a row alone cannot know.
        let default =
            ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
        let default = default.iter().any(|key| annotation(obj, key) == "true");
        let name = format!("{}{}", meta::name(obj), if default { " (default)" } else { "" });
        cells![
            name,
            obj.text("provisioner"),
            or(obj.text("reclaimPolicy"), "Delete"),
            or(obj.text("volumeBindingMode"), "Immediate"),
            obj.flag("allowVolumeExpansion"),
            age(obj, now)
        ]
    }
}
