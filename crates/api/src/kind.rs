//! A kind: everything the generic pipeline needs to know of one resource.
//!
//! Built-in kinds are unit structs, one file each under `kinds/`, listed once by `kinds!`.
//! A CustomResourceDefinition becomes a run-time value of the same trait.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value;

use crate::field::ErrorList;
use crate::schema::ObjectRef;
use crate::table::Now;

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

    /// The group by which errors about an object go: that of its storage version, whose rules it must obey.
    pub fn error_group(&self) -> &str {
        self.storage_version.split_once('/').map_or(&*self.group, |(group, _)| group)
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
#[derive(Debug)]
pub struct FieldLabel {
    pub label: Text,
    pub value: FieldValue,
}

/// How a selectable field is read.
#[derive(Debug)]
pub enum FieldValue {
    Read(fn(&Value) -> Cow<'_, str>),
    /// As a custom resource's definition says it.
    At(crate::jsonpath::Template),
}

impl FieldLabel {
    /// The field's value as selectors see it; absent is empty.
    pub fn read<'a>(&self, obj: &'a Value) -> Cow<'a, str> {
        match &self.value {
            FieldValue::Read(read) => read(obj),
            FieldValue::At(path) => {
                path.values(obj).first().map_or_else(Default::default, |v| crate::jsonpath::show(v).into())
            }
        }
    }
}

/// A kind's selectable fields; cheap to clone.
#[derive(Clone, Debug)]
pub enum FieldLabels {
    Builtin(&'static [FieldLabel]),
    Custom(Arc<[FieldLabel]>),
}

impl FieldLabels {
    /// The very same list, not merely an equal one.
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const **self, &raw const **other)
    }
}

impl Default for FieldLabels {
    fn default() -> Self {
        Self::Builtin(&[])
    }
}

impl Deref for FieldLabels {
    type Target = [FieldLabel];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Builtin(labels) => labels,
            Self::Custom(labels) => labels,
        }
    }
}

/// Dotted paths of the fields behind a custom resource's `scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec_replicas: String,
    pub status_replicas: String,
    /// Holds a selector as text.
    pub label_selector: Option<String>,
}

/// What a DELETE does to an object of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Gone at once unless finalizers hold it.
    Immediate,
    /// Pods: `deletionGracePeriodSeconds` first, then the node confirms.
    Graceful,
}

/// Fields that the hooks reset on writes through one endpoint, so that apply and managedFields leave
/// them out. Paths are dotted (`metadata.labels`); `[]` after a name stands for every item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetFields {
    Only(&'static [&'static str]),
    /// All but these and what lies below them.
    AllBut(&'static [&'static str]),
}

impl ResetFields {
    pub const NONE: Self = Self::Only(&[]);

    /// Removes the fields; `AllBut` has no meaning for a creation and removes none.
    pub fn drop_from(self, obj: &mut Value) {
        let Self::Only(paths) = self else { return };
        for path in paths {
            keep_old_at(obj, &Value::Null, path);
        }
    }

    /// Sets the fields to what they are in `old`; kinds with `AllBut` do this by their own hook.
    pub fn keep_old(self, obj: &mut Value, old: &Value) {
        let Self::Only(paths) = self else { return };
        for path in paths {
            if *path == "metadata" {
                keep_metadata(obj, old);
            } else {
                keep_old_at(obj, old, path);
            }
        }
    }
}

/// Sets the field at a dotted path to what it is in `old`, or removes it.
pub fn keep_old_at(obj: &mut Value, old: &Value, path: &str) {
    let (parents, field) = path.rsplit_once('.').map_or((None, path), |(parents, field)| (Some(parents), field));
    let mut old = Some(old);
    let mut obj = obj;
    for parent in parents.into_iter().flat_map(|p| p.split('.')) {
        old = old.and_then(|old| old.get(parent));
        if obj.get(parent).is_none() && old.is_none() {
            return;
        }
        crate::meta::child_mut(obj, parent);
        let Some(child) = obj.get_mut(parent) else { return };
        obj = child;
    }
    let Value::Object(obj) = obj else { return };
    match old.and_then(|old| old.get(field)) {
        Some(kept) => obj.insert(field.to_owned(), kept.clone()),
        None => obj.remove(field),
    };
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

    /// Whether a write counts in `metadata.generation` (of kinds with `has_generation`; creation sets 1).
    /// Asked after `prepare_update` and `prepare_subresource`, but not for `status`.
    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        !crate::equality::same_field(obj, old, "spec")
    }

    /// The same, of what was sent: asked before `prepare_update`, which may take away what still counts.
    fn generation_changes_as_sent(&self, _obj: &Value, _old: &Value) -> bool {
        false
    }

    /// Creation sets `metadata.generation` to 1; else the first change does.
    fn generation_from_creation(&self) -> bool {
        true
    }

    /// What writes through `subresource` (empty: the main resource) cannot change.
    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" if self.info().subresource("status").is_some() => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["spec"]),
            _ => ResetFields::NONE,
        }
    }

    /// Custom resources: removes what the schema does not know and returns its paths; an error says why `metadata` cannot
    /// be read. Built-in kinds are pruned as they are decoded.
    fn prune(&self, _obj: &mut Value) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    /// Custom resources: brings an object that was stored under an older definition in line with this one.
    fn refresh(&self, _obj: &mut Value) {}

    /// Where a custom resource keeps what its `scale` subresource shows.
    fn scale_paths(&self) -> Option<&ScalePaths> {
        None
    }

    /// Annotations that stand for fields of a version: whoever asks for metadata alone does not see them.
    fn annotations_of_version(&self) -> &'static [&'static str] {
        &[]
    }

    /// Upstream keeps objects in protobuf but for the kinds of servers that came later.
    fn is_stored_as_json(&self) -> bool {
        false
    }

    /// What is deprecated about a version, for the `Warning` header of every request for it.
    fn deprecation(&self, _version: &str) -> Option<String> {
        None
    }

    /// Fills defaults; idempotent. Runs on the version the client sent.
    fn set_defaults(&self, version: &str, obj: &mut Value) {
        if let Some(schema) = self.schema(version) {
            crate::defaults::apply(&schema, obj);
        }
    }

    /// Before creation: drops what `reset_fields` says (status), sets derived fields.
    fn prepare_create(&self, obj: &mut Value) {
        self.reset_fields("").drop_from(obj);
    }

    /// Whether objects have a `status` from the start, if an empty one, as upstream's encoding of built-in types
    /// has: a JSON patch may add below it. Custom resources have what was written.
    fn always_has_status(&self) -> bool {
        self.info().subresource("status").is_some()
    }

    /// After `prepare_create`: who asks, where the object says so (CertificateSigningRequest). `user` holds
    /// `username`, `uid`, `groups` and `extra`.
    fn record_requester(&self, _obj: &mut Value, _user: &Value) {}

    /// Before an update through the main resource: keeps what `reset_fields` says (status), undoes
    /// forbidden changes.
    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
    }

    /// Before an update through `subresource`: keeps what `reset_fields` says (`status`: the spec, but
    /// not metadata). Custom resources use [`keep_all_but_status`] instead.
    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        self.reset_fields(subresource).keep_old(obj, old);
    }

    /// Where the kind keeps a template of pods.
    fn pod_template(&self) -> Option<&'static str> {
        None
    }

    /// After `prepare_create` and `prepare_update`: drops fields behind feature gates that v1.37 has off, unless the
    /// stored object (null at creation) has them.
    fn drop_disabled(&self, obj: &mut Value, old: &Value) {
        if let Some(template) = self.pod_template() {
            crate::kinds::pod::gated::drop_in_template(obj, old, template);
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

    /// What is wrong with an update through `subresource` (empty: the main resource), and texts for the `Warning`
    /// header that looking for it gave.
    fn check_update(&self, subresource: &str, obj: &Value, old: &Value) -> (ErrorList, Vec<String>) {
        let errors = match subresource {
            "" => self.validate_update(obj, old),
            sub => self.validate_subresource(sub, obj, old),
        };
        (errors, Vec::new())
    }

    /// Texts for the `Warning` header of a write through `subresource` (empty: the main resource).
    fn warnings(&self, _subresource: &str, _obj: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Texts for the `Warning` header of a creation, of what `prepare_create` is about to mend.
    fn warnings_as_sent(&self, _obj: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Field labels besides `metadata.name` and `metadata.namespace`.
    fn field_labels(&self) -> FieldLabels {
        FieldLabels::default()
    }

    /// What a selector naming any other label is told.
    fn unknown_field_label(&self, label: &str) -> String {
        if self.field_labels().is_empty() {
            let known = r#"only "metadata.name", "metadata.namespace""#;
            return format!("{label:?} is not a known field selector: {known}");
        }
        format!("field label not supported: {label}")
    }

    fn columns(&self) -> Vec<Column> {
        default_columns()
    }

    /// Where an object's row stands in a table; rows of one place stand by name, as all do without it.
    fn row_place(&self) -> Option<fn(&Value) -> i64> {
        None
    }

    /// Cells in the order of `columns()`. Ages are counted to `now`.
    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        default_row(obj, now)
    }

    fn deletion(&self) -> Deletion {
        Deletion::Immediate
    }

    /// DELETE answers with the object that went, not with a `Status`
    /// (`ReturnDeletedObject` of `k8s.io/apiserver/pkg/registry/generic/registry`).
    fn returns_deleted(&self) -> bool {
        false
    }

    /// Whether OpenAPI says so of DELETE, which is not always true.
    fn publishes_deleted(&self) -> bool {
        self.returns_deleted()
    }

    /// The `openAPIV3Schema` that a custom resource's definition wrote for a version, for OpenAPI to publish;
    /// built-in kinds publish their field table.
    fn published_schema(&self, _version: &str) -> Option<Value> {
        None
    }

    /// Propagation when a DELETE names none (`orphan` only for kinds upstream says so).
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// What a DELETE that says nothing about dependents is warned of.
    fn unsaid_propagation(&self) -> Option<&'static str> {
        None
    }

    /// DELETE heeds a propagation policy: objects of this kind may own others.
    fn may_own(&self) -> bool {
        true
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
    keep_metadata(obj, old);
    let (Value::Object(new), Value::Object(old)) = (obj, old) else { return };
    let kept = [new.remove("status"), new.remove("metadata")];
    new.clone_from(old);
    for (field, value) in ["status", "metadata"].into_iter().zip(kept) {
        match value {
            Some(value) => new.insert(field.into(), value),
            None => new.remove(field),
        };
    }
}

/// `metadata` of `old`, but for resource version and managedFields, which come from the request.
pub fn keep_metadata(obj: &mut Value, old: &Value) {
    let Some(Value::Object(old)) = old.get("metadata") else { return };
    let sent = crate::meta::metadata_mut(obj);
    let kept = ["resourceVersion", "managedFields"].map(|field| (field, sent.remove(field)));
    sent.clone_from(old);
    for (field, value) in kept {
        match value {
            Some(value) => sent.insert(field.into(), value),
            None => sent.remove(field),
        };
    }
}

fn default_columns() -> Vec<Column> {
    crate::table::columns("Name, Created At:date")
}

fn default_row(obj: &Value, _now: Now) -> Vec<Value> {
    vec![crate::meta::name(obj).into(), crate::meta::get(obj, "creationTimestamp").into()]
}
