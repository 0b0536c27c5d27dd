//! Total reading of dynamic objects: a dotted path, and the zero value for whatever is not there.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// Reads below a value. Paths are dotted JSON names; none of these names holds a dot itself.
pub trait Read {
    /// What stands at `path`, else null.
    fn at(&self, path: &str) -> &Value;
    fn text(&self, path: &str) -> &str;
    fn int(&self, path: &str) -> i64;
    fn flag(&self, path: &str) -> bool;
    fn list(&self, path: &str) -> &[Value];
    fn map(&self, path: &str) -> &Map<String, Value>;
    /// Present and not null.
    fn has(&self, path: &str) -> bool;
}

static NULL: Value = Value::Null;
static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl Read for Value {
    fn at(&self, path: &str) -> &Value {
        path.split('.').try_fold(self, |value, field| value.get(field)).unwrap_or(&NULL)
    }

    fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    fn int(&self, path: &str) -> i64 {
        self.at(path).as_i64().unwrap_or_default()
    }

    fn flag(&self, path: &str) -> bool {
        self.at(path).as_bool().unwrap_or_default()
    }

    fn list(&self, path: &str) -> &[Value] {
        self.at(path).as_array().map_or(&[], Vec::as_slice)
    }

    fn map(&self, path: &str) -> &Map<String, Value> {
        self.at(path).as_object().unwrap_or(&EMPTY)
    }

    fn has(&self, path: &str) -> bool {
        !self.at(path).is_null()
    }
}

/// An annotation, empty when absent.
pub fn annotation<'a>(obj: &'a Value, key: &str) -> &'a str {
    obj["metadata"]["annotations"][key].as_str().unwrap_or_default()
}

/// The condition of this type under `status.conditions`.
pub fn condition<'a>(obj: &'a Value, ty: &str) -> Option<&'a Value> {
    obj.list("status.conditions").iter().find(|c| c["type"] == ty)
}
