//! A custom resource in one version: what a CustomResourceDefinition says, as a [`Kind`] made at run time
//! (`k8s.io/apiextensions-apiserver/pkg/registry/customresource`).

mod columns;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::jsonpath::Template;
use crate::kind::{
    Column, FieldLabel, FieldLabels, FieldValue, Kind, KindInfo, ResetFields, ScalePaths, Subresource, Text,
    keep_all_but_status,
};
use crate::kinds::read::{Read, condition};
use crate::schema::ObjectRef;
use crate::structural::{Schema, defaulting, prune, table, validate};
use crate::table::Now;
use crate::{names, object_meta};
use columns::PrinterColumns;

/// Rules beyond what a schema can say (`x-kubernetes-validations`).
pub trait Rules: Send + Sync {
    /// `old` is what an update starts from.
    fn check(&self, obj: &Value, old: Option<&Value>) -> Checked;
}

/// What rules say of an object.
#[derive(Default)]
pub struct Checked {
    pub errors: ErrorList,
    /// What they say of parts that an update leaves as they were.
    pub ratcheted: Vec<String>,
}

/// One served version of a definition.
pub struct CustomKind {
    info: KindInfo,
    version: String,
    schema: Schema,
    table: ObjectRef,
    /// Its schema as JSON, a tenth of what a tree takes: it is asked for seldom.
    published: String,
    columns: PrinterColumns,
    fields: FieldLabels,
    scale: Option<ScalePaths>,
    has_status: bool,
    deprecation: Option<String>,
    rules: Option<Arc<dyn Rules>>,
}

/// All versions of a definition that are served, as [`CustomKind`]s, by version; none of those whose schema cannot be
/// read, which validation keeps out. `rules` makes the checker of a version's schema as it is written, if it has rules.
pub fn versions(definition: &Value, rules: &dyn Fn(&Value) -> Option<Arc<dyn Rules>>) -> Vec<(String, CustomKind)> {
    let served = definition.list("spec.versions").iter().filter(|version| version.flag("served"));
    served
        .filter_map(|version| Some((version.text("name").to_owned(), CustomKind::read(definition, version, rules)?)))
        .collect()
}

const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];

fn texts<'a>(list: impl IntoIterator<Item = &'a str>) -> crate::kind::List<Text> {
    list.into_iter().map(|text| Text::Owned(text.to_owned())).collect::<Vec<_>>().into()
}

impl CustomKind {
    fn read(definition: &Value, version: &Value, rules: &dyn Fn(&Value) -> Option<Arc<dyn Rules>>) -> Option<Self> {
        let name = version.text("name");
        let written = version.at("schema.openAPIV3Schema");
        let schema = Schema::read(written).ok()?;
        let info = info(definition, version);
        let table = table::of_object(&format!("{}.{name}.{}", info.group, info.kind), &schema);
        let scale = version.has("subresources.scale").then(|| scale_paths(version.at("subresources.scale")));
        let deprecation = version.flag("deprecated").then(|| {
            let text = version.text("deprecationWarning");
            let standard = || format!("{}/{name} {} is deprecated", info.group, info.kind);
            if text.is_empty() { standard() } else { text.to_owned() }
        });
        Some(Self {
            version: name.to_owned(),
            table,
            published: written.to_string(),
            columns: PrinterColumns::read(version.at("additionalPrinterColumns")),
            fields: selectable(version),
            scale,
            has_status: version.has("subresources.status"),
            deprecation,
            rules: rules(written),
            schema,
            info,
        })
    }

    fn check(&self, obj: &Value, old: Option<&Value>) -> (ErrorList, Vec<String>) {
        let mut errors = validate::value(obj, old, &self.schema, "");
        if let Some(scale) = &self.scale {
            check_scale(scale, obj, &mut errors);
        }
        errors.extend(validate::invariants(obj, old, &self.schema));
        let ratcheted = self.check_rules(obj, old, &mut errors);
        (errors, ratcheted)
    }

    /// Rules may be dear: they are run once in a write. Gives what they would have refused of what was there before.
    fn check_rules(&self, obj: &Value, old: Option<&Value>, errors: &mut ErrorList) -> Vec<String> {
        let Some(rules) = &self.rules else { return Vec::new() };
        if validate::blocks_rules(errors) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors \
                       to complete validation";
            errors.invalid(&Path::default(), Value::Null, why);
            return Vec::new();
        }
        let checked = rules.check(obj, old);
        errors.extend(checked.errors);
        checked.ratcheted
    }

    fn check_status(&self, obj: &Value, old: &Value) -> (ErrorList, Vec<String>) {
        let mut errors = ErrorList::default();
        if let (Some(schema), Some(status)) = (self.schema.child("status"), obj.get("status")) {
            errors = validate::value(status, old.get("status"), schema, "");
            for error in &mut errors.0 {
                error.field = match &*error.field {
                    "<nil>" => "status".to_owned(),
                    field => format!("status.{field}"),
                };
            }
        }
        errors.extend(validate::invariants(obj, Some(old), &self.schema));
        let ratcheted = self.check_rules(obj, Some(old), &mut errors);
        (errors, ratcheted)
    }
}

fn info(definition: &Value, version: &Value) -> KindInfo {
    let names = definition.at("status.acceptedNames");
    let names = if names.text("plural").is_empty() { definition.at("spec.names") } else { names };
    let group = definition.text("spec.group");
    let listed = |field: &str| texts(names.list(field).iter().filter_map(Value::as_str));
    let versions = definition.list("spec.versions");
    let served = versions.iter().filter(|version| version.flag("served")).map(|version| version.text("name"));
    let stored = versions.iter().find(|version| version.flag("storage")).map_or("", |version| version.text("name"));
    let sub = |name: &'static str, kind: &str, group: &'static str, version: &'static str| Subresource {
        name: name.into(),
        kind: Text::Owned(kind.to_owned()),
        group: group.into(),
        version: version.into(),
        verbs: texts(SUBRESOURCE_VERBS),
    };
    let terminating = condition(definition, "Terminating").is_some_and(|c| c["status"] == "True");
    let mut subresources = Vec::new();
    if version.has("subresources.status") {
        subresources.push(sub("status", names.text("kind"), "", ""));
    }
    if version.has("subresources.scale") {
        subresources.push(sub("scale", "Scale", "autoscaling", "v1"));
    }
    KindInfo {
        group: Text::Owned(group.to_owned()),
        kind: Text::Owned(names.text("kind").to_owned()),
        list_kind: Text::Owned(names.text("listKind").to_owned()),
        plural: Text::Owned(names.text("plural").to_owned()),
        singular: Text::Owned(names.text("singular").to_owned()),
        short_names: listed("shortNames"),
        categories: listed("categories"),
        namespaced: definition.text("spec.scope") == "Namespaced",
        versions: texts(served),
        storage_version: Text::Owned(stored.to_owned()),
        // What is on its way out takes nothing new.
        verbs: texts(VERBS.into_iter().filter(|verb| *verb != "create" || !terminating)),
        subresources: subresources.into(),
        has_generation: true,
        storage_key: Text::Owned(format!("{group}/{}", names.text("plural"))),
    }
}

fn scale_paths(scale: &Value) -> ScalePaths {
    let path = |field: &str| scale.text(field).trim_start_matches('.').to_owned();
    ScalePaths {
        spec_replicas: path("specReplicasPath"),
        status_replicas: path("statusReplicasPath"),
        label_selector: Some(path("labelSelectorPath")).filter(|path| !path.is_empty()),
    }
}

fn selectable(version: &Value) -> FieldLabels {
    let fields = version.list("selectableFields").iter().filter_map(|field| {
        let path = field.text("jsonPath");
        let label = Text::Owned(path.trim_start_matches('.').to_owned());
        Some(FieldLabel { label, value: FieldValue::At(Template::parse(path).ok()?) })
    });
    FieldLabels::Custom(fields.collect())
}

/// The numbers `scale` would show must be such numbers.
fn check_scale(scale: &ScalePaths, obj: &Value, errors: &mut ErrorList) {
    for path in [&scale.spec_replicas, &scale.status_replicas] {
        let shown = format!(".{path}");
        let field = Path::new(&shown);
        match obj.at(path) {
            Value::Null => {}
            value => match value.as_i64() {
                None => errors.invalid(&field, 0, format!("{shown} accessor error: {value} is not of type int64")),
                Some(count) if count < 0 => errors.invalid(&field, count, "should be a non-negative integer"),
                Some(count) if count > i32::MAX.into() => {
                    errors.invalid(&field, count, format!("should be less than or equal to {}", i32::MAX));
                }
                Some(_) => {}
            },
        }
    }
}

impl Kind for CustomKind {
    fn info(&self) -> &KindInfo {
        &self.info
    }

    fn schema(&self, _version: &str) -> Option<ObjectRef> {
        Some(self.table.clone())
    }

    fn prune(&self, obj: &mut Value) -> Result<Vec<String>, String> {
        prune::object(obj, &self.schema)
    }

    fn refresh(&self, obj: &mut Value) {
        prune::stored(obj, &self.schema);
        defaulting::apply(obj, &self.schema);
    }

    fn always_has_status(&self) -> bool {
        false
    }

    fn scale_paths(&self) -> Option<&ScalePaths> {
        self.scale.as_ref()
    }

    fn deprecation(&self, _version: &str) -> Option<String> {
        self.deprecation.clone()
    }

    fn set_defaults(&self, _version: &str, obj: &mut Value) {
        defaulting::apply(obj, &self.schema);
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" if self.has_status => ResetFields::Only(&["status"]),
            "status" => ResetFields::AllBut(&["status"]),
            _ => ResetFields::NONE,
        }
    }

    /// Everything but metadata counts, whatever it is called.
    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        let fields = |value: &Value| -> Vec<(String, Value)> {
            let all = value.as_object().into_iter().flatten();
            all.filter(|(name, _)| *name != "metadata").map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        fields(obj) != fields(old)
    }

    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        if subresource == "status" {
            keep_all_but_status(obj, old);
        }
    }

    fn validate(&self, obj: &Value) -> ErrorList {
        let mut errors = object_meta::validate(obj, self.info.namespaced, object_meta::subdomain_rule);
        errors.extend(self.check(obj, None).0);
        errors
    }

    fn validate_update(&self, obj: &Value, old: &Value) -> ErrorList {
        self.check_update("", obj, old).0
    }

    fn validate_subresource(&self, subresource: &str, obj: &Value, old: &Value) -> ErrorList {
        self.check_update(subresource, obj, old).0
    }

    fn check_update(&self, subresource: &str, obj: &Value, old: &Value) -> (ErrorList, Vec<String>) {
        match subresource {
            "status" => self.check_status(obj, old),
            _ => self.check(obj, Some(old)),
        }
    }

    fn warnings(&self, _subresource: &str, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let finalizers = |obj: &Value| -> BTreeSet<String> {
            obj.list("metadata.finalizers").iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let before = old.map(finalizers).unwrap_or_default();
        let warned = finalizers(obj);
        warned.difference(&before).flat_map(|finalizer| finalizer_warnings(finalizer)).collect()
    }

    fn field_labels(&self) -> FieldLabels {
        self.fields.clone()
    }

    fn unknown_field_label(&self, label: &str) -> String {
        format!("field label not supported: {label}")
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.definitions()
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        self.columns.cells(obj, now)
    }

    fn published_schema(&self, version: &str) -> Option<Value> {
        (version == self.version).then(|| serde_json::from_str(&self.published).unwrap_or_default())
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

fn finalizer_warnings(finalizer: &str) -> Vec<String> {
    let at = "metadata.finalizers";
    let mut warnings: Vec<String> =
        names::qualified_name(finalizer).into_iter().map(|why| format!("{at}: {finalizer:?}: {why}")).collect();
    let standard = ["orphan", "foregroundDeletion", "kubernetes"];
    if !finalizer.contains('/') && !standard.contains(&finalizer) {
        let path = if finalizer.contains('.') { " including a path (/)" } else { "" };
        warnings.push(format!(
            "{at}: {finalizer:?}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other \
             finalizer writers"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
