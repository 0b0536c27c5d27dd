use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct VolumeAttachment;

facts!(cluster("storage.k8s.io", "VolumeAttachment", "volumeattachments").status());

impl Kind for VolumeAttachment {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: persistent_volume::attachment,
        update: persistent_volume::attachment_update,
        "status": persistent_volume::attachment_update,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Attacher=name, PV, Node, Attached:boolean, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![
            meta::name(obj),
            obj.text("spec.attacher"),
            obj.text("spec.source.persistentVolumeName"),
            obj.text("spec.nodeName"),
            obj.flag("status.attached"),
            age(obj, now)
        ]
    }
}
