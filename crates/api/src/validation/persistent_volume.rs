//! PersistentVolumes, and the volumes that VolumeAttachments name inline.

use serde_json::Value;

use super::claim::access_modes;
use super::devices::driver_name;
use super::diff::diff;
use super::node::node_selector_term_warnings;
use super::prelude::*;
use super::resources::quantity;
use super::selector::{node_selector, node_selector_bad_values};
use super::volumes::{self, each_required, required_secret};
use crate::equality::same;
use crate::kind::keep_old_at;
use crate::kinds::prepare::list_mut;
use crate::object_meta::{label_rule, subdomain_rule};

pub(crate) fn volume(obj: &Value, errors: &mut ErrorList) {
    checked(obj, false, errors);
}

fn checked(obj: &Value, allow_bad_values: bool, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    modes(spec, &path, errors);
    capacity(spec, &path.child("capacity"), errors);
    let at = path.child("persistentVolumeReclaimPolicy");
    if !spec.text("persistentVolumeReclaimPolicy").is_empty() {
        one_of(spec.text("persistentVolumeReclaimPolicy"), &["Delete", "Recycle", "Retain"], &at, errors);
    }
    if spec.has("nodeAffinity") {
        let path = path.child("nodeAffinity");
        match spec.at("nodeAffinity.required") {
            Value::Null => errors.required(&path.child("required"), "must specify required node constraints"),
            required => node_selector(required, allow_bad_values, &path.child("required"), errors),
        }
    }
    source(spec, crate::meta::name(obj), &path, errors);
    if spec.text("persistentVolumeReclaimPolicy") == "Recycle" && is_root(spec.text("hostPath.path")) {
        errors.forbidden(&at, "may not be 'recycle' for a hostPath mount of '/'");
    }
    let class = spec.text("storageClassName");
    if !class.is_empty() {
        errors.each_invalid(&path.child("storageClassName"), class, subdomain_rule(class, false));
    }
    optional_one_of(&spec["volumeMode"], &["Block", "Filesystem"], &path.child("volumeMode"), errors);
    attributes_class(spec, &path, errors);
}

fn modes(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("accessModes");
    if spec.list("accessModes").is_empty() {
        errors.required(&path, "");
    }
    access_modes(spec, &path, errors);
}

fn capacity(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let capacity = spec.map("capacity");
    if capacity.is_empty() {
        errors.required(path, "");
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.not_supported(path, spec["capacity"].clone(), &["storage"]);
    }
    for (name, amount) in capacity {
        let (at, amount) = (path.key(name), quantity(amount));
        if amount.sign() < 0 {
            errors.invalid(&at, amount.value(), "must be a valid resource quantity");
        }
        if amount.sign() <= 0 {
            errors.invalid(&at, amount.to_string(), "must be greater than zero");
        }
    }
}

/// Whether a path means the root directory.
fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."))
}

fn attributes_class(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(class) = spec["volumeAttributesClassName"].as_str() else { return };
    let at = path.child("volumeAttributesClassName");
    if class.is_empty() {
        errors.required(&at, "an empty string is disallowed");
    } else {
        errors.each_invalid(&at, class, subdomain_rule(class, false));
    }
    if !spec.has("csi") {
        errors.required(&path.child("csi"), "has to be specified when using volumeAttributesClassName");
    }
}

type Rule = fn(&Value, &Path<'_>, &mut ErrorList);

/// In the order in which upstream looks for them: the field, its names in paths of errors, its rule.
const SOURCES: &[(&str, &str, &str, Rule)] = &[
    ("hostPath", "hostPath", "hostPath", volumes::host_path),
    ("gcePersistentDisk", "gcePersistentDisk", "persistentDisk", |v, p, e| volumes::partitioned(v, "pdName", p, e)),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore", |v, p, e| {
        volumes::partitioned(v, "volumeID", p, e);
    }),
    ("glusterfs", "glusterfs", "glusterfs", glusterfs),
    ("flocker", "flocker", "flocker", volumes::flocker),
    ("nfs", "nfs", "nfs", volumes::nfs),
    ("rbd", "rbd", "rbd", volumes::rbd),
    ("quobyte", "quobyte", "quobyte", volumes::quobyte),
    ("cephfs", "cephFS", "cephfs", volumes::ceph_fs),
    ("iscsi", "iscsi", "iscsi", |v, p, e| volumes::iscsi(v, p, true, e)),
    ("cinder", "cinder", "cinder", cinder),
    ("fc", "fc", "fc", volumes::fibre_channel),
    ("flexVolume", "flexVolume", "flexVolume", volumes::flex),
    ("azureFile", "azureFile", "azureFile", azure_file),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume", |v, p, e| required(v, "volumePath", p, e)),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk", |v, p, e| required(v, "pdID", p, e)),
    ("portworxVolume", "portworxVolume", "portworxVolume", |v, p, e| required(v, "volumeID", p, e)),
    ("azureDisk", "azureDisk", "azureDisk", volumes::azure_disk),
    ("scaleIO", "scaleIO", "scaleIO", |v, p, e| each_required(v, &["gateway", "system", "volumeName"], p, e)),
    ("local", "local", "local", local),
    ("storageos", "storageos", "storageos", |v, p, e| volumes::storage_os(v, p, &["name", "namespace"], e)),
    ("csi", "csi", "csi", csi),
];

fn source(spec: &Value, name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let mut found = false;
    for (field, forbidden_at, checked_at, rule) in SOURCES.iter().filter(|(field, ..)| spec.has(field)) {
        // Upstream forgets to count a flex volume that is not the first.
        if found && *field != "flexVolume" {
            errors.forbidden(&path.child(forbidden_at), "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        let at = path.child(checked_at);
        if *field == "iscsi" {
            initiator(&spec["iscsi"], name, &at, errors);
        }
        rule(&spec[*field], &at, errors);
        if *field == "local" && !spec.has("nodeAffinity") {
            errors.required(&path.child("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if !found {
        errors.required(path, "must specify a volume type");
    }
}

fn glusterfs(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    each_required(value, &["endpoints", "path"], path, errors);
    let at = path.child("endpointsNamespace");
    match value["endpointsNamespace"].as_str() {
        Some("") => errors.invalid(&at, "", "if the endpointnamespace is set, it must be a valid namespace name"),
        Some(namespace) => errors.each_invalid(&at, namespace, label_rule(namespace, false)),
        None => {}
    }
}

fn initiator(value: &Value, name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let portal = value.text("targetPortal");
    if value.has("initiatorName") && name.len() + 1 + portal.len() > 64 {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                      iscsi.initiatorName is specified.";
        errors.invalid(&path.child("targetportal"), portal, detail);
    }
}

fn cinder(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    required(value, "volumeID", path, errors);
    volumes::secret_reference(value, &["name", "namespace"], path, errors);
}

fn azure_file(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    each_required(value, &["secretName", "shareName"], path, errors);
    if value["secretNamespace"] == "" {
        errors.required(&path.child("secretNamespace"), "");
    }
}

fn local(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match value.text("path") {
        "" => errors.required(&path.child("path"), ""),
        text => no_backsteps(text, &path.child("path"), errors),
    }
}

fn csi(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    volumes::csi_driver(value.text("driver"), &path.child("driver"), errors);
    required(value, "volumeHandle", path, errors);
    for field in
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"]
    {
        if value.has(field) {
            required_secret(&value[field], &path.child(field), errors);
        }
    }
}

pub(crate) fn volume_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    checked(obj, node_selector_bad_values(old.at("spec.nodeAffinity.required")), errors);
    let source = |volume: &Value| -> Value {
        let fields = SOURCES.iter().filter(|(field, ..)| volume["spec"].has(field));
        fields
            .map(|(field, ..)| ((*field).to_owned(), volume["spec"][*field].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let (mut new, was) = (source(obj), source(old));
    if was.has("csi") && !was.has("csi.controllerExpandSecretRef") && new.has("csi") {
        keep_old_at(&mut new, &was, "csi.controllerExpandSecretRef");
    }
    if !same(&new, &was) {
        let detail = format!("spec.persistentvolumesource is immutable after creation\n{}", diff(&was, &new));
        errors.forbidden(&Path::new("spec.persistentvolumesource"), detail);
    }
    immutable(obj.at("spec.volumeMode"), old.at("spec.volumeMode"), &Path::new("volumeMode"), errors);
    let affinity = obj.at("spec.nodeAffinity");
    if old.has("spec.nodeAffinity") && !same(affinity, &with_stable_labels(old.at("spec.nodeAffinity"), affinity)) {
        let detail = format!("{IMMUTABLE}, except for updating from beta label to GA");
        errors.invalid(&Path::new("nodeAffinity"), affinity.clone(), detail);
    }
    if old.has("spec.volumeAttributesClassName") && !obj.has("spec.volumeAttributesClassName") {
        let at = Path::new("spec.volumeAttributesClassName");
        errors.forbidden(&at, "update from non-nil value to nil is forbidden");
    }
}

/// The old affinity with labels under their stable names where the new one has them.
fn with_stable_labels(old: &Value, new: &Value) -> Value {
    let mut old = old.clone();
    for (i, term) in list_mut(&mut old, "required.nodeSelectorTerms").iter_mut().enumerate() {
        let new = new.list("required.nodeSelectorTerms").get(i).unwrap_or(&Value::Null);
        for field in ["matchExpressions", "matchFields"] {
            for (old, new) in list_mut(term, field).iter_mut().zip(new.list(field)) {
                // Upstream looks every label up, and takes an empty key for what is not found.
                let stable =
                    STABLE_LABELS.iter().find(|(beta, _)| old["key"] == *beta).map_or("", |(_, stable)| stable);
                if new.text("key") == stable {
                    old["key"] = stable.into();
                }
            }
        }
    }
    old
}

const STABLE_LABELS: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

pub(crate) fn volume_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
}

const OLD_ANNOTATIONS: [(&str, &str); 2] = [
    ("volume.beta.kubernetes.io/storage-class", "deprecated since v1.8; use \"storageClassName\" attribute instead"),
    ("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"),
];

const OLD_SOURCES: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub(crate) fn warnings(obj: &Value, _: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, why) in OLD_ANNOTATIONS {
        if obj.map("metadata.annotations").contains_key(key) {
            warnings.push(format!("metadata.annotations[{key}]: {why}"));
        }
    }
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    if spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
        let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic \
                   provisioning.";
        warnings.push(format!("{}: {why}", path.child("persistentVolumeReclaimPolicy")));
    }
    let terms = path.child("nodeAffinity.required.nodeSelectorTerms");
    for (i, term) in spec.list("nodeAffinity.required.nodeSelectorTerms").iter().enumerate() {
        node_selector_term_warnings(term, false, &terms.index(i), &mut warnings);
    }
    for (_, shown, why) in OLD_SOURCES.iter().filter(|(field, ..)| spec.has(field)) {
        warnings.push(format!("{}: {why}", path.child(shown)));
    }
    warnings
}

/// A volume that an attachment names inline (CSI migration of in-tree volumes).
fn inline(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let context = "in the context of inline volumes";
    let mut forbid = |field: &str| errors.forbidden(&path.child(field), format!("may not be specified {context}"));
    if spec.has("claimRef") {
        forbid("claimRef");
    }
    if !spec.map("capacity").is_empty() {
        forbid("capacity");
    }
    if !spec.has("csi") {
        errors.required(&path.child("csi"), format!("has to be specified {context}"));
    }
    modes(spec, path, errors);
    if !matches!(spec.text("persistentVolumeReclaimPolicy"), "" | "Retain") {
        errors.forbidden(&path.child("persistentVolumeReclaimPolicy"), format!("may only be Retain {context}"));
    }
    if spec.has("nodeAffinity") {
        errors.forbidden(&path.child("nodeAffinity"), format!("may not be specified {context}"));
    }
    source(spec, "", path, errors);
    if !spec.text("storageClassName").is_empty() {
        errors.forbidden(&path.child("storageClassName"), format!("may not be specified {context}"));
    }
    if spec.has("volumeMode") && spec.text("volumeMode") != "Filesystem" {
        let detail = format!("may not specify volumeMode other than Filesystem {context}");
        errors.forbidden(&path.child("volumeMode"), detail);
    }
}

const MAX_METADATA_SIZE: usize = 256 * 1024;
const MAX_MESSAGE_SIZE: usize = 1024;

pub(crate) fn attachment(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    attached(&spec["source"], &path.child("source"), errors);
    let node = spec.text("nodeName");
    errors.each_invalid(&path.child("nodeName"), node, subdomain_rule(node, false));
    let (status, path) = (&obj["status"], Path::new("status"));
    let size = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    if status.map("attachmentMetadata").iter().map(size).sum::<usize>() > MAX_METADATA_SIZE {
        errors.too_long(&path.child("attachmentMetadata"), MAX_METADATA_SIZE);
    }
    for field in ["attachError", "detachError"] {
        let at = path.child(field);
        if status[field].text("message").len() > MAX_MESSAGE_SIZE {
            errors.too_long(&at.child("message"), MAX_MESSAGE_SIZE);
        }
        if let Some(code) = status[field]["errorCode"].as_i64().filter(|code| *code < 0) {
            errors.invalid(&at.child("errorCode"), code, between(0, i64::from(i32::MAX)));
        }
    }
    if let Some(name) = spec.at("source.persistentVolumeName").as_str() {
        errors.each_invalid(&Path::new("spec.source.persistentVolumeName"), name, subdomain_rule(name, false));
    }
    declared_attacher(spec, errors);
}

fn attached(source: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (source["persistentVolumeName"].as_str(), source.has("inlineVolumeSpec")) {
        (None, false) => errors.required(path, detail),
        (Some(_), true) => errors.forbidden(path, detail),
        (Some(""), false) => {
            errors.required(&path.child("persistentVolumeName"), "must specify non empty persistentVolumeName");
        }
        (Some(_), false) => {}
        (None, true) => inline(&source["inlineVolumeSpec"], &path.child("inlineVolumeSpec"), errors),
    }
}

/// Declared, so upstream reports it last.
fn declared_attacher(spec: &Value, errors: &mut ErrorList) {
    driver_name(spec.text("attacher"), &Path::new("spec.attacher"), errors);
}

pub(crate) fn attachment_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    attachment(obj, errors);
    if !crate::equality::same_field(obj, old, "spec") {
        errors.0.retain(|error| error.field != "spec.attacher");
        // That one stands in the old place, too.
        if obj.text("spec.attacher").is_empty() {
            let mut rest = ErrorList::default();
            let after = errors.0.iter().position(|error| !error.field.starts_with("metadata"));
            rest.0 = errors.0.split_off(after.unwrap_or(errors.0.len()));
            errors.required(&Path::new("spec.attacher"), "");
            errors.extend(rest);
        }
        errors.invalid(&Path::new("spec"), Value::Null, IMMUTABLE);
    }
}
