use serde_json::{Value, json};

use super::controller;
use crate::common::fixture::{body, decide, events};

/// Two pods wanted at a time, three in all: one has succeeded and is counted, two run.
pub const CONVERGED: &str = "
kind: Job
metadata: {name: sum, generation: 1}
spec:
  parallelism: 2
  completions: 3
  backoffLimit: 2
  selector: {matchLabels: {job: sum}}
  template: {metadata: {labels: {job: sum}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}
status: {active: 2, ready: 1, succeeded: 1, terminating: 0, startTime: '2026-01-01T11:00:00Z', uncountedTerminatedPods: {}}
---
kind: Pod
metadata: {name: one, labels: {job: sum}, ownerReferences: [{apiVersion: batch/v1, kind: Job, name: sum, uid: sum, controller: true}]}
status: {phase: Succeeded}
---
kind: Pod
metadata: {name: two, labels: {job: sum}, finalizers: [batch.kubernetes.io/job-tracking], ownerReferences: [{apiVersion: batch/v1, kind: Job, name: sum, uid: sum, controller: true}]}
status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
kind: Pod
metadata: {name: three, labels: {job: sum}, finalizers: [batch.kubernetes.io/job-tracking], ownerReferences: [{apiVersion: batch/v1, kind: Job, name: sum, uid: sum, controller: true}]}
status: {phase: Pending}
";

const STATUS: &str = "update jobs/status d/sum";
const OWNED: &str = "ownerReferences: [{apiVersion: batch/v1, kind: Job, name: sum, uid: sum, controller: true}]";

fn job(spec: &str, status: &str) -> String {
    format!(
        "
kind: Job
metadata: {{name: sum, generation: 1}}
spec: {{selector: {{matchLabels: {{job: sum}}}}, {spec}, template: {{metadata: {{labels: {{job: sum}}}}, spec: {{restartPolicy: Never, containers: [{{name: c, image: i}}]}}}}}}
status: {{terminating: 0, ready: 0, startTime: '2026-01-01T11:00:00Z', uncountedTerminatedPods: {{}}, {status}}}
"
    )
}

fn pod(name: &str, meta: &str, status: &str) -> String {
    format!(
        "---\nkind: Pod\nmetadata: {{name: {name}, labels: {{job: sum}}, {OWNED}, {meta}}}\nspec: {{containers: []}}\nstatus: {{{status}}}\n"
    )
}

fn tracked(name: &str, status: &str) -> String {
    pod(name, "finalizers: [batch.kubernetes.io/job-tracking]", status)
}

fn indexed(name: &str, index: u32, annotations: &str, status: &str) -> String {
    let meta = format!(
        "finalizers: [batch.kubernetes.io/job-tracking], annotations: {{batch.kubernetes.io/job-completion-index: '{index}'{annotations}}}"
    );
    pod(name, &meta, status)
}

fn lines(yaml: &str) -> Vec<String> {
    decide(&controller(), "d/sum", yaml).lines()
}

fn status(yaml: &str) -> Value {
    body(&decide(&controller(), "d/sum", yaml), STATUS)["status"].clone()
}

fn conditions(status: &Value) -> Vec<(&str, &str)> {
    let all = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|c| (c["type"].as_str().unwrap(), c["reason"].as_str().unwrap())).collect()
}

const FAILED: &str =
    "phase: Failed, conditions: [{type: Ready, status: 'False', lastTransitionTime: '2026-01-01T11:59:55Z'}]";

#[test]
fn missing_pods_are_made_and_tracked() {
    let yaml = job("parallelism: 2, completions: 3, backoffLimit: 6", "succeeded: 2");
    let plan = decide(&controller(), "d/sum", &yaml);
    assert_eq!(plan.lines(), ["create pods d/sum-*", STATUS], "one is left to do");
    assert_eq!(events(&plan), ["Normal SuccessfulCreate: Created pod: {name}"]);
    let made = body(&plan, "create pods d/sum-*");
    assert_eq!(made["metadata"]["finalizers"], json!(["batch.kubernetes.io/job-tracking"]));
    assert_eq!(body(&plan, STATUS)["status"]["active"], 1);
    assert_eq!(status(&job("parallelism: 1", "")), status(&job("parallelism: 1", "")), "stable");
}

#[test]
fn a_pod_that_ends_is_written_down_then_let_go_then_counted() {
    let spec = "parallelism: 1, completions: 2, backoffLimit: 6";
    let plan = decide(&controller(), "d/sum", &(job(spec, "") + &tracked("a", "phase: Succeeded")));
    assert_eq!(plan.lines(), ["create pods d/sum-*", STATUS, "patch pods d/a"]);
    assert_eq!(body(&plan, STATUS)["status"]["uncountedTerminatedPods"], json!({"succeeded": ["a"]}));
    let patch =
        json!({"metadata": {"uid": "a", "$deleteFromPrimitiveList/finalizers": ["batch.kubernetes.io/job-tracking"]}});
    assert_eq!(body(&plan, "patch pods d/a"), patch);
    let written = "uncountedTerminatedPods: {succeeded: [a]}";
    let told = job(spec, "").replace("uncountedTerminatedPods: {}", written);
    assert_eq!(lines(&(told.clone() + &tracked("a", "phase: Succeeded")))[2..], ["patch pods d/a"]);
    let counted = status(&(told + &pod("a", "uid: a", "phase: Succeeded")));
    assert_eq!((&counted["succeeded"], &counted["uncountedTerminatedPods"]), (&json!(1), &json!({})));
}

#[test]
fn enough_successes_complete_the_job() {
    let spec = "parallelism: 1, completions: 1, backoffLimit: 6";
    let first = decide(&controller(), "d/sum", &(job(spec, "") + &tracked("a", "phase: Succeeded")));
    assert_eq!(conditions(&body(&first, STATUS)["status"]), [("SuccessCriteriaMet", "CompletionsReached")]);
    assert!(events(&first).is_empty());
    let met = "uncountedTerminatedPods: {succeeded: [a]}, conditions: [{type: SuccessCriteriaMet, status: 'True', reason: CompletionsReached, message: Reached expected number of succeeded pods}]";
    let yaml = job(spec, "").replace("uncountedTerminatedPods: {}", met) + &pod("a", "uid: a", "phase: Succeeded");
    let last = decide(&controller(), "d/sum", &yaml);
    let told = &body(&last, STATUS)["status"];
    let reason = "CompletionsReached";
    assert_eq!(conditions(told), [("SuccessCriteriaMet", reason), ("Complete", reason)]);
    assert_eq!((&told["succeeded"], &told["completionTime"]), (&json!(1), &json!("2026-01-01T12:00:00Z")));
    assert_eq!(events(&last), ["Normal Completed: Job completed"]);
}

#[test]
fn failures_are_waited_out_and_end_the_job_when_too_many() {
    let spec = "parallelism: 1, completions: 1, backoffLimit: 1";
    let yaml = job(spec, "failed: 1") + &pod("a", "uid: a", FAILED);
    assert_eq!(lines(&yaml), ["wake 2026-01-01T12:00:05Z"], "10 s after the failure");
    let again = yaml + &tracked("b", FAILED);
    let plan = decide(&controller(), "d/sum", &again);
    assert_eq!(plan.lines(), [STATUS, "patch pods d/b"]);
    assert_eq!(conditions(&body(&plan, STATUS)["status"]), [("FailureTarget", "BackoffLimitExceeded")]);
    let target = "failed: 2, conditions: [{type: FailureTarget, status: 'True', reason: BackoffLimitExceeded, message: Job has reached the specified backoff limit}]";
    let last = decide(&controller(), "d/sum", &(job(spec, target) + &pod("b", "uid: b", FAILED)));
    let reason = "BackoffLimitExceeded";
    assert_eq!(conditions(&body(&last, STATUS)["status"]), [("FailureTarget", reason), ("Failed", reason)]);
    assert_eq!(events(&last), ["Warning BackoffLimitExceeded: Job has reached the specified backoff limit"]);
}

#[test]
fn a_deadline_stops_what_runs() {
    let spec = "parallelism: 1, completions: 1, activeDeadlineSeconds: 3600";
    let plan = decide(&controller(), "d/sum", &(job(spec, "active: 1") + &tracked("a", "phase: Running")));
    assert_eq!(plan.lines(), ["delete pods d/a", STATUS, "patch pods d/a"]);
    let told = &body(&plan, STATUS)["status"];
    assert_eq!(conditions(told), [("FailureTarget", "DeadlineExceeded")]);
    assert_eq!((&told["active"], &told["terminating"]), (&json!(null), &json!(1)));
    let before = spec.replace("3600", "3700");
    let waits = lines(&(job(&before, "active: 1") + &tracked("a", "phase: Running")));
    assert_eq!(waits, ["wake 2026-01-01T12:01:40Z"]);
}

#[test]
fn suspending_removes_pods_without_counting_them() {
    let spec = "parallelism: 1, completions: 1, suspend: true";
    let plan = decide(&controller(), "d/sum", &(job(spec, "active: 1") + &tracked("a", "phase: Running")));
    assert_eq!(plan.lines()[..3], ["patch pods d/a", "delete pods d/a", STATUS]);
    let told = &body(&plan, STATUS)["status"];
    assert_eq!((conditions(told), &told["startTime"]), (vec![("Suspended", "JobSuspended")], &json!(null)));
    assert_eq!(events(&plan)[1], "Normal Suspended: Job suspended");
    let suspended = "conditions: [{type: Suspended, status: 'True', reason: JobSuspended, message: Job suspended}]";
    let resumed = decide(&controller(), "d/sum", &job("parallelism: 1, completions: 1, suspend: false", suspended));
    assert_eq!(resumed.lines()[..2], ["create pods d/sum-*", STATUS]);
    assert_eq!(events(&resumed)[1], "Normal Resumed: Job resumed");
    assert_eq!(body(&resumed, STATUS)["status"]["startTime"], "2026-01-01T12:00:00Z");
}

const INDEXED: &str = "completionMode: Indexed, parallelism: 3, completions: 4, backoffLimit: 6";

#[test]
fn indexed_pods_know_their_index() {
    let yaml = job(INDEXED, "completedIndexes: '1', succeeded: 1") + &indexed("a", 2, "", "phase: Running");
    let plan = decide(&controller(), "d/sum", &yaml);
    assert_eq!(plan.lines()[..2], ["create pods d/sum-0-*", "create pods d/sum-3-*"]);
    let made = body(&plan, "create pods d/sum-3-*");
    let index = json!({"batch.kubernetes.io/job-completion-index": "3"});
    assert_eq!(made["metadata"]["annotations"], index);
    assert_eq!(made["spec"]["hostname"], "sum-3");
    let field = "metadata.labels['batch.kubernetes.io/job-completion-index']";
    let variable = json!([{"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": field}}}]);
    assert_eq!(made["spec"]["containers"][0]["env"], variable);
    let twice =
        job(INDEXED, "active: 2") + &indexed("a", 2, "", "phase: Running") + &indexed("b", 2, "", "phase: Pending");
    assert_eq!(lines(&twice)[..2], ["patch pods d/b", "delete pods d/b"], "one pod per index");
}

#[test]
fn indexes_fail_by_themselves() {
    let spec = format!("{INDEXED}, backoffLimitPerIndex: 1, maxFailedIndexes: 1").replace("backoffLimit: 6, ", "");
    let failed = |name: &str, index: u32, count: u32| {
        indexed(name, index, &format!(", batch.kubernetes.io/job-index-failure-count: '{count}'"), FAILED)
    };
    let first = lines(&(job(&spec, "") + &failed("a", 0, 0)));
    assert_eq!(first[..2], ["create pods d/sum-1-*", "create pods d/sum-2-*"], "index 0 is waited for: {first:?}");
    assert!(!first.contains(&"patch pods d/a".to_owned()), "keeps its count until it is replaced");
    let long_ago = failed("a", 0, 0).replace("11:59:55", "11:00:00");
    let plan = decide(&controller(), "d/sum", &(job(&spec, "") + &long_ago));
    let annotations = &body(&plan, "create pods d/sum-0-*")["metadata"]["annotations"];
    assert_eq!(annotations["batch.kubernetes.io/job-index-failure-count"], "1");
    let over = status(&(job(&spec, "") + &failed("a", 0, 1)));
    assert_eq!(over["failedIndexes"], "0");
    let two = status(&(job(&spec, "") + &failed("a", 0, 1) + &failed("b", 3, 1)));
    assert_eq!(conditions(&two), [("FailureTarget", "MaxFailedIndexesExceeded")]);
}

#[test]
fn a_success_policy_ends_the_job_early() {
    let spec = format!("{INDEXED}, successPolicy: {{rules: [{{succeededIndexes: '2,3', succeededCount: 1}}]}}");
    let yaml =
        job(&spec, "active: 1") + &indexed("a", 2, "", "phase: Succeeded") + &indexed("b", 0, "", "phase: Running");
    let plan = decide(&controller(), "d/sum", &yaml);
    assert_eq!(plan.lines(), ["delete pods d/b", STATUS, "patch pods d/b", "patch pods d/a"]);
    let told = &body(&plan, STATUS)["status"];
    assert_eq!(conditions(told), [("SuccessCriteriaMet", "SuccessPolicy")]);
    assert_eq!(
        (&told["completedIndexes"], &told["conditions"][0]["message"]),
        (&json!("2"), &json!("Matched rules at index 0"))
    );
}

#[test]
fn a_failure_policy_decides_what_a_failure_means() {
    let rules = "{rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: 'True'}]}, {action: FailJob, onExitCodes: {operator: In, values: [42]}}]}";
    let spec = format!("parallelism: 1, completions: 1, backoffLimit: 0, podFailurePolicy: {rules}");
    let disrupted = FAILED.replace("conditions: [", "conditions: [{type: DisruptionTarget, status: 'True'}, ");
    let plan = decide(&controller(), "d/sum", &(job(&spec, "") + &tracked("a", &disrupted)));
    assert_eq!(plan.lines(), ["patch pods d/a", "wake 2026-01-01T12:00:05Z"], "not counted, but waited out");
    let exited = format!(
        "{FAILED}, containerStatuses: [{{name: c, image: i, imageID: i, ready: false, restartCount: 0, state: {{terminated: {{exitCode: 42}}}}}}]"
    );
    let told = status(&(job(&spec, "") + &tracked("a", &exited)));
    assert_eq!(conditions(&told), [("FailureTarget", "PodFailurePolicy")]);
    let text = "Container c for pod d/a failed with exit code 42 matching FailJob rule at index 1";
    assert_eq!(told["conditions"][0]["message"], text);
}

#[test]
fn a_terminating_pod_is_replaced_at_once_unless_asked_to_wait() {
    let spec = "parallelism: 1, completions: 1, backoffLimit: 6";
    let leaving = "finalizers: [batch.kubernetes.io/job-tracking], deletionTimestamp: '2026-01-01T11:00:00Z'";
    let yaml =
        |spec: &str| job(spec, "terminating: 1").replace("terminating: 0, ", "") + &pod("a", leaving, "phase: Running");
    assert_eq!(lines(&yaml(spec)), ["create pods d/sum-*", STATUS, "patch pods d/a"]);
    assert_eq!(lines(&yaml(&format!("{spec}, podReplacementPolicy: Failed"))), [""; 0]);
}

#[test]
fn pods_without_a_job_that_counts_them_are_let_go() {
    let done = job("parallelism: 1", "conditions: [{type: Complete, status: 'True'}]");
    for yaml in [tracked("a", "phase: Running"), done + &tracked("a", "phase: Running")] {
        assert_eq!(lines(yaml.trim_start_matches("---")), ["patch pods d/a"]);
    }
    let alone = tracked("sum", "phase: Running").replace(OWNED, "annotations: {}");
    assert_eq!(lines(alone.trim_start_matches("---")), ["patch pods d/sum"]);
    let foreign = job("parallelism: 1, managedBy: example.com/other", "") + &tracked("a", "phase: Running");
    assert_eq!(lines(&foreign), [""; 0]);
}

#[test]
fn adopted_pods_are_tracked_and_released_ones_let_go() {
    let orphan = tracked("a", "phase: Running")
        .replace(&format!("{OWNED}, finalizers: [batch.kubernetes.io/job-tracking]"), "annotations: {}");
    let plan = decide(&controller(), "d/sum", &(job("parallelism: 1", "") + &orphan));
    assert_eq!(plan.lines(), ["patch pods d/a"]);
    let patch = body(&plan, "patch pods d/a");
    assert_eq!(patch["metadata"]["finalizers"], json!(["batch.kubernetes.io/job-tracking"]));
    let stray = tracked("b", "phase: Running").replace("labels: {job: sum}", "labels: {job: other}");
    let released = decide(&controller(), "d/sum", &(job("parallelism: 1", "") + &stray));
    assert_eq!(
        body(&released, "patch pods d/b")["metadata"]["$deleteFromPrimitiveList/finalizers"],
        json!(["batch.kubernetes.io/job-tracking"])
    );
}
