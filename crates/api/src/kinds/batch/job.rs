use crate::kinds::pod::gated;
use crate::kinds::prelude::*;
use crate::kinds::prepare::{remove, set_in};
use crate::table::{Now, age, cells, columns, containers, human_duration, moment, selector_or_none};

pub struct Job;

facts!(namespaced("batch", "Job", "jobs").categories(&["all"]).status().generation());

impl Kind for Job {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn drop_disabled(&self, obj: &mut Value, old: &Value) {
        gated::drop_in_template(obj, old, "spec.template");
        // WorkloadWithJob.
        if obj.has("spec.scheduling") && !old.has("spec.scheduling") {
            remove(obj, "spec.scheduling");
        }
    }

    validation! {
        create: batch::job,
        update: batch::job_update,
        "status": job_status::job_status,
        warn: batch::job_warnings,
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn unsaid_propagation(&self) -> Option<&'static str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or \
             set propagationPolicy=Orphan to suppress this warning",
        )
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["status.successful" => (|job| job.int("status.succeeded").to_string().into())]
    }

    fn unknown_field_label(&self, label: &str) -> String {
        format!("field label {label:?} not supported for Job")
    }

    fn prepare_create(&self, obj: &mut Value) {
        self.reset_fields("").drop_from(obj);
        if !obj.flag("spec.manualSelector") {
            select_own_pods(obj);
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Status, Completions, Duration, Age, Containers*, Images*, Selector*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let [names, images] = containers(obj.list("spec.template.spec.containers"));
        cells![
            meta::name(obj),
            job_status(obj),
            completions(obj),
            duration(obj, now),
            age(obj, now),
            names,
            images,
            selector_or_none(obj.at("spec.selector"))
        ]
    }
}

/// Labels the pod template with the job's name and uid (with and without prefix), and selects by uid.
fn select_own_pods(obj: &mut Value) {
    let (name, uid) = (crate::meta::name(obj).to_owned(), crate::meta::uid(obj).to_owned());
    for (path, label, value) in [
        ("spec.template.metadata.labels", "job-name", &name),
        ("spec.template.metadata.labels", "batch.kubernetes.io/job-name", &name),
        ("spec.template.metadata.labels", "controller-uid", &uid),
        ("spec.template.metadata.labels", CONTROLLER_UID, &uid),
        ("spec.selector.matchLabels", CONTROLLER_UID, &uid),
    ] {
        if !obj.map(path).contains_key(label) {
            set_in(obj, path, label, value.clone());
        }
    }
}

const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

fn job_status(job: &Value) -> &'static str {
    let holds = |ty| condition(job, ty).is_some_and(|c| c["status"] == "True");
    match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if crate::meta::is_terminating(job) => "Terminating",
        () if holds("Suspended") => "Suspended",
        () if holds("FailureTarget") => "FailureTarget",
        () if holds("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = job.int("status.succeeded");
    match (job.at("spec.completions").as_i64(), job.int("spec.parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, many @ 2..) => format!("{succeeded}/1 of {many}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: Now) -> String {
    let Some(start) = moment(job.at("status.startTime")) else { return String::new() };
    match moment(job.at("status.completionTime")) {
        Some(end) => human_duration(end - start),
        None => now.since(start),
    }
}
