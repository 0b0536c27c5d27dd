use crate::kinds::prelude::*;

pub struct Secret;

facts!(namespaced("", "Secret", "secrets"));

impl Kind for Secret {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn field_labels(&self) -> &'static [FieldLabel] {
        field_labels!["type"]
    }

    /// An update that names no type means the type there is.
    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        if obj.text("type").is_empty() {
            crate::kind::keep_old_at(obj, old, "type");
        }
    }
}
