use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct Secret;

facts!(namespaced("", "Secret", "secrets"));

impl Kind for Secret {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: config::secret,
        update: config::secret_update,
        warn: certificates::secret_warnings,
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["type"]
    }

    /// `stringData` is for writing only: what is kept, and what is read, is `data`. Upstream does this where it
    /// converts `v1` (`pkg/apis/core/v1/conversion.go`).
    fn set_defaults(&self, version: &str, obj: &mut Value) {
        take_string_data(obj);
        if let Some(schema) = self.schema(version) {
            crate::defaults::apply(&schema, obj);
        }
    }

    /// An update that names no type means the type there is.
    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        if obj.text("type").is_empty() {
            crate::kind::keep_old_at(obj, old, "type");
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Type, Data, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.text("type"), obj.map("data").len(), age(obj, now)]
    }
}

fn take_string_data(obj: &mut Value) {
    let Some(Value::Object(texts)) = obj.as_object_mut().and_then(|o| o.remove("stringData")) else { return };
    if texts.is_empty() {
        return;
    }
    if !obj["data"].is_object() {
        obj["data"] = Value::Object(serde_json::Map::default());
    }
    for (key, text) in texts {
        obj["data"][key] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
    }
}
