//! What an audit policy must keep to (`k8s.io/apiserver/pkg/apis/audit/validation`).

use orlop_api::field::{ErrorList, Path};
use orlop_api::{Value, object_meta};

use super::policy::{GroupResources, Level, Policy, Rule, Stage};

pub(super) fn validate(policy: &Policy) -> ErrorList {
    let mut errors = ErrorList::default();
    stages(&policy.omit_stages, &Path::new("omitStages"), &mut errors);
    let path = Path::new("rules");
    for (i, one) in policy.rules.iter().enumerate() {
        rule(one, &path.index(i), &mut errors);
    }
    errors
}

fn rule(rule: &Rule, path: &Path<'_>, errors: &mut ErrorList) {
    let levels = Level::ALL.map(Level::name);
    match &*rule.level {
        "" => errors.required(&path.child("level"), ""),
        level if levels.contains(&level) => {}
        level => errors.not_supported(&path.child("level"), level, &levels),
    }
    let urls = path.child("nonResourceURLs");
    non_resource_urls(&rule.non_resource_urls, &urls, errors);
    for group in &rule.resources {
        group_resources(group, &path.child("resources"), errors);
    }
    stages(&rule.omit_stages, &path.child("omitStages"), errors);
    let concerns_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if concerns_resources && !rule.non_resource_urls.is_empty() {
        let why = "rules cannot apply to both regular resources and non-resource URLs";
        errors.invalid(&urls, rule.non_resource_urls.clone(), why);
    }
}

fn non_resource_urls(urls: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    for (i, url) in urls.iter().enumerate().filter(|(_, url)| *url != "*") {
        if !url.starts_with('/') {
            errors.invalid(&path.index(i), url.as_str(), "non-resource URL rules must begin with a '/' character");
        }
        if url.strip_suffix('*').unwrap_or(url).contains('*') {
            let why = "non-resource URL wildcards '*' must be the final character of the rule";
            errors.invalid(&path.index(i), url.as_str(), why);
        }
    }
}

fn group_resources(group: &GroupResources, path: &Path<'_>, errors: &mut ErrorList) {
    if !group.group.is_empty() && group.group != "*" {
        let broken = object_meta::subdomain_rule(&group.group, false);
        if !broken.is_empty() {
            errors.invalid(&path.child("group"), group.group.as_str(), broken.join(","));
        }
    }
    if !group.resource_names.is_empty() && group.resources.is_empty() {
        let why = "using resourceNames requires at least one resource";
        errors.invalid(&path.child("resourceNames"), group.resource_names.clone(), why);
    }
}

fn stages(stages: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    let allowed = Stage::ALL.map(Stage::name);
    for (i, stage) in stages.iter().enumerate().filter(|(_, stage)| !allowed.contains(&stage.as_str())) {
        errors.invalid(&path.index(i), stage.as_str(), format!("allowed stages are {}", allowed.join(",")));
    }
}

/// Fields that no policy has: a misspelled one makes a rule match more than it should.
pub(super) fn unknown_fields(document: &Value) -> Vec<String> {
    const POLICY: [&str; 6] = ["apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"];
    const RULE: [&str; 9] = [
        "level",
        "users",
        "userGroups",
        "verbs",
        "resources",
        "namespaces",
        "nonResourceURLs",
        "omitStages",
        "omitManagedFields",
    ];
    const RESOURCES: [&str; 3] = ["group", "resources", "resourceNames"];
    let mut found = strangers(document, &POLICY, "");
    for (i, rule) in document["rules"].as_array().into_iter().flatten().enumerate() {
        found.extend(strangers(rule, &RULE, &format!("rules[{i}].")));
        for (j, group) in rule["resources"].as_array().into_iter().flatten().enumerate() {
            found.extend(strangers(group, &RESOURCES, &format!("rules[{i}].resources[{j}].")));
        }
    }
    found
}

fn strangers(object: &Value, known: &[&str], prefix: &str) -> Vec<String> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(field, _)| !known.contains(&field.as_str())).map(|(field, _)| format!("{prefix}{field}")).collect()
}
