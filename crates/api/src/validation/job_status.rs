//! What a Job's status may become, so that whoever manages Jobs keeps to what their clients count on (KEP 4368). Most
//! rules are asked only where what they speak of changes: a change of the spec may break them until the next sync.

use serde_json::Value;

use super::prelude::*;
use super::success_policy::{count_indexes, interval};
use crate::equality::same_field;
use crate::kinds::read::condition;

pub(crate) fn job_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let path = Path::new("status");
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        non_negative(obj["status"].int(field), &path.child(field), errors);
    }
    uncounted(&obj["status"], &path.child("uncountedTerminatedPods"), errors);
    let change = Change { obj, old, new: &obj["status"], was: &old["status"] };
    change.ends(&path, errors);
    change.completion(&path, errors);
    change.grounds(&path, errors);
    change.leftovers(&path, errors);
    change.indexes(&path, errors);
    change.running(&path, errors);
    change.contradictions(&path, errors);
    change.history(&path, errors);
}

/// Pods that ended, each once.
fn uncounted(status: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<&Value> = Vec::new();
    for field in ["succeeded", "failed"] {
        let at = path.child(field);
        for (i, uid) in status["uncountedTerminatedPods"].list(field).iter().enumerate() {
            if uid == "" {
                errors.invalid(&at.index(i), "", "must not be empty");
            } else if seen.contains(&uid) {
                errors.duplicate(&at.index(i), uid.clone());
            } else {
                seen.push(uid);
            }
        }
    }
}

struct Change<'a> {
    obj: &'a Value,
    old: &'a Value,
    /// The statuses of the two.
    new: &'a Value,
    was: &'a Value,
}

fn is(job: &Value, ty: &str) -> bool {
    condition(job, ty).is_some_and(|condition| condition["status"] == "True")
}

fn is_finished(job: &Value) -> bool {
    is(job, "Complete") || is(job, "Failed")
}

fn refuse(path: &Path<'_>, why: &str, errors: &mut ErrorList) {
    errors.shown(ErrorType::Invalid, &path.child("conditions"), why, "");
}

impl Change<'_> {
    fn is(&self, ty: &str) -> bool {
        is(self.obj, ty)
    }

    /// Whether the condition became true, or is true no more.
    fn turns(&self, ty: &str) -> bool {
        is(self.obj, ty) != is(self.old, ty)
    }

    fn sets(&self, field: &str) -> bool {
        !same_field(self.new, self.was, field)
    }

    /// Whether the Job is finished, and either is so now or the field is set now.
    fn finishes_with(&self, field: &str) -> bool {
        is_finished(self.obj) && (is_finished(self.old) != is_finished(self.obj) || self.sets(field))
    }

    /// A Job ends one way.
    fn ends(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let complete = self.is("Complete");
        if complete && self.is("Failed") && (self.turns("Complete") || self.turns("Failed")) {
            refuse(path, "cannot set Complete=True and Failed=true conditions", errors);
        }
        if complete && self.is("FailureTarget") && (self.turns("Complete") || self.turns("FailureTarget")) {
            refuse(path, "cannot set Complete=True and FailureTarget=true conditions", errors);
        }
    }

    /// A Job has a time of its completion when it is complete.
    fn completion(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let (at, time) = (path.child("completionTime"), &self.new["completionTime"]);
        let (has, complete) = (!time.is_null(), self.is("Complete"));
        if self.turns("Complete") || self.sets("completionTime") {
            if has && !complete {
                errors.invalid(&at, time.clone(), "cannot set completionTime when there is no Complete=True condition");
            }
            if !has && complete {
                errors.required(&at, "completionTime is required for Complete jobs");
            }
        }
        // Times of one form stand in the order of their texts.
        let start = &self.new["startTime"];
        let is_before = has && !start.is_null() && time.as_str() < start.as_str();
        if is_before && (self.sets("startTime") || self.sets("completionTime")) {
            errors.invalid(&at, time.clone(), "must be equal to or after `startTime`");
        }
    }

    /// What must be known before a Job ends.
    fn grounds(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let fails = self.turns("Failed") || self.sets("failedIndexes");
        if fails && self.is("Failed") && !self.is("FailureTarget") {
            refuse(path, "cannot set Failed=True condition without the FailureTarget=true condition", errors);
        }
        let completes = self.turns("Complete") || self.turns("SuccessCriteriaMet");
        if completes && self.is("Complete") && !self.is("SuccessCriteriaMet") {
            refuse(path, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition", errors);
        }
    }

    /// What a finished Job has no more.
    fn leftovers(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let active = self.new.int("active");
        if active > 0 && self.finishes_with("active") {
            errors.invalid(&path.child("active"), active, "active>0 is invalid for finished job");
        }
        let never_ran = self.obj.flag("spec.suspend") && self.obj.at("spec.completions") == 0;
        if self.new["startTime"].is_null() && self.finishes_with("startTime") && !never_ran {
            errors.required(&path.child("startTime"), "startTime is required for finished job");
        }
        let uncounted = &self.new["uncountedTerminatedPods"];
        let some = ["succeeded", "failed"].into_iter().any(|field| !uncounted.list(field).is_empty());
        if some && self.finishes_with("uncountedTerminatedPods") {
            let at = path.child("uncountedTerminatedPods");
            errors.invalid(&at, uncounted.clone(), "must be empty for finished job");
        }
    }

    /// Indexes are below the number of completions, and of one kind.
    fn indexes(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let (completed, failed) = (self.new.text("completedIndexes"), self.new["failedIndexes"].as_str());
        let (completed_at, failed_at) = (path.child("completedIndexes"), path.child("failedIndexes"));
        let (completes, fails) = (self.sets("completedIndexes"), self.sets("failedIndexes"));
        let completions = self.obj.at("spec.completions").as_i64();
        let has_limit = self.obj.has("spec.backoffLimitPerIndex");
        let check = |text: &str, at: &Path<'_>, field: &str, errors: &mut ErrorList| {
            if let Some(Err(why)) = completions.map(|completions| count_indexes(text, completions)) {
                errors.invalid(at, text, format!("error parsing {field}: {why}"));
            }
        };
        if completes {
            check(completed, &completed_at, "completedIndexes", errors);
        }
        if let Some(failed) = failed.filter(|_| fails && has_limit) {
            check(failed, &failed_at, "failedIndexes", errors);
        }
        if completes && !completed.is_empty() && self.obj.text("spec.completionMode") != "Indexed" {
            let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid(&completed_at, completed, why);
        }
        let Some(failed) = failed else { return };
        if fails && !has_limit {
            errors.invalid(&failed_at, failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
        }
        if completes || fails {
            let both = completions.and_then(|completions| overlap(completed, failed, completions));
            if let Some(index) = both {
                let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
                errors.invalid(&failed_at, failed, why);
            }
        }
    }

    /// What runs.
    fn running(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let (terminating, ready) = (self.new.int("terminating"), self.new.int("ready"));
        if terminating > 0 && self.finishes_with("terminating") {
            errors.invalid(&path.child("terminating"), terminating, "terminating>0 is invalid for finished job");
        }
        let says = self.new.has("ready") && (self.sets("ready") || self.sets("active"));
        if says && ready > self.new.int("active") {
            errors.invalid(&path.child("ready"), ready, "cannot set more ready pods than active");
        }
    }

    /// Conditions that never stand together.
    fn contradictions(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let met = self.is("SuccessCriteriaMet");
        if met && self.is("Failed") {
            refuse(path, "cannot set SuccessCriteriaMet=True and Failed=true conditions", errors);
        }
        if met && self.is("FailureTarget") {
            refuse(path, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions", errors);
        }
        if self.obj.has("spec.successPolicy") && !met && self.is("Complete") {
            let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            refuse(path, why, errors);
        }
    }

    /// What was said once stays.
    fn history(&self, path: &Path<'_>, errors: &mut ErrorList) {
        for ty in ["Failed", "Complete", "FailureTarget"] {
            if is(self.old, ty) && !self.is(ty) {
                refuse(path, &format!("cannot disable the terminal {ty}=True condition"), errors);
            }
        }
        let spec = &self.obj["spec"];
        // An indexed Job may be scaled down.
        let scales = spec.text("completionMode") == "Indexed" && spec["completions"] == spec["parallelism"];
        for field in ["failed", "succeeded"].into_iter().filter(|field| *field == "failed" || !scales) {
            if self.new.int(field) < self.was.int(field) {
                errors.invalid(&path.child(field), self.new.int(field), format!("cannot decrease the {field} counter"));
            }
        }
        let moves = |field: &str| !self.was[field].is_null() && self.sets(field);
        if moves("completionTime") && self.new.has("completionTime") {
            errors.invalid(&path.child("completionTime"), self.new["completionTime"].clone(), IMMUTABLE);
        }
        let resumes = is(self.old, "Suspended")
            && condition(self.obj, "Suspended").is_some_and(|condition| condition["status"] == "False");
        if moves("startTime") && !resumes && !spec.flag("suspend") {
            let why = "field is immutable for unsuspended job once set";
            errors.invalid(&path.child("startTime"), self.new["startTime"].clone(), why);
        }
        let (was_met, met) = (is(self.old, "SuccessCriteriaMet"), self.is("SuccessCriteriaMet"));
        if was_met && !met {
            refuse(path, "cannot disable the SuccessCriteriaMet=True condition", errors);
        }
        if is(self.old, "Complete") && !was_met && met {
            let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            refuse(path, why, errors);
        }
    }
}

/// The first index in both lists; what is no interval in them is left out.
fn overlap(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let intervals = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|text| interval(text, completions).ok()).collect()
    };
    let (completed, failed) = (intervals(completed), intervals(failed));
    let (mut completed, mut failed) = (completed.iter().peekable(), failed.iter().peekable());
    while let (Some((c, c_end)), Some((f, f_end))) = (completed.peek(), failed.peek()) {
        if c <= f_end && f <= c_end {
            return Some(*c.max(f));
        }
        if c <= f {
            completed.next()
        } else {
            failed.next()
        };
    }
    None
}
