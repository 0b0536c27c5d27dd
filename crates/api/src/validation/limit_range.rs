//! LimitRanges.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::prelude::*;
use super::resources::{container_resource_name, is_huge_pages, is_native, resource_name};
use crate::object_meta;
use crate::quantity::Quantity;
use crate::resource_list::ResourceList;

pub(crate) fn limit_range(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, object_meta::subdomain_rule, errors);
    let limits = obj.list("spec.limits");
    let path = Path::new("spec.limits");
    for (i, limit) in limits.iter().enumerate() {
        let (path, ty) = (path.index(i), limit.text("type"));
        limit_type(ty, &path.child("type"), errors);
        if limits[..i].iter().any(|before| before.text("type") == ty) {
            errors.duplicate(&path.child("type"), ty);
        }
        Item::read(limit, &path, errors).check(&path, errors);
    }
}

pub(crate) fn update(obj: &Value, _: &Value, errors: &mut ErrorList) {
    limit_range(obj, errors);
}

fn limit_type(ty: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let problems = crate::names::qualified_name(ty);
    if !problems.is_empty() {
        errors.each_invalid(path, ty, problems);
    } else if !ty.contains('/') && !matches!(ty, "Pod" | "Container" | "PersistentVolumeClaim") {
        errors.invalid(path, ty, "must be a standard limit type or fully qualified");
    }
}

/// What is said of one type, field by field.
struct Item(BTreeMap<&'static str, ResourceList>);

impl Item {
    /// Reads what counts, and reports names that cannot stand there.
    fn read(limit: &Value, path: &Path<'_>, errors: &mut ErrorList) -> Self {
        let ty = limit.text("type");
        let mut fields = BTreeMap::new();
        for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            let (path, list) = (path.child(field), ResourceList::read(limit.at(field)));
            if ty == "Pod" && field.starts_with("default") {
                if !list.is_empty() {
                    errors.forbidden(&path, "may not be specified when `type` is 'Pod'");
                }
                continue;
            }
            let rule = if matches!(ty, "Pod" | "Container") { container_resource_name } else { resource_name };
            list.names().for_each(|name| rule(name, &path.key(name), errors));
            fields.insert(field, list);
        }
        if ty == "PersistentVolumeClaim" && !["min", "max"].iter().any(|field| fields[field].get("storage").is_some()) {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            errors.required(&path.child("limits"), why);
        }
        Self(fields)
    }

    fn check(&self, path: &Path<'_>, errors: &mut ErrorList) {
        for name in self.0.values().flat_map(ResourceList::names).collect::<BTreeSet<_>>() {
            self.order(name, path, errors);
            self.ratio(name, &path.child("maxLimitRequestRatio").key(name), errors);
            let (default, request) = (self.get("default", name), self.get("defaultRequest", name));
            if (!is_native(name) || is_huge_pages(name))
                && let (Some(default), Some(request)) = (default, request)
                && default != request
            {
                let why = format!("default value {default} must equal to defaultRequest value {request} in {name}");
                errors.invalid(&path.child("defaultRequest").key(name), request.to_string(), why);
            }
        }
    }

    fn get(&self, field: &str, name: &str) -> Option<&Quantity> {
        self.0.get(field)?.get(name)
    }

    /// `min`, `defaultRequest`, `default` and `max` may not fall.
    fn order(&self, name: &str, path: &Path<'_>, errors: &mut ErrorList) {
        // The lower and the higher field, the field and the value that the error shows, and what the two are called.
        for (low, high, field, shown, words) in [
            ("min", "max", "min", "min", ["min", "max"]),
            ("min", "defaultRequest", "defaultRequest", "defaultRequest", ["min", "default request"]),
            ("defaultRequest", "max", "defaultRequest", "defaultRequest", ["default request", "max"]),
            ("defaultRequest", "default", "defaultRequest", "defaultRequest", ["default request", "default limit"]),
            ("min", "default", "default", "min", ["min", "default"]),
            ("default", "max", "default", "max", ["default", "max"]),
        ] {
            if let (Some(least), Some(most), Some(shown)) =
                (self.get(low, name), self.get(high, name), self.get(shown, name))
                && least > most
            {
                let why = format!("{} value {least} is greater than {} value {most}", words[0], words[1]);
                errors.invalid(&path.child(field).key(name), shown.to_string(), why);
            }
        }
    }

    fn ratio(&self, name: &str, path: &Path<'_>, errors: &mut ErrorList) {
        let Some(ratio) = self.get("maxLimitRequestRatio", name) else { return };
        if *ratio < Quantity::new(1, ratio.format()) {
            errors.invalid(path, ratio.to_string(), format!("ratio {ratio} is less than 1"));
        }
        if let (Some(least), Some(most)) = (self.get("min", name), self.get("max", name)) {
            let possible = most.as_f64() / least.as_f64();
            if ratio.as_f64() > possible {
                let possible = if possible.is_infinite() { "+Inf".to_owned() } else { format!("{possible:.6}") };
                errors.invalid(path, ratio.to_string(), format!("ratio {ratio} is greater than max/min = {possible}"));
            }
        }
    }
}
