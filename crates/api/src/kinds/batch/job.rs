use crate::kinds::prelude::*;
use crate::kinds::prepare::set_in;

pub struct Job;

facts!(namespaced("batch", "Job", "jobs").categories(&["all"]).status().generation());

impl Kind for Job {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn field_labels(&self) -> &'static [FieldLabel] {
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
