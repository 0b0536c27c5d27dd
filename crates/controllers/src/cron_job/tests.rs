use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{Zone, controller};
use crate::common::fixture::{body, decide, decide_view, events, objects};

/// Every half hour; the Job of 12:00 runs.
pub const CONVERGED: &str = "
kind: CronJob
metadata: {name: backup}
spec:
  schedule: '*/30 * * * *'
  concurrencyPolicy: Allow
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 1
  jobTemplate: {metadata: {labels: {app: backup}}, spec: {template: {spec: {containers: []}}}}
status:
  lastScheduleTime: '2026-01-01T12:00:00Z'
  active: [{apiVersion: batch/v1, kind: Job, name: backup-29454480, namespace: d, uid: backup-29454480, resourceVersion: '1'}]
---
kind: Job
metadata: {name: backup-29454480, ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: backup, uid: backup, controller: true}]}
spec: {template: {}}
";

const STATUS: &str = "update cronjobs/status d/backup";

/// The Job of 11:30 was the last, and is done; that of 12:00 is due.
fn due() -> String {
    let active = "active: [{apiVersion: batch/v1, kind: Job, name: backup-29454480, namespace: d, uid: backup-29454480, resourceVersion: '1'}]";
    let idle = CONVERGED.split("---").next().unwrap().replace("12:00:00Z", "11:30:00Z");
    assert!(idle.contains(active));
    idle.replace(active, "")
}

fn job(name: &str, status: &str) -> String {
    format!(
        "---\nkind: Job\nmetadata: {{name: {name}, ownerReferences: [{{apiVersion: batch/v1, kind: CronJob, name: backup, uid: backup, controller: true}}]}}\nspec: {{template: {{}}}}\nstatus: {{{status}}}\n"
    )
}

fn lines(yaml: &str) -> Vec<String> {
    decide(&controller(), "d/backup", yaml).lines()
}

fn status(yaml: &str) -> Value {
    body(&decide(&controller(), "d/backup", yaml), STATUS)["status"].clone()
}

const NEXT: &str = "wake 2026-01-01T12:30:00.1Z";

#[test]
fn a_job_is_made_when_its_time_has_come_and_then_told() {
    assert_eq!(lines(CONVERGED), [NEXT]);
    let plan = decide(&controller(), "d/backup", &due());
    assert_eq!(plan.lines(), ["create jobs d/backup-29454480", NEXT]);
    assert_eq!(events(&plan), ["Normal SuccessfulCreate: Created job {name}"]);
    let made = body(&plan, "create jobs d/backup-29454480");
    assert_eq!(made["metadata"]["labels"], json!({"app": "backup"}));
    let at = json!({"batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T12:00:00Z"});
    assert_eq!(made["metadata"]["annotations"], at);
    let told = status(&(due() + &job("backup-29454480", "")));
    assert_eq!(
        (&told["lastScheduleTime"], &told["active"][0]["uid"]),
        (&json!("2026-01-01T12:00:00Z"), &json!("backup-29454480"))
    );
    assert!(lines(&due().replace("schedule:", "suspend: true\n  schedule:")).is_empty());
}

#[test]
fn a_finished_job_is_no_longer_active() {
    let done = "conditions: [{type: Complete, status: 'True'}], completionTime: '2026-01-01T12:00:00Z'";
    let yaml = CONVERGED.split("---").next().unwrap().to_owned() + &job("backup-29454480", done);
    let plan = decide(&controller(), "d/backup", &yaml);
    assert_eq!(events(&plan), ["Normal SawCompletedJob: Saw completed job: backup-29454480, condition: Complete"]);
    let told = &body(&plan, STATUS)["status"];
    assert_eq!((&told["active"], &told["lastSuccessfulTime"]), (&json!(null), &json!("2026-01-01T12:00:00Z")));
    let gone = decide(&controller(), "d/backup", CONVERGED.split("---").next().unwrap());
    assert_eq!(events(&gone), ["Normal MissingJob: Active job went missing: backup-29454480"]);
    let foreign = due() + &job("by-hand", "");
    let text = "Warning UnexpectedJob: Saw a job that the controller did not create or forgot: by-hand";
    assert_eq!(events(&decide(&controller(), "d/backup", &foreign)).last().unwrap(), text);
}

#[test]
fn policies_decide_about_jobs_that_still_run() {
    let running = |policy: &str| {
        let active = "active: [{apiVersion: batch/v1, kind: Job, name: backup-29454450, namespace: d, uid: backup-29454450, resourceVersion: '1'}]\n";
        let yaml = due().replace("concurrencyPolicy: Allow", &format!("concurrencyPolicy: {policy}"));
        yaml.trim_end().to_owned() + "\n  " + active + &job("backup-29454450", "")
    };
    assert_eq!(lines(&running("Allow")), ["create jobs d/backup-29454480", NEXT]);
    let forbidden = decide(&controller(), "d/backup", &running("Forbid"));
    let text =
        "Normal JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid";
    assert_eq!(events(&forbidden), [text]);
    let replaced = decide(&controller(), "d/backup", &running("Replace"));
    assert_eq!(replaced.lines()[..3], ["delete jobs d/backup-29454450", "create jobs d/backup-29454480", STATUS]);
    assert_eq!(body(&replaced, "delete jobs d/backup-29454450")["propagationPolicy"], "Background");
}

#[test]
fn times_that_were_missed_are_not_all_made_up_for() {
    let long_ago = due().replace("2026-01-01T11:30:00Z", "2025-12-20T11:30:00Z");
    let plan = decide(&controller(), "d/backup", &long_ago);
    assert_eq!(plan.lines()[0], "create jobs d/backup-29454480", "the last one only");
    assert!(events(&plan)[1].starts_with("Warning TooManyMissedTimes: too many missed start times."));
    let late =
        due().replace("*/30 * * * *", "50 11 * * *").replace("schedule:", "startingDeadlineSeconds: 60\n  schedule:");
    assert_eq!(lines(&late), ["wake 2026-01-02T11:50:00.1Z"], "too late");
    let in_time = late.replace("startingDeadlineSeconds: 60", "startingDeadlineSeconds: 900");
    assert_eq!(lines(&in_time)[0], "create jobs d/backup-29454470");
}

#[test]
fn finished_jobs_beyond_the_limits_go() {
    let done = |name: &str, kind: &str, hour: u32| {
        job(name, &format!("startTime: '2026-01-01T0{hour}:00:00Z', conditions: [{{type: {kind}, status: 'True'}}]"))
    };
    let yaml = CONVERGED.to_owned() + &done("a", "Complete", 1) + &done("b", "Complete", 2) + &done("c", "Failed", 3);
    let plan = decide(&controller(), "d/backup", &yaml);
    assert_eq!(plan.lines()[0], "delete jobs d/a");
    assert_eq!(events(&plan), ["Normal SuccessfulDelete: Deleted job a"]);
}

#[test]
fn what_cannot_be_understood_is_told() {
    let told = |from: &str, to: &str| events(&decide(&controller(), "d/backup", &due().replace(from, to)));
    assert_eq!(
        told("*/30 * * * *", "* *"),
        ["Warning UnparseableSchedule: unparseable schedule: \"* *\" : expected exactly 5 fields, found 2: [* *]"]
    );
    assert_eq!(
        told("*/30 * * * *", "0 0 31 2 *"),
        [
            "Warning InvalidSchedule: invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 second"
        ]
    );
}

#[test]
fn a_schedule_is_read_in_its_time_zone() {
    let yaml =
        due().replace("'*/30 * * * *'", "'45 12 * * *'").replace("schedule:", "timeZone: Some/Where\n  schedule:");
    let controller = controller();
    let view = |zone: Result<TimeZone, String>| controller.view_of(&objects(&yaml)).with(Zone(zone));
    let plan = decide_view(&controller, "d/backup", &view(Ok(TimeZone::posix("CET-1").unwrap())));
    let made = body(&plan, "create jobs d/backup-29454465");
    let at = &made["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    assert_eq!(at, "2026-01-01T12:45:00+01:00");
    let unknown = decide_view(&controller, "d/backup", &view(Err("unknown time zone Some/Where".to_owned())));
    assert_eq!(
        events(&unknown),
        ["Warning UnknownTimeZone: invalid timeZone: \"Some/Where\": unknown time zone Some/Where"]
    );
}
