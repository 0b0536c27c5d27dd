//! Annotations that once were, or still are, part of a pod's meaning.

use serde_json::Value;

use super::containers::each_container;
use super::options::{DELETION_COST, Options, deletion_cost_error};
use super::prelude::*;
use super::scheduling;
use crate::kinds::read::annotation;

/// Marks a pod that a node runs from a file and mirrors to the API.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// `obj` is a pod or template; `path` that of its annotations.
pub(crate) fn annotations(obj: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let all = obj.map("metadata.annotations");
    if all.is_empty() {
        return;
    }
    if all.contains_key(MIRROR) && obj.text("spec.nodeName").is_empty() {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.invalid(&path.key(MIRROR), annotation(obj, MIRROR), detail);
    }
    let text = annotation(obj, TOLERATIONS);
    if !text.is_empty() {
        match serde_json::from_str::<Vec<Value>>(text) {
            Ok(list) => scheduling::tolerations(&list, &path.child(TOLERATIONS), options, errors),
            Err(why) => errors.invalid(path, TOLERATIONS, why.to_string()),
        }
    }
    if !options.allow_bad_deletion_cost && deletion_cost_error(obj) {
        errors.invalid(&path.key(DELETION_COST), annotation(obj, DELETION_COST), "must be a 32bit integer");
    }
    for (key, value) in all.iter().filter(|(key, _)| *key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER)) {
        seccomp(value.as_str().unwrap_or_default(), &path.child(key), errors);
    }
    for (key, value) in all {
        let Some(container) = key.strip_prefix(APP_ARMOR) else { continue };
        let mut found = false;
        each_container(&obj["spec"], &Path::default(), |c, _| found |= c.text("name") == container);
        if !found {
            errors.invalid(&path.key(key), container, "container not found");
        }
        let profile = value.as_str().unwrap_or_default();
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
            errors.invalid(&path.key(key), profile, format!("invalid AppArmor profile name: {profile:?}"));
        }
    }
}

fn seccomp(profile: &str, path: &Path<'_>, errors: &mut ErrorList) {
    match profile.strip_prefix("localhost/") {
        Some(file) => descending_path(file, path, errors),
        None if matches!(profile, "runtime/default" | "docker/default" | "unconfined") => {}
        None => errors.invalid(path, profile, "must be a valid seccomp profile"),
    }
}

/// What an update may not do to them.
pub(crate) fn update(obj: &Value, old: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let (new, was) = (obj.map("metadata.annotations"), old.map("metadata.annotations"));
    for key in was.keys().filter(|key| new.get(*key) != was.get(*key)) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for key in new.keys().filter(|key| !was.contains_key(*key)) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not add mirror pod annotation");
        }
    }
    annotations(obj, path, options, errors);
}

/// Profiles said twice, in annotations and in fields, must be the same.
pub(crate) fn agree_with_fields(obj: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if obj.map("metadata.annotations").is_empty() {
        return;
    }
    let spec = &obj["spec"];
    let find = |key: &str| obj["metadata"]["annotations"][key].as_str();
    let seccomp = Words { what: "seccomp", defaults: &["runtime/default", "docker/default"] };
    if let Some(text) = find(SECCOMP_POD) {
        let profile = spec.at("securityContext.seccompProfile");
        seccomp.agree(text, profile, &path.child("securityContext.seccompProfile"), errors);
    }
    each_container(spec, path, |container, path| {
        if let Some(text) = find(&format!("{SECCOMP_CONTAINER}{}", container.text("name"))) {
            let profile = container.at("securityContext.seccompProfile");
            seccomp.agree(text, profile, &path.child("securityContext.seccompProfile"), errors);
        }
    });
    if spec.text("os.name") == "windows" {
        return;
    }
    let app_armor = Words { what: "apparmor", defaults: &["runtime/default"] };
    each_container(spec, path, |container, path| {
        if let Some(text) = find(&format!("{APP_ARMOR}{}", container.text("name"))) {
            let own = container.at("securityContext.appArmorProfile");
            let profile = if own.is_null() { spec.at("securityContext.appArmorProfile") } else { own };
            app_armor.agree(text, profile, &path.child("securityContext.appArmorProfile"), errors);
        }
    });
}

/// How the annotations of one mechanism name profiles.
struct Words {
    what: &'static str,
    defaults: &'static [&'static str],
}

impl Words {
    fn agree(&self, text: &str, profile: &Value, path: &Path<'_>, errors: &mut ErrorList) {
        let what = self.what;
        let file = text.strip_prefix("localhost/");
        let same_type = match profile.text("type") {
            "Unconfined" => text == "unconfined",
            "RuntimeDefault" => self.defaults.contains(&text),
            "Localhost" => file.is_some(),
            _ => true,
        };
        if !same_type {
            errors.forbidden(&path.child("type"), format!("{what} type in annotation and field must match"));
        } else if profile.text("type") == "Localhost" && profile["localhostProfile"].as_str() != file {
            let detail = format!("{what} profile in annotation and field must match");
            errors.forbidden(&path.child("localhostProfile"), detail);
        }
    }
}
