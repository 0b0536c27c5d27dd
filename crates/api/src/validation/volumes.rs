//! A pod's volumes: one source each, and what each source needs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::options::Options;
use super::prelude::*;
use super::{claim, projected};
use crate::names;
use crate::object_meta::subdomain_rule;
use crate::quantity::Quantity;

/// Volumes that mounts may name.
pub(crate) type Volumes<'a> = Vec<(&'a str, &'a Value)>;

/// Checks all volumes; the good ones come back.
pub(crate) fn volumes<'a>(
    spec: &'a Value,
    pod_name: &str,
    path: &Path<'_>,
    options: &Options,
    errors: &mut ErrorList,
) -> Volumes<'a> {
    let volumes = spec.list("volumes");
    let mut good: Volumes<'a> = Vec::with_capacity(volumes.len());
    for (i, volume) in volumes.iter().enumerate() {
        let (path, before) = (path.index(i), errors.0.len());
        let (name, name_path) = (volume.text("name"), path.child("name"));
        source(volume, pod_name, &path, options, errors);
        if name.is_empty() {
            errors.required(&name_path, "");
        } else {
            dns1123_label(name, &name_path, errors);
        }
        if good.iter().any(|(other, _)| *other == name) {
            errors.duplicate(&name_path, name);
        }
        if errors.0.len() == before {
            good.push((name, volume));
        }
        let claim = volume.text("persistentVolumeClaim.claimName");
        if !pod_name.is_empty() && is_ephemeral_claim(claim, pod_name, volumes) {
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&path.child("persistentVolumeClaim.claimName"), claim, detail);
        }
    }
    good
}

fn is_ephemeral_claim(claim: &str, pod_name: &str, volumes: &[Value]) -> bool {
    let Some(volume) = claim.strip_prefix(pod_name).and_then(|rest| rest.strip_prefix('-')) else { return false };
    volumes.iter().any(|v| v.has("ephemeral") && v.text("name") == volume)
}

/// A kind of volume: its field, the names upstream gives it in paths (some misspelt), and its rule.
struct Source {
    field: &'static str,
    forbidden_at: &'static str,
    checked_at: &'static str,
    rule: fn(&Value, &Path<'_>, &Options, &mut ErrorList),
}

const fn source_of(field: &'static str, rule: fn(&Value, &Path<'_>, &Options, &mut ErrorList)) -> Source {
    Source { field, forbidden_at: field, checked_at: field, rule }
}

/// In the order in which upstream looks for them.
const SOURCES: &[Source] = &[
    source_of("emptyDir", empty_dir),
    source_of("hostPath", |v, p, _, e| host_path(v, p, e)),
    source_of("gitRepo", git_repo),
    Source {
        checked_at: "persistentDisk",
        ..source_of("gcePersistentDisk", |v, p, _, e| partitioned(v, "pdName", p, e))
    },
    source_of("awsElasticBlockStore", |v, p, _, e| partitioned(v, "volumeID", p, e)),
    source_of("secret", |v, p, _, e| files(v, "secretName", p, e)),
    source_of("nfs", |v, p, _, e| nfs(v, p, e)),
    source_of("iscsi", |v, p, _, e| iscsi(v, p, false, e)),
    source_of("glusterfs", |v, p, _, e| each_required(v, &["endpoints", "path"], p, e)),
    source_of("flocker", |v, p, _, e| flocker(v, p, e)),
    source_of("persistentVolumeClaim", |v, p, _, e| required(v, "claimName", p, e)),
    source_of("rbd", |v, p, _, e| rbd(v, p, e)),
    source_of("cinder", cinder),
    Source { forbidden_at: "cephFS", ..source_of("cephfs", |v, p, _, e| ceph_fs(v, p, e)) },
    source_of("quobyte", |v, p, _, e| quobyte(v, p, e)),
    Source { forbidden_at: "downwarAPI", ..source_of("downwardAPI", |v, p, _, e| projected::downward_api(v, p, e)) },
    source_of("fc", |v, p, _, e| fibre_channel(v, p, e)),
    source_of("flexVolume", |v, p, _, e| flex(v, p, e)),
    source_of("configMap", |v, p, _, e| files(v, "name", p, e)),
    source_of("azureFile", |v, p, _, e| each_required(v, &["secretName", "shareName"], p, e)),
    source_of("vsphereVolume", |v, p, _, e| required(v, "volumePath", p, e)),
    source_of("photonPersistentDisk", |v, p, _, e| required(v, "pdID", p, e)),
    source_of("portworxVolume", |v, p, _, e| required(v, "volumeID", p, e)),
    source_of("azureDisk", |v, p, _, e| azure_disk(v, p, e)),
    source_of("storageos", |v, p, _, e| storage_os(v, p, &["name"], e)),
    source_of("projected", projected::projected),
    source_of("scaleIO", |v, p, _, e| each_required(v, &["gateway", "system", "volumeName"], p, e)),
    source_of("csi", csi),
    source_of("ephemeral", |v, p, _, e| claim::template(v, p, e)),
    source_of("image", image),
];

fn source(volume: &Value, pod_name: &str, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let name = volume.text("name");
    let mut found = false;
    for source in SOURCES.iter().filter(|s| volume.has(s.field)) {
        let value = &volume[source.field];
        if found {
            errors.forbidden(&path.child(source.forbidden_at), "may not specify more than 1 volume type");
        } else {
            (source.rule)(value, &path.child(source.checked_at), options, errors);
        }
        let portal = value.text("targetPortal");
        if source.field == "iscsi" && value.has("initiatorName") && name.len() + 1 + portal.len() > 64 {
            errors.invalid(&path.child("name"), name, ISCSI_TOO_LONG);
        }
        if source.field == "ephemeral" && !found && !pod_name.is_empty() && !name.is_empty() {
            let claim = format!("{pod_name}-{name}");
            for why in names::dns1123_subdomain(&claim) {
                errors.invalid(&path.child("name"), name, format!("PVC name {claim:?}: {why}"));
            }
        }
        found = true;
    }
    if !found {
        errors.required(path, "must specify a volume type");
    }
}

pub(crate) const ISCSI_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

pub(crate) fn each_required(value: &Value, fields: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    fields.iter().for_each(|field| required(value, field, path, errors));
}

/// Permission bits of a file.
pub(crate) fn mode(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(mode) = value.as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// Files made from the keys of a ConfigMap or Secret.
pub(crate) fn items(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("items");
    for (i, item) in value.list("items").iter().enumerate() {
        key_to_path(item, &path.index(i), errors);
    }
}

pub(crate) fn key_to_path(item: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    each_required(item, &["key", "path"], path, errors);
    non_reserved_path(item.text("path"), &path.child("path"), errors);
    mode(&item["mode"], &path.child("mode"), errors);
    id(&item["user"], &path.child("user"), errors);
}

fn empty_dir(value: &Value, path: &Path<'_>, _: &Options, errors: &mut ErrorList) {
    if Quantity::parse(value.text("sizeLimit")).is_ok_and(|q| q.sign() < 0) {
        errors.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
    if let Some(mode) = value["mode"].as_i64().filter(|mode| !(0..=0o1777).contains(mode)) {
        errors.invalid(&path.child("mode"), mode, "must be a number between 0 and 01777 (octal), both inclusive");
    }
}

pub(crate) fn host_path(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let host = value.text("path");
    if host.is_empty() {
        return errors.required(&path.child("path"), "");
    }
    no_backsteps(host, &path.child("path"), errors);
    let types = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    optional_one_of(&value["type"], &types, &path.child("type"), errors);
}

fn git_repo(value: &Value, path: &Path<'_>, _: &Options, errors: &mut ErrorList) {
    required(value, "repository", path, errors);
    descending_path(value.text("directory"), &path.child("directory"), errors);
}

pub(crate) fn partitioned(value: &Value, name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    required(value, name, path, errors);
    let partition = value.int("partition");
    if !(0..=255).contains(&partition) {
        errors.invalid(&path.child("partition"), partition, between(1, 255));
    }
}

fn files(value: &Value, name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    required(value, name, path, errors);
    mode(&value["defaultMode"], &path.child("defaultMode"), errors);
    id(&value["defaultUser"], &path.child("defaultUser"), errors);
    items(value, path, errors);
}

pub(crate) fn nfs(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    each_required(value, &["server", "path"], path, errors);
    if !value.text("path").starts_with('/') {
        errors.invalid(&path.child("path"), value.text("path"), "must be an absolute path");
    }
}

/// `persistent`: of a PersistentVolume.
pub(crate) fn iscsi(value: &Value, path: &Path<'_>, persistent: bool, errors: &mut ErrorList) {
    let unknown_prefix =
        if persistent { "must be valid format" } else { "must be valid format starting with iqn, eui, or naa" };
    required(value, "targetPortal", path, errors);
    if value.text("iqn").is_empty() {
        errors.required(&path.child("iqn"), "");
    } else {
        iscsi_name(value.text("iqn"), &path.child("iqn"), unknown_prefix, errors);
    }
    in_range(value.int("lun"), 0, 255, &path.child("lun"), errors);
    if (value.flag("chapAuthDiscovery") || value.flag("chapAuthSession")) && !value.has("secretRef") {
        errors.required(&path.child("secretRef"), "");
    }
    if persistent && value.has("secretRef") && value.text("secretRef.name").is_empty() {
        errors.required(&path.child("secretRef.name"), "");
    }
    if value.has("initiatorName") {
        iscsi_name(value.text("initiatorName"), &path.child("initiatorname"), unknown_prefix, errors);
    }
}

fn iscsi_name(name: &str, path: &Path<'_>, unknown_prefix: &str, errors: &mut ErrorList) {
    let is_id = |length: usize| {
        let mut chars = name[3..].chars();
        chars.next().is_some() && chars.clone().count() == length && chars.all(|c| c.is_ascii_alphanumeric())
    };
    let good = match name.get(..3) {
        Some("iqn") => name.match_indices("iqn.").any(|(at, _)| is_iqn(&name[at + 4..])),
        Some("eui") => is_id(16),
        Some("naa") => is_id(32),
        _ => return errors.invalid(path, name, unknown_prefix),
    };
    if !good {
        errors.invalid(path, name, "must be valid format");
    }
}

/// `2015-02.example.com:storage.kube`
fn is_iqn(text: &str) -> bool {
    let digits = |range| text.get(range).is_some_and(|d: &str| d.bytes().all(|b| b.is_ascii_digit()));
    let dated = digits(0..4) && text.get(4..5) == Some("-") && digits(5..7) && text.get(7..8) == Some(".");
    let Some((authority, target)) = text.get(8..).filter(|_| dated).and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    !authority.is_empty()
        && authority.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && !target.is_empty()
        && !target.contains([',', ';', '*', '&', '$', '|', ' ', '\t', '\n', '\r', '\x0c'])
}

pub(crate) fn flocker(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (name, uuid) = (value.text("datasetName"), value.text("datasetUUID"));
    if name.is_empty() && uuid.is_empty() {
        errors.required(path, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously");
    }
    if name.contains('/') {
        errors.invalid(&path.child("datasetName"), name, "must not contain '/'");
    }
}

pub(crate) fn rbd(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if value.list("monitors").is_empty() {
        errors.required(&path.child("monitors"), "");
    }
    required(value, "image", path, errors);
}

pub(crate) fn ceph_fs(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if value.list("monitors").is_empty() {
        errors.required(&path.child("monitors"), "");
    }
}

fn cinder(value: &Value, path: &Path<'_>, _: &Options, errors: &mut ErrorList) {
    required(value, "volumeID", path, errors);
    secret_reference(value, &["name"], path, errors);
}

/// A reference that must be complete if it stands at all.
pub(crate) fn secret_reference(value: &Value, fields: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    if value.has("secretRef") {
        each_required(&value["secretRef"], fields, &path.child("secretRef"), errors);
    }
}

/// A reference to a secret of any namespace.
pub(crate) fn required_secret(reference: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match reference.text("name") {
        "" => errors.required(&path.child("name"), ""),
        name => dns1123_subdomain(name, &path.child("name"), errors),
    }
    match reference.text("namespace") {
        "" => errors.required(&path.child("namespace"), ""),
        namespace => dns1123_label(namespace, &path.child("namespace"), errors),
    }
}

pub(crate) fn quobyte(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let detail = "must be a host:port pair or multiple pairs separated by commas";
    let registry = value.text("registry");
    if registry.is_empty() {
        errors.required(&path.child("registry"), detail);
    } else if value.text("tenant").len() >= 65 {
        errors.required(&path.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for _ in registry.split(',').filter(|pair| pair.matches(':').count() != 1 && !pair.contains("]:")) {
            errors.invalid(&path.child("registry"), registry, detail);
        }
    }
    required(value, "volume", path, errors);
}

pub(crate) fn fibre_channel(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let path_of_names = path.child("targetWWNs");
    let (names, ids) = (value.list("targetWWNs"), value.list("wwids"));
    if names.is_empty() && ids.is_empty() {
        errors.required(&path_of_names, "must specify either targetWWNs or wwids, but not both");
    }
    if !names.is_empty() && !ids.is_empty() {
        errors.invalid(&path_of_names, names.to_vec(), "targetWWNs and wwids can not be specified simultaneously");
    }
    if !names.is_empty() {
        match value["lun"].as_i64() {
            None => errors.required(&path.child("lun"), "lun is required if targetWWNs is specified"),
            Some(lun) => in_range(lun, 0, 255, &path.child("lun"), errors),
        }
    }
}

pub(crate) fn flex(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    required(value, "driver", path, errors);
    let path = path.child("options");
    for key in value.map("options").keys() {
        let namespace = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            errors.invalid(&path.key(key), key.as_str(), "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

pub(crate) fn azure_disk(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    each_required(value, &["diskName", "diskURI"], path, errors);
    optional_one_of(&value["cachingMode"], &["None", "ReadOnly", "ReadWrite"], &path.child("cachingMode"), errors);
    optional_one_of(&value["kind"], &["Dedicated", "Managed", "Shared"], &path.child("kind"), errors);
    let uri = value.text("diskURI");
    let (prefix, form) = match value.text("kind") {
        "" if !value.has("kind") => return,
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
    };
    if !uri.starts_with(prefix) {
        errors.not_supported(&path.child("diskURI"), uri, &[form]);
    }
}

/// `reference` lists the fields that a secret's reference must have.
pub(crate) fn storage_os(value: &Value, path: &Path<'_>, reference: &[&str], errors: &mut ErrorList) {
    if value.text("volumeName").is_empty() {
        errors.required(&path.child("volumeName"), "");
    } else {
        dns1123_label(value.text("volumeName"), &path.child("volumeName"), errors);
    }
    if !value.text("volumeNamespace").is_empty() {
        dns1123_label(value.text("volumeNamespace"), &path.child("volumeNamespace"), errors);
    }
    secret_reference(value, reference, path, errors);
}

fn csi(value: &Value, path: &Path<'_>, _: &Options, errors: &mut ErrorList) {
    csi_driver(value.text("driver"), &path.child("driver"), errors);
    if value.has("nodePublishSecretRef") {
        let name = value.text("nodePublishSecretRef.name");
        if name.is_empty() {
            errors.required(&path.child("nodePublishSecretRef.name"), "");
        } else {
            errors.each_invalid(&path.child("name"), name, subdomain_rule(name, false));
        }
    }
}

pub(crate) fn csi_driver(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > 63 {
        errors.too_long(path, 63);
    }
    errors.each_invalid(path, name, names::dns1123_subdomain(&name.to_lowercase()));
}

fn image(value: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    if !options.allow_empty_image_reference {
        required(value, "reference", path, errors);
    }
    pull_policy(value.text("pullPolicy"), &path.child("pullPolicy"), errors);
}

pub(crate) fn pull_policy(policy: &str, path: &Path<'_>, errors: &mut ErrorList) {
    match policy {
        "" => errors.required(path, ""),
        _ => one_of(policy, &["Always", "IfNotPresent", "Never"], path, errors),
    }
}

/// File paths already taken within one volume.
#[derive(Default)]
pub(crate) struct Taken<'a>(BTreeSet<&'a str>);

impl<'a> Taken<'a> {
    /// Whether the path was free; it no longer is.
    pub(crate) fn take(&mut self, path: &'a str) -> bool {
        self.0.insert(path)
    }
}
