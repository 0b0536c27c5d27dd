//! Volumes as a container sees them: mounts and block devices.

use std::collections::BTreeSet;

use serde_json::Value;

use super::prelude::*;
use super::volumes::Volumes;

pub(crate) fn mounts(container: &Value, volumes: &Volumes<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let devices = container.list("volumeDevices");
    let mut taken = BTreeSet::new();
    for (i, mount) in container.list("volumeMounts").iter().enumerate() {
        let at = path.index(i);
        let (name, mount_path) = (mount.text("name"), mount.text("mountPath"));
        let volume = volumes.iter().find(|(volume, _)| *volume == name).map(|(_, volume)| *volume);
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        }
        if volume.is_none() {
            errors.not_found(&at.child("name"), name);
        }
        if mount_path.is_empty() {
            errors.required(&at.child("mountPath"), "");
        }
        if !taken.insert(mount_path) {
            errors.invalid(&at.child("mountPath"), mount_path, "must be unique");
        }
        if devices.iter().any(|device| device.text("name") == name) {
            errors.invalid(&at.child("name"), name, "must not already exist in volumeDevices");
        }
        if devices.iter().any(|device| device.text("devicePath") == mount_path) {
            errors.invalid(&at.child("mountPath"), mount_path, "must not already exist as a path in volumeDevices");
        }
        sub_paths(mount, path, &at, errors);
        propagation(mount, container, &path.child("mountPropagation"), errors);
        recursive_read_only(mount, &path.child("recursiveReadOnly"), errors);
        bind_options(mount, volume, &at.child("bindMountOptions"), errors);
    }
}

/// `path` is the list's, at which upstream reports what is wrong with the sub path itself.
fn sub_paths(mount: &Value, path: &Path<'_>, at: &Path<'_>, errors: &mut ErrorList) {
    let (sub_path, expression) = (mount.text("subPath"), mount.text("subPathExpr"));
    if !sub_path.is_empty() {
        descending_path(sub_path, &path.child("subPath"), errors);
    }
    if !expression.is_empty() {
        if !sub_path.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(&at.child("subPathExpr"), expression, detail);
        }
        descending_path(expression, &path.child("subPathExpr"), errors);
    }
}

fn propagation(mount: &Value, container: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mode = &mount["mountPropagation"];
    optional_one_of(mode, &["Bidirectional", "HostToContainer", "None"], path, errors);
    if mode == "Bidirectional" && !container.flag("securityContext.privileged") {
        errors.forbidden(path, "Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive_read_only(mount: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match mount["recursiveReadOnly"].as_str() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !mount.flag("readOnly") {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if mount.has("mountPropagation") && mount.text("mountPropagation") != "None" {
                errors.forbidden(path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(other) => errors.not_supported(path, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn bind_options(mount: &Value, volume: Option<&Value>, path: &Path<'_>, errors: &mut ErrorList) {
    let options = mount.list("bindMountOptions");
    let mut taken = BTreeSet::new();
    for (i, option) in texts(mount, "bindMountOptions").enumerate() {
        let at = path.index(i);
        one_of(option, &["nodev", "noexec", "nosuid"], &at, errors);
        if !taken.insert(option) {
            errors.duplicate(&at, option);
        }
    }
    if !options.is_empty() && volume.is_some_and(|volume| volume.has("image")) {
        errors.invalid(path, options.to_vec(), "bindMountOptions may not be used with image volumes");
    }
}

pub(crate) fn devices(container: &Value, volumes: &Volumes<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let mounts = container.list("volumeMounts");
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (i, device) in container.list("volumeDevices").iter().enumerate() {
        let at = path.index(i);
        let (name, device_path) = (device.text("name"), device.text("devicePath"));
        let (name_at, path_at) = (at.child("name"), at.child("devicePath"));
        if name.is_empty() {
            errors.required(&name_at, "");
        }
        if names.contains(name) {
            errors.invalid(&name_at, name, "must be unique");
        }
        match volumes.iter().find(|(volume, _)| *volume == name) {
            None => errors.not_found(&name_at, name),
            Some((_, volume)) if volume.has("persistentVolumeClaim") || volume.has("ephemeral") => {}
            Some(_) => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&name_at, name, detail);
            }
        }
        if device_path.is_empty() {
            errors.required(&path_at, "");
        }
        if paths.contains(device_path) {
            errors.invalid(&path_at, device_path, "must be unique");
        }
        if has_backsteps(device_path) {
            errors.invalid(&path_at, device_path, "can not contain backsteps ('..')");
        } else {
            paths.insert(device_path);
        }
        if mounts.iter().any(|mount| mount.text("name") == name) {
            errors.invalid(&name_at, name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| mount.text("mountPath") == device_path) {
            errors.invalid(&path_at, device_path, "must not already exist as a path in volumeMounts");
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}
