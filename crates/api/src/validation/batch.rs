//! Jobs and CronJobs.

use serde_json::Value;

use super::options::Options;
use super::pod_template::template;
use super::prelude::*;
use super::selector::label_selector;
use super::success_policy::success_policy;
use super::workloads::selects;
use crate::kinds::prepare::list_mut;
use crate::names;
use crate::object_meta::subdomain_rule;

/// Pods of an indexed Job that may run at once, and indexes of it that may fail.
const MAX_INDEXED: i64 = 100_000;
/// What is left of that once a Job with limits per index has more completions than [`MAX_INDEXED`].
const MAX_INDEXED_WHEN_MANY: i64 = 10_000;
const MAX_POLICY_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_MANAGED_BY_LENGTH: usize = 63;

pub(crate) fn job(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    generated_selector(obj, errors);
    job_spec(&obj["spec"], &Path::new("spec"), &Options::default(), errors);
    selector(&obj["spec"], errors);
    indexed_name(obj, errors);
}

pub(crate) fn job_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let path = Path::new("spec");
    let (new, was) = (&obj["spec"], &old["spec"]);
    job_spec(new, &path, &Options::of_changed(&was["template"], false), errors);
    selector(new, errors);
    completions(new, was, &path.child("completions"), errors);
    immutable(&new["selector"], &was["selector"], &path.child("selector"), errors);
    frozen_template(new, old, &path.child("template"), errors);
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        immutable(&new[field], &was[field], &path.child(field), errors);
    }
    indexed_name(obj, errors);
}

/// An indexed Job is scaled by changing completions and parallelism together (KEP 3715).
fn completions(new: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let count = &new["completions"];
    if new.text("completionMode") != "Indexed" {
        immutable(count, &old["completions"], path, errors);
    } else if !count.is_null() && *count != old["completions"] && *count != new["parallelism"] {
        errors.invalid(path, count.clone(), "can only be modified in tandem with spec.parallelism");
    }
}

/// Where its pods run may change while a Job that never started is suspended (KEP 2926).
fn frozen_template(new: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (template, mut was) = (&new["template"], old.at("spec.template").clone());
    if old.flag("spec.suspend") && !old.has("status.startTime") {
        for field in [
            "spec.affinity.nodeAffinity",
            "spec.nodeSelector",
            "spec.tolerations",
            "spec.schedulingGates",
            "metadata.annotations",
            "metadata.labels",
        ] {
            crate::kind::keep_old_at(&mut was, template, field);
        }
    }
    if old.flag("spec.suspend") {
        keep_resources(&mut was, template);
        return immutable(&template["spec"], &was["spec"], &path.child("spec"), errors);
    }
    immutable(template, &was, path, errors);
}

/// What the containers of a suspended Job ask for may change (KEP 5440).
fn keep_resources(was: &mut Value, template: &Value) {
    for list in ["spec.containers", "spec.initContainers"] {
        let (old, new) = (list_mut(was, list), template.list(list));
        if old.len() == new.len() {
            for (old, new) in old.iter_mut().zip(new).filter(|(old, new)| old["name"] == new["name"]) {
                crate::kind::keep_old_at(old, new, "resources");
            }
        }
    }
}

/// Of a CronJob: of its name when new, of its template when that has changed.
pub(crate) fn job_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let name = if old.is_none() { super::workloads::name_warning(obj) } else { None };
    name.into_iter().chain(super::workloads::template_warnings(obj, old)).collect()
}

pub(crate) fn cron_job_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let template = obj.at("spec.jobTemplate.spec.template");
    let path = Path::new("spec.jobTemplate.spec.template");
    let of_template = || super::pod_warnings::of_template(template, &path);
    let mut warnings: Vec<String> = match old {
        None => super::workloads::name_warning(obj).into_iter().chain(of_template()).collect(),
        Some(old) if old["metadata"]["generation"] != obj["metadata"]["generation"] => of_template(),
        Some(_) => Vec::new(),
    };
    if old.is_some() && obj.text("spec.schedule").contains("TZ") {
        let see = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/";
        warnings.push(format!(
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see {see} for more details"
        ));
    }
    warnings
}

fn generated_selector(obj: &Value, errors: &mut ErrorList) {
    if obj.flag("spec.manualSelector") || !obj.has("spec.selector") {
        return;
    }
    let (name, uid) = (crate::meta::name(obj), crate::meta::uid(obj));
    if uid.is_empty() {
        errors.required(&Path::new("metadata.uid"), "");
    }
    let path = Path::new("spec.template.metadata.labels");
    let labels = obj.at("spec.template.metadata.labels");
    let expected = [
        ("controller-uid", uid),
        ("job-name", name),
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
    ];
    for (key, value) in expected {
        match labels.get(key).and_then(Value::as_str) {
            None => errors.required(&path.key(key), format!("must be '{value}'")),
            Some(found) if found == value => {}
            Some(_) => errors.invalid(&path.key(key), labels.clone(), format!("must be '{value}'")),
        }
    }
    let expected: Value = expected.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    if selects(obj.at("spec.selector"), &expected) == Some(false) {
        errors.invalid(&Path::new("spec.selector"), obj.at("spec.selector").clone(), "`selector` not auto-generated");
    }
}

fn selector(spec: &Value, errors: &mut ErrorList) {
    let (selector, path) = (&spec["selector"], Path::new("spec.selector"));
    if selector.is_null() {
        errors.required(&path, "");
    }
    label_selector(selector, false, &path, errors);
    let labels = spec.at("template.metadata.labels");
    if selects(selector, labels).is_some_and(|selected| !selected || selector.is_null()) {
        let path = Path::new("spec.template.metadata.labels");
        errors.invalid(&path, labels.clone(), "`selector` does not match template `labels`");
    }
}

/// The greatest index must still make a host name.
fn indexed_name(obj: &Value, errors: &mut ErrorList) {
    let (name, completions) = (crate::meta::name(obj), obj.int("spec.completions"));
    if obj.text("spec.completionMode") != "Indexed" || completions <= 0 {
        return;
    }
    let host = format!("{name}-{}", completions - 1);
    if !names::dns1123_label(&host).is_empty() {
        let detail = format!("will not able to create pod with invalid DNS label: {host}");
        errors.invalid(&Path::new("metadata.name"), name, detail);
    }
}

/// `batch.JobSpec` without its selector, of Jobs and of CronJobs' templates.
fn job_spec(spec: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        non_negative(spec.int(field), &path.child(field), errors);
    }
    if spec.has("maxFailedIndexes") && !spec.has("backoffLimitPerIndex") {
        errors.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = spec["managedBy"].as_str() {
        domain_path(manager, &path.child("managedBy"), errors);
        if manager.len() > MAX_MANAGED_BY_LENGTH {
            errors.too_long(&path.child("managedBy"), MAX_MANAGED_BY_LENGTH);
        }
    }
    let at = path.child("completionMode");
    optional_one_of(&spec["completionMode"], &["NonIndexed", "Indexed"], &at, errors);
    match spec.text("completionMode") {
        "Indexed" => indexed(spec, path, errors),
        mode if mode == "NonIndexed" || !spec.has("completionMode") => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"].into_iter().filter(|field| spec.has(field)) {
                errors.invalid(&path.child(field), spec[field].clone(), "requires indexed completion mode");
            }
        }
        _ => {}
    }
    failure_policy(spec, &path.child("podFailurePolicy.rules"), errors);
    if spec.has("successPolicy") && spec.text("completionMode") != "Indexed" {
        let at = path.child("successPolicy");
        errors.invalid(&at, spec["successPolicy"].clone(), "requires indexed completion mode");
    } else if spec.has("successPolicy") {
        success_policy(spec, &path.child("successPolicy"), errors);
    }
    let policies: &[&str] = if spec.has("podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    optional_one_of(&spec["podReplacementPolicy"], policies, &path.child("podReplacementPolicy"), errors);
    template(&spec["template"], &path.child("template"), options, errors);
    let at = path.child("template.spec.restartPolicy");
    match spec.text("template.spec.restartPolicy") {
        "" | "Always" => errors.required(&at, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.has("podFailurePolicy") => {
            errors.invalid(&at, "OnFailure", "only \"Never\" is supported when podFailurePolicy is specified");
        }
        policy => one_of(policy, &["OnFailure", "Never"], &at, errors),
    }
}

fn indexed(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let number = |field: &str| spec[field].as_i64();
    let (completions, failed) = (number("completions"), number("maxFailedIndexes"));
    let parallelism = number("parallelism").unwrap_or_default();
    let (parallel_at, failed_at) = (path.child("parallelism"), path.child("maxFailedIndexes"));
    if completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    if parallelism > MAX_INDEXED {
        let detail = format!("must be less than or equal to {MAX_INDEXED} when completion mode is Indexed");
        errors.invalid(&parallel_at, parallelism, detail);
    }
    if let (Some(failed), Some(completions)) = (failed, completions)
        && failed > completions
    {
        errors.invalid(&failed_at, failed, "must be less than or equal to completions");
    }
    if let Some(failed) = failed.filter(|failed| *failed > MAX_INDEXED) {
        errors.invalid(&failed_at, failed, format!("must be less than or equal to {MAX_INDEXED}"));
    }
    if completions.is_none_or(|completions| completions <= MAX_INDEXED) || !spec.has("backoffLimitPerIndex") {
        return;
    }
    let detail = format!(
        "must be less than or equal to {MAX_INDEXED_WHEN_MANY} when completions are above {MAX_INDEXED} and used with \
         backoff limit per index"
    );
    if failed.is_none() {
        errors.required(&failed_at, format!("must be specified when completions is above {MAX_INDEXED}"));
    }
    if parallelism > MAX_INDEXED_WHEN_MANY {
        errors.invalid(&parallel_at, parallelism, detail.clone());
    }
    if let Some(failed) = failed.filter(|failed| *failed > MAX_INDEXED_WHEN_MANY) {
        errors.invalid(&failed_at, failed, detail);
    }
}

fn failure_policy(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let rules = spec.list("podFailurePolicy.rules");
    if rules.len() > MAX_POLICY_RULES {
        errors.too_many(path, rules.len(), MAX_POLICY_RULES);
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = path.index(i);
        let (action, at) = (rule.text("action"), path.child("action"));
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        match action {
            "" => errors.required(&at, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
            "FailIndex" if !spec.has("backoffLimitPerIndex") => {
                errors.invalid(&at, action, "requires the backoffLimitPerIndex to be set");
            }
            _ => one_of(action, &actions, &at, errors),
        }
        let conditions = rule.list("onPodConditions");
        if rule.has("onExitCodes") {
            exit_codes(spec, &rule["onExitCodes"], &path.child("onExitCodes"), errors);
        }
        let at = path.child("onPodConditions");
        if conditions.len() > MAX_POLICY_RULES {
            errors.too_many(&at, conditions.len(), MAX_POLICY_RULES);
        }
        for (i, condition) in conditions.iter().enumerate() {
            let at = at.index(i);
            qualified_name(condition.text("type"), &at.child("type"), errors);
            match condition.text("status") {
                "" => errors.required(&at.child("status"), "valid values: [\"False\" \"True\" \"Unknown\"]"),
                status => one_of(status, &["False", "True", "Unknown"], &at.child("status"), errors),
            }
        }
        // Upstream prints no value here.
        match (rule.has("onExitCodes"), conditions.is_empty()) {
            (true, false) => {
                let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
                errors.shown(ErrorType::Invalid, &path, detail, "");
            }
            (false, true) => {
                let detail = "specifying one of OnExitCodes and OnPodConditions is required";
                errors.shown(ErrorType::Invalid, &path, detail, "");
            }
            _ => {}
        }
    }
}

fn exit_codes(spec: &Value, codes: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match codes.text("operator") {
        "" => errors.required(&path.child("operator"), "valid values: [\"In\" \"NotIn\"]"),
        operator => one_of(operator, &["In", "NotIn"], &path.child("operator"), errors),
    }
    if let Some(name) = codes["containerName"].as_str() {
        let containers = ["template.spec.containers", "template.spec.initContainers"];
        if !containers.iter().any(|list| spec.list(list).iter().any(|container| container.text("name") == name)) {
            let detail = "must be one of the container or initContainer names in the pod template";
            errors.invalid(&path.child("containerName"), name, detail);
        }
    }
    let (values, at) = (codes.list("values"), path.child("values"));
    if values.is_empty() {
        errors.invalid(&at, codes["values"].clone(), "at least one value is required");
    } else if values.len() > MAX_EXIT_CODES {
        errors.too_many(&at, values.len(), MAX_EXIT_CODES);
    }
    for (i, value) in values.iter().enumerate() {
        if codes.text("operator") == "In" && value.as_i64() == Some(0) {
            errors.invalid(&at.index(i), 0, "must not be 0 for the In operator");
        }
        if values[..i].contains(value) {
            errors.duplicate(&at.index(i), value.clone());
        }
    }
    if values.windows(2).any(|pair| pair[0].as_i64() > pair[1].as_i64()) {
        errors.invalid(&at, values.to_vec(), "must be ordered");
    }
}

/// A Job's name gets eleven more characters.
const MAX_CRON_JOB_NAME_LENGTH: usize = 52;

pub(crate) fn cron_job(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    cron_job_spec(obj, None, errors);
    let name = crate::meta::name(obj);
    if name.len() > MAX_CRON_JOB_NAME_LENGTH {
        errors.invalid(&Path::new("metadata.name"), name, "must be no more than 52 characters");
    }
}

pub(crate) fn cron_job_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    cron_job_spec(obj, Some(old), errors);
}

fn cron_job_spec(obj: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let (schedule, at) = (spec.text("schedule"), path.child("schedule"));
    let had_zone = old.is_some_and(|old| old.text("spec.schedule").contains("TZ"));
    if let Err(why) = crate::cron::Schedule::parse(schedule)
        && !schedule.is_empty()
    {
        errors.invalid(&at, schedule, why);
    }
    if schedule.contains("TZ") {
        if !had_zone {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.invalid(&at, schedule, detail);
        } else if spec.has("timeZone") {
            errors.invalid(&at, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
        }
    }
    non_negative(spec.int("startingDeadlineSeconds"), &path.child("startingDeadlineSeconds"), errors);
    if spec.has("timeZone") && old.is_none_or(|old| *old.at("spec.timeZone") != spec["timeZone"]) {
        time_zone(spec.text("timeZone"), &path.child("timeZone"), errors);
    }
    match spec.text("concurrencyPolicy") {
        "" => errors.required(&path.child("concurrencyPolicy"), ""),
        policy => one_of(policy, &["Allow", "Forbid", "Replace"], &path.child("concurrencyPolicy"), errors),
    }
    job_template(&spec["jobTemplate"], old, &path.child("jobTemplate.spec"), errors);
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        non_negative(spec.int(field), &path.child(field), errors);
    }
    if schedule.is_empty() {
        errors.required(&at, "");
    }
}

/// An IANA name that this machine knows.
fn time_zone(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let is_part = |part: &str| {
        let fits = (1..=14).contains(&part.len()) && !part.starts_with('-') && !matches!(part, "." | "..");
        fits && part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b))
    };
    if name.is_empty() {
        errors.invalid(path, "", "timeZone must be nil or non-empty string");
    } else if !name.split('/').all(is_part) {
        errors.invalid(path, name, format!("unknown time zone {name}"));
    } else if name.eq_ignore_ascii_case("local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(path, name, detail);
    } else if let Err(why) = crate::cron::time_zone(name) {
        errors.invalid(path, name, why);
    }
}

fn job_template(value: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut ErrorList) {
    let options =
        old.map_or_else(Options::default, |old| Options::of_changed(old.at("spec.jobTemplate.spec.template"), false));
    let spec = &value["spec"];
    job_spec(spec, path, &options, errors);
    if spec.has("selector") {
        errors.invalid(&path.child("selector"), spec["selector"].clone(), "`selector` will be auto-generated");
    }
    if spec.flag("manualSelector") {
        errors.not_supported(&path.child("manualSelector"), true, &["nil", "false"]);
    }
}
