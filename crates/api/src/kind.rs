//! A kind: everything the generic pipeline needs to know of one resource.
//!
//! Built-in kinds are unit structs, one file each under `kinds/`, listed once by `kinds!`.
//! A CustomResourceDefinition becomes a run-time value of the same trait.

use std::borrow::Cow;

use serde_json::Value;

use crate::field::ErrorList;
use crate::schema::ObjectRef;

pub type Text = Cow<'static, str>;
pub type List<T> = Cow<'static, [T]>;

/// Names and fixed facts of a kind.
#[derive(Clone, Debug)]
pub struct KindInfo {
    pub group: Text,
    pub kind: Text,
    /// `PodList`.
    pub list_kind: Text,
    pub plural: Text,
    pub singular: Text,
    pub short_names: List<Text>,
    pub categories: List<Text>,
    pub namespaced: bool,
    /// Served versions, preferred first.
    pub versions: List<Text>,
    /// The version objects are stored and hooked in. Of another group when it holds a slash:
    /// `events.k8s.io` keeps its objects as core's, `/v1`.
    pub storage_version: Text,
    /// Verbs in discovery's order (`create`, `delete`, `deletecollection`, ...).
    pub verbs: List<Text>,
    pub subresources: List<Subresource>,
    /// `metadata.generation` counts spec changes.
    pub has_generation: bool,
    /// Store key prefix `group/plural`; two kinds that share it (Event) share their objects.
    pub storage_key: Text,
}

impl KindInfo {
    /// `v1`, `apps/v1`; `version` may name a group of its own, as `storage_version` may.
    pub fn api_version(&self, version: &str) -> String {
        match version.split_once('/') {
            Some(("", version)) => version.to_owned(),
            Some(_) => version.to_owned(),
            None if self.group.is_empty() => version.to_owned(),
            None => format!("{}/{version}", self.group),
        }
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// One subresource: `status`, `scale`, `log`, `eviction`, ...
#[derive(Clone, Debug)]
pub struct Subresource {
    pub name: Text,
    /// Kind of the body as discovery prints it.
    pub kind: Text,
    /// Group and version when they differ from the parent's, else empty.
    pub group: Text,
    pub version: Text,
    pub verbs: List<Text>,
}

/// A column of `kubectl get`: `TableColumnDefinition` plus how to fill it.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: Text,
    /// `string`, `integer`, `date`, `boolean`, ...
    pub ty: Text,
    /// `name` for the Name column, else empty.
    pub format: Text,
    pub description: Text,
    /// 0 is always shown, above only with `-o wide`.
    pub priority: i32,
}

/// A field that `fieldSelector` may name.
#[derive(Clone, Copy)]
pub struct FieldLabel {
    pub label: &'static str,
    pub value: fn(&Value) -> Cow<'_, str>,
}

/// What a DELETE does to an object of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Gone at once unless finalizers hold it.
    Immediate,
    /// Pods: `deletionGracePeriodSeconds` first, then the node confirms.
    Graceful,
}

/// Hooks see objects in the storage version, with `metadata` already set by the pipeline.
/// All are total: any JSON may come in, none panics.
pub trait Kind: Send + Sync + 'static {
    fn info(&self) -> &KindInfo;

    /// The field table of a served version.
    fn schema(&self, version: &str) -> Option<ObjectRef> {
        let info = self.info();
        crate::schema::builtin().of(&info.api_version(version), &info.kind)
    }

    /// Rewrites an object, `apiVersion` included, between any two of the served versions and the
    /// storage version. Same-version calls never happen.
    fn convert(&self, _obj: &mut Value, _from: &str, _to: &str) {}

    /// Whether an update counts in `metadata.generation` (of kinds with `has_generation`; creation sets
    /// 1). Asked after `prepare_update`, also for custom resources' and others' odd ideas of a spec.
    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        obj.get("spec") != old.get("spec")
    }

    /// Top-level paths that apply and managedFields ignore on writes through `subresource` (empty:
    /// the main resource), because the hooks reset them: `status`, `metadata.deletionTimestamp`.
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" if self.info().subresource("status").is_some() => &["status"],
            "status" => &["spec"],
            _ => &[],
        }
    }

    /// Fills defaults; idempotent. Runs on the version the client sent.
    fn set_defaults(&self, _version: &str, _obj: &mut Value) {}

    /// Before creation: drop status, set generation-free derived fields.
    fn prepare_create(&self, _obj: &mut Value) {}

    /// Before an update through the main resource: keep status, undo forbidden changes.
    fn prepare_update(&self, _obj: &mut Value, _old: &Value) {}

    /// Before an update through `subresource` (default: `status` replaces only status).
    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        if subresource == "status" {
            keep_all_but_status(obj, old);
        }
    }

    fn validate(&self, _obj: &Value) -> ErrorList {
        ErrorList::default()
    }

    fn validate_update(&self, _obj: &Value, _old: &Value) -> ErrorList {
        ErrorList::default()
    }

    fn validate_subresource(&self, _subresource: &str, _obj: &Value, _old: &Value) -> ErrorList {
        ErrorList::default()
    }

    /// Texts for the `Warning` header.
    fn warnings(&self, _obj: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Field labels besides `metadata.name` and `metadata.namespace`.
    fn field_labels(&self) -> &'static [FieldLabel] {
        &[]
    }

    fn columns(&self) -> Vec<Column> {
        default_columns()
    }

    /// Cells in the order of `columns()`. `now_seconds` is Unix time, for ages.
    fn row(&self, obj: &Value, now_seconds: i64) -> Vec<Value> {
        default_row(obj, now_seconds)
    }

    fn deletion(&self) -> Deletion {
        Deletion::Immediate
    }

    /// Propagation when a DELETE names none (`orphan` only for kinds upstream says so).
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// PUT may create (`AllowCreateOnUpdate`).
    fn create_on_update(&self) -> bool {
        false
    }

    /// An update without resourceVersion is accepted (`AllowUnconditionalUpdate`).
    fn unconditional_update(&self) -> bool {
        true
    }
}

/// Everything from `old` except `status` and what `status` updates may touch in metadata.
pub fn keep_all_but_status(obj: &mut Value, old: &Value) {
    let (Value::Object(new), Value::Object(old)) = (obj, old) else { return };
    let status = new.remove("status");
    let metadata = new.remove("metadata");
    *new = old.clone();
    new.remove("status");
    if let Some(status) = status {
        new.insert("status".into(), status);
    }
    // Resource version and managedFields come from the request, all else of metadata from `old`.
    if let (Some(Value::Object(sent)), Some(Value::Object(kept))) = (metadata, new.get_mut("metadata")) {
        for field in ["resourceVersion", "managedFields"] {
            match sent.get(field) {
                Some(value) => kept.insert(field.into(), value.clone()),
                None => kept.remove(field),
            };
        }
    }
}

fn default_columns() -> Vec<Column> {
    vec![
        Column { name: "Name".into(), ty: "string".into(), format: "name".into(), description: "".into(), priority: 0 },
        Column { name: "Age".into(), ty: "date".into(), format: "".into(), description: "".into(), priority: 0 },
    ]
}

fn default_row(obj: &Value, _now_seconds: i64) -> Vec<Value> {
    vec![crate::meta::name(obj).into(), crate::meta::get(obj, "creationTimestamp").into()]
}
