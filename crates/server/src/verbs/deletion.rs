//! What a DELETE does to one object, decided without I/O
//! (`k8s.io/apiserver/pkg/registry/rest/delete.go`, `registry/generic/registry/store.go`).

use orlop_api::kind::{Deletion, Kind};
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{Value, meta};
use orlop_base::clock;

use crate::options::{DeleteOptions, Propagation};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// The next step of a deletion.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// A deletion with no longer grace is under way; the object stays as it is.
    Pending,
    /// Write the marked object; `remove` says whether it goes right after.
    Mark {
        object: Value,
        remove: bool,
    },
    Remove,
}

/// Decides the step for `old` at `now` (Unix seconds).
pub fn decide(kind: &dyn Kind, old: &Value, options: &DeleteOptions, now: i64) -> Result<Step, StatusError> {
    check_preconditions(kind, old, options)?;
    let grace = match kind.deletion() {
        Deletion::Immediate => Grace::None,
        Deletion::Graceful => plan_grace(old, options, now),
    };
    if grace == Grace::Pending {
        return Ok(Step::Pending);
    }
    let finalizers = finalizers_after(kind, old, options);
    let held = match &finalizers {
        Some(changed) => !changed.is_empty(),
        None => !finalizers_of(old).is_empty(),
    };
    if grace == Grace::None && !held {
        return Ok(Step::Remove);
    }
    let mut object = old.clone();
    if let Some(changed) = &finalizers {
        set_finalizers(&mut object, changed);
    }
    bump_generation_once(&mut object, old);
    match grace {
        Grace::Until { deadline, seconds } => {
            set_deadline(&mut object, deadline, seconds);
            Ok(Step::Mark { object, remove: !held && seconds == 0 })
        }
        _ => {
            let set = parse_time(meta::get(old, "deletionTimestamp"));
            set_deadline(&mut object, set.map_or(now, |at| at.min(now)), 0);
            Ok(Step::Mark { object, remove: false })
        }
    }
}

/// Whether an update that empties the finalizers is the last word on a deleted object.
pub fn removes(object: &Value, old: &Value) -> bool {
    finalizers_of(object).is_empty()
        && meta::is_terminating(old)
        && old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}

/// A kind that keeps a deleted object by its own rule (Namespaces): marked, with the garbage
/// collector's finalizers as the options say.
pub fn mark_held(kind: &dyn Kind, mut object: Value, options: &DeleteOptions, now: i64) -> Value {
    meta::set(&mut object, "deletionTimestamp", clock::format_seconds(now));
    if let Some(changed) = finalizers_after(kind, &object, options) {
        set_finalizers(&mut object, &changed);
    }
    object
}

/// uid and resourceVersion of the options against the record.
pub fn check_preconditions(kind: &dyn Kind, old: &Value, options: &DeleteOptions) -> Result<(), StatusError> {
    let info = kind.info();
    // Of the kind as which it is stored.
    let group = info.storage_version.split_once('/').map_or(&*info.group, |(group, _)| group);
    let subject = GroupResource { group, resource: &info.kind };
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != meta::uid(old)) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            meta::uid(old)
        );
        return Err(StatusError::conflict(subject, meta::name(old), &why));
    }
    if let Some(version) = options.resource_version.as_deref().filter(|v| *v != meta::resource_version(old)) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The \
             object might have been modified",
            meta::resource_version(old)
        );
        return Err(StatusError::conflict(subject, meta::name(old), &why));
    }
    Ok(())
}

/// The same, for a kind that keeps a deleted object by its own rule.
pub fn check_held_preconditions(kind: &dyn Kind, old: &Value, options: &DeleteOptions) -> Result<(), StatusError> {
    let info = kind.info();
    let subject = GroupResource { group: &info.group, resource: &info.plural };
    for (what, wanted, found) in [
        ("UID", &options.uid, meta::uid(old)),
        ("ResourceVersion", &options.resource_version, meta::resource_version(old)),
    ] {
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
            return Err(StatusError::conflict(subject, meta::name(old), &why));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grace {
    None,
    Pending,
    Until { deadline: i64, seconds: i64 },
}

fn plan_grace(old: &Value, options: &DeleteOptions, now: i64) -> Grace {
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    if !meta::is_terminating(old) {
        let seconds = first_grace(old, asked);
        return Grace::Until { deadline: now + seconds, seconds };
    }
    let running = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let running = if running < 0 { 1 } else { running };
    match asked {
        _ if running == 0 => Grace::None,
        Some(seconds) if seconds < running => {
            let deadline = parse_time(meta::get(old, "deletionTimestamp")).unwrap_or(now) - running + seconds;
            if deadline >= now {
                Grace::Until { deadline, seconds }
            } else {
                // The whole grace has passed: as short as possible, but still graceful unless 0 was asked.
                Grace::Until { deadline: now, seconds: seconds.min(1) }
            }
        }
        _ => Grace::Pending,
    }
}

/// `CheckGracefulDelete` of pods: unscheduled and finished ones have nothing to wait for.
fn first_grace(old: &Value, asked: Option<i64>) -> i64 {
    let seconds = asked.or_else(|| old["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(0);
    let unscheduled = old["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let finished = matches!(old["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    match seconds {
        _ if unscheduled || finished => 0,
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

fn parse_time(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

fn set_deadline(object: &mut Value, deadline: i64, seconds: i64) {
    meta::set(object, "deletionTimestamp", clock::format_seconds(deadline));
    meta::set(object, "deletionGracePeriodSeconds", seconds);
}

/// The first deletion mark counts as a change of what is wanted.
fn bump_generation_once(object: &mut Value, old: &Value) {
    let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
    if generation > 0 && !meta::is_terminating(old) {
        meta::set(object, "generation", generation + 1);
    }
}

fn finalizers_of(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    if finalizers.is_empty() {
        meta::remove(object, "finalizers");
    } else {
        meta::set(object, "finalizers", finalizers.to_vec());
    }
}

/// The garbage collector's finalizers put in or taken out, when that changes anything.
fn finalizers_after(kind: &dyn Kind, old: &Value, options: &DeleteOptions) -> Option<Vec<String>> {
    let current = finalizers_of(old);
    let wanted = wanted_finalizer(kind, &current, options);
    let mut after: Vec<String> =
        current.iter().filter(|f| !matches!(**f, ORPHAN | FOREGROUND)).map(|f| (*f).to_owned()).collect();
    after.extend(wanted.map(str::to_owned));
    let same = after.len() == current.len() && after.iter().all(|f| current.contains(&f.as_str()));
    (!same).then_some(after)
}

/// Options first, then what stands on the object, then the kind's default.
fn wanted_finalizer(kind: &dyn Kind, current: &[&str], options: &DeleteOptions) -> Option<&'static str> {
    if !kind.may_own() {
        return None;
    }
    if let Some(orphan) = options.orphan_dependents {
        return orphan.then_some(ORPHAN);
    }
    if let Some(policy) = options.propagation {
        return match policy {
            Propagation::Orphan => Some(ORPHAN),
            Propagation::Foreground => Some(FOREGROUND),
            Propagation::Background => None,
        };
    }
    match current.iter().find(|f| matches!(**f, ORPHAN | FOREGROUND)) {
        Some(&ORPHAN) => Some(ORPHAN),
        Some(_) => Some(FOREGROUND),
        None => kind.orphans_by_default().then_some(ORPHAN),
    }
}

#[cfg(test)]
mod tests {
    use orlop_api::kinds;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn kind(plural: &str) -> &'static dyn Kind {
        let (group, plural) = plural.split_once('/').unwrap_or(("", plural));
        kinds::by_resource(group, "v1", plural).unwrap()
    }

    fn pod(node: &str, extra: Value) -> Value {
        let mut pod = json!({"metadata": {"name": "p", "uid": "u", "generation": 1},
            "spec": {"terminationGracePeriodSeconds": 30, "nodeName": node}});
        for (key, value) in extra.as_object().into_iter().flatten() {
            pod["metadata"][key] = value.clone();
        }
        pod
    }

    fn grace(seconds: i64) -> DeleteOptions {
        DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
    }

    /// deadline relative to now, grace, removed at once.
    fn outcome(old: &Value, options: &DeleteOptions) -> Option<(i64, i64, bool)> {
        match decide(kind("pods"), old, options, NOW).unwrap() {
            Step::Mark { object, remove } => {
                let at = parse_time(meta::get(&object, "deletionTimestamp")).unwrap();
                Some((at - NOW, object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap(), remove))
            }
            _ => None,
        }
    }

    #[test]
    fn pods_get_their_grace() {
        let at = |offset: i64| clock::format_seconds(NOW + offset);
        let none = DeleteOptions::default();
        let running = pod("n", json!({}));
        assert_eq!(outcome(&running, &none), Some((30, 30, false)));
        assert_eq!(outcome(&running, &grace(5)), Some((5, 5, false)));
        assert_eq!(outcome(&running, &grace(-3)), Some((1, 1, false)));
        assert_eq!(outcome(&running, &grace(0)), Some((0, 0, true)));
        assert_eq!(outcome(&pod("", json!({})), &none), Some((0, 0, true)));
        let leaving = pod("n", json!({"deletionTimestamp": at(20), "deletionGracePeriodSeconds": 30}));
        assert_eq!(outcome(&leaving, &none), None);
        assert_eq!(decide(kind("pods"), &leaving, &grace(40), NOW).unwrap(), Step::Pending);
        assert_eq!(outcome(&leaving, &grace(15)), Some((5, 15, false)));
        assert_eq!(outcome(&leaving, &grace(3)), Some((0, 1, false)));
        assert_eq!(outcome(&leaving, &grace(0)), Some((0, 0, true)));
        let last = pod("n", json!({"deletionTimestamp": at(-5), "deletionGracePeriodSeconds": 0}));
        assert_eq!(decide(kind("pods"), &last, &grace(0), NOW).unwrap(), Step::Remove);
    }

    #[test]
    fn the_first_mark_bumps_the_generation() {
        let Step::Mark { object, .. } = decide(kind("pods"), &pod("n", json!({})), &grace(1), NOW).unwrap() else {
            panic!("marked")
        };
        assert_eq!(object["metadata"]["generation"], 2);
    }

    #[test]
    fn finalizers_hold_and_propagation_adds_them() {
        let plain = json!({"metadata": {"name": "c"}});
        let held = json!({"metadata": {"name": "c", "finalizers": ["x/y"]}});
        let with = |propagation| DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let finalizers =
            |old: &Value, options: &DeleteOptions| match decide(kind("configmaps"), old, options, NOW).unwrap() {
                Step::Mark { object, remove: false } => object["metadata"]["finalizers"].clone(),
                other => json!(format!("{other:?}")),
            };
        assert_eq!(decide(kind("configmaps"), &plain, &DeleteOptions::default(), NOW).unwrap(), Step::Remove);
        assert_eq!(finalizers(&held, &DeleteOptions::default()), json!(["x/y"]));
        assert_eq!(finalizers(&plain, &with(Propagation::Orphan)), json!(["orphan"]));
        assert_eq!(finalizers(&held, &with(Propagation::Foreground)), json!(["x/y", "foregroundDeletion"]));
        let foreground = json!({"metadata": {"name": "c", "finalizers": ["foregroundDeletion"]}});
        assert_eq!(decide(kind("configmaps"), &foreground, &with(Propagation::Background), NOW).unwrap(), Step::Remove);
        // Events own nothing.
        assert_eq!(decide(kind("events"), &plain, &with(Propagation::Orphan), NOW).unwrap(), Step::Remove);
    }

    #[test]
    fn preconditions_in_upstreams_words() {
        let old = json!({"metadata": {"name": "c", "uid": "a"}});
        let options = DeleteOptions { uid: Some("b".into()), ..DeleteOptions::default() };
        assert_eq!(
            decide(kind("configmaps"), &old, &options, NOW).unwrap_err().message,
            "Operation cannot be fulfilled on ConfigMap \"c\": the UID in the precondition (b) does not match the UID in \
             record (a). The object might have been deleted and then recreated"
        );
    }
}
