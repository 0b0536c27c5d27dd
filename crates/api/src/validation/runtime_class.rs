//! RuntimeClasses. Their metadata is checked without core's extra rule for finalizers, as upstream does.

use serde_json::{Value, json};

use super::devices::in_bytes;
use super::node::deprecated_label;
use super::options::Options;
use super::prelude::*;
use super::resources::{Holder, requirements};
use super::scheduling::tolerations;
use crate::names;
use crate::object_meta::{self, check_labels, subdomain_rule};

pub(crate) fn class(obj: &Value, errors: &mut ErrorList) {
    errors.extend(object_meta::validate(obj, false, subdomain_rule));
    rules(obj, errors);
    handler(obj, errors);
}

pub(crate) fn class_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let changed = obj.text("handler") != old.text("handler");
    errors.extend(object_meta::validate(obj, false, subdomain_rule));
    rules(obj, errors);
    errors.extend(object_meta::validate_update(obj, old));
    if changed {
        errors.invalid(&Path::new("handler"), Value::Null, IMMUTABLE);
        handler(obj, errors);
    }
}

fn rules(obj: &Value, errors: &mut ErrorList) {
    let options = Options::default();
    let overhead = json!({ "limits": obj.at("overhead.podFixed") });
    requirements(&overhead, Holder::Container, &[], &Path::new("overhead"), &options, errors);
    let path = Path::new("scheduling");
    check_labels(obj.at("scheduling.nodeSelector"), &path.child("nodeSelector"), errors);
    let (list, path) = (obj.list("scheduling.tolerations"), path.child("tolerations"));
    tolerations(list, &path, &options, errors);
    let key = |t: &Value| ["key", "operator", "value", "effect"].map(|field| t.text(field).to_owned());
    for (i, toleration) in list.iter().enumerate() {
        if list[..i].iter().any(|other| key(other) == key(toleration)) {
            let [key, operator, value, effect] = key(toleration);
            let shown = json!({ "Key": key, "Operator": operator, "Value": value, "Effect": effect,
                "TolerationSeconds": toleration["tolerationSeconds"] });
            errors.duplicate(&path.index(i), shown);
        }
    }
}

/// Declared, so upstream reports it last.
fn handler(obj: &Value, errors: &mut ErrorList) {
    match obj.text("handler") {
        "" => errors.required(&Path::new("handler"), ""),
        name => errors.each_invalid(&Path::new("handler"), name, in_bytes(names::dns1123_label(name))),
    }
}

pub(crate) fn warnings(obj: &Value, _: Option<&Value>) -> Vec<String> {
    let labels = obj.map("scheduling.nodeSelector").keys().filter_map(|key| deprecated_label(key));
    labels.map(|why| format!("scheduling.nodeSelector: {why}")).collect()
}
