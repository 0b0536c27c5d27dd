//! Who runs what.

use std::ffi::CString;

use serde_json::{Value, json};

use crate::plan::ProcessPlan;
use crate::spec::capabilities;

/// `process` of a specification, and what `exec --process` reads.
pub fn process(plan: &ProcessPlan, terminal: bool) -> Value {
    let granted = capabilities::names(plan.capabilities);
    let limits = plan.rlimits.iter().filter_map(|(resource, limits)| limit(*resource, *limits));
    let mut value = json!({
        "terminal": terminal,
        "user": { "uid": plan.uid, "gid": plan.gid, "additionalGids": plan.groups },
        "args": texts(&plan.args),
        "env": texts(&plan.env),
        "cwd": plan.cwd.to_string_lossy(),
        "capabilities": { "bounding": granted, "effective": granted, "permitted": granted },
        "noNewPrivileges": plan.no_new_privileges,
        "rlimits": limits.collect::<Vec<Value>>(),
    });
    if let Some(score) = plan.oom_score_adj {
        value["oomScoreAdj"] = permitted_score(score).into();
    }
    value
}

fn texts(list: &[CString]) -> Vec<String> {
    list.iter().map(|text| text.to_string_lossy().into_owned()).collect()
}

/// Lowering a score and raising a hard limit need CAP_SYS_RESOURCE. Our init does without where it is
/// missing; other runtimes fail, so they are asked only for what can be had.
fn may_raise() -> bool {
    capabilities::bit("SYS_RESOURCE").is_some_and(|bit| capabilities::available() & bit != 0)
}

fn permitted_score(score: i32) -> i32 {
    let own = || std::fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok();
    if may_raise() { score } else { own().map_or(score, |own: i32| score.max(own)) }
}

/// `None` for limits that no plan sets.
fn limit(resource: u32, (soft, hard): (u64, u64)) -> Option<Value> {
    if resource != libc::RLIMIT_NOFILE {
        return None;
    }
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let hard = if may_raise() { hard } else { own.map_or(hard, |own| hard.min(own)) };
    Some(json!({ "type": "RLIMIT_NOFILE", "soft": soft.min(hard), "hard": hard }))
}
