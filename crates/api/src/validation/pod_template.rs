//! `core.PodTemplateSpec`, wherever it stands.

use serde_json::Value;

use super::options::Options;
use super::pod_annotations;
use super::pod_spec::pod_spec;
use super::prelude::*;
use crate::object_meta::{check_annotations, check_labels, subdomain_rule};

pub(crate) fn template(template: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    metadata_of(template, path, options, errors);
    let at = path.child("spec");
    pod_spec(&template["spec"], &Value::Null, &at, options, errors);
    pod_annotations::agree_with_fields(template, &at, errors);
    if !template.list("spec.ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.forbidden(&at.child("ephemeralContainers"), detail);
    }
}

/// Labels and annotations; their paths lack `metadata`, upstream's too.
pub(crate) fn metadata_of(template: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    check_labels(template.at("metadata.labels"), &path.child("labels"), errors);
    let at = path.child("annotations");
    check_annotations(template.at("metadata.annotations"), &at, errors);
    pod_annotations::annotations(template, &at, options, errors);
}

/// A PodTemplate object.
pub(crate) fn pod_template(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    template(&obj["template"], &Path::new("template"), &Options::default(), errors);
}

pub(crate) fn pod_template_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    template(&obj["template"], &Path::new("template"), &Options::of_changed(&old["template"], false), errors);
}

pub(crate) fn pod_template_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let generation = |obj: &Value| obj.int("metadata.generation");
    if old.is_some_and(|old| generation(old) == generation(obj)) {
        return Vec::new();
    }
    super::pod_warnings::of_template(&obj["template"], &Path::new("template"))
}
