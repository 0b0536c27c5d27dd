//! A Job's pods: the finalizer, the index, and how one is made.

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector};
use orlop_api::typed::kinds::Pod;
use orlop_client::engine::{Note, Write};
use serde_json::json;

use super::sync::Sync;
use super::track::counts_as_failed;
use crate::common::pods::from_template;

/// On pods that are not counted yet.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const INDEX_IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// What the server adds to a generated name takes five of 63 characters.
const MAX_GENERATE_NAME: usize = 58;

pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

pub fn untrack(pod: &Pod) -> Write {
    let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": [FINALIZER] } });
    Write::patch(pod, "", patch).gone_is_fine()
}

fn number(pod: &Pod, annotation: &str) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(annotation)?.parse().ok().filter(|number| *number >= 0)
}

pub fn index(pod: &Pod) -> Option<i32> {
    number(pod, INDEX)
}

/// Failures of the pods of this index before this one.
pub struct IndexFailures {
    pub counted: i32,
    pub ignored: i32,
}

impl IndexFailures {
    pub fn total(&self) -> i32 {
        self.counted.saturating_add(self.ignored)
    }
}

pub fn index_failures(pod: &Pod) -> IndexFailures {
    let of = |annotation: &str| number(pod, annotation).unwrap_or(0);
    IndexFailures { counted: of(INDEX_FAILURES), ignored: of(INDEX_IGNORED_FAILURES) }
}

fn new_pod(sync: &Sync) -> Pod {
    let mut pod = from_template(sync.job, &sync.spec.template);
    pod.metadata.generate_name = Some(format!("{}-", Typed::name(sync.job)));
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|known| known == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    pod
}

fn told(sync: &Sync, pod: &Pod) -> Write {
    Write::create(pod).done(Note::normal(sync.job, "SuccessfulCreate", "Created pod: {name}")).failed(Note::warning(
        sync.job,
        "FailedCreate",
        "Error creating: {error}",
    ))
}

pub fn create(sync: &Sync) -> Write {
    told(sync, &new_pod(sync))
}

/// A pod that knows its index: by name, host name, label, annotation and environment.
pub fn create_indexed(sync: &Sync, index: i32) -> Write {
    let mut pod = new_pod(sync);
    let job = Typed::name(sync.job);
    let suffix = format!("-{index}-");
    let room = MAX_GENERATE_NAME - suffix.len();
    pod.metadata.generate_name = Some(format!("{}{suffix}", job.get(..room).unwrap_or(job)));
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if sync.spec.backoff_limit_per_index.is_some() {
        let failures = inherited_failures(sync, index);
        annotations.insert(INDEX_FAILURES.to_owned(), failures.counted.to_string());
        if failures.ignored > 0 {
            annotations.insert(INDEX_IGNORED_FAILURES.to_owned(), failures.ignored.to_string());
        }
    }
    pod.metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(format!("{job}-{index}"));
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).for_each(add_index_variable);
    told(sync, &pod)
}

/// What the pod that is replaced had, and its own failure.
fn inherited_failures(sync: &Sync, index: i32) -> IndexFailures {
    let Some((_, last)) = sync.awaiting_replacement.iter().find(|(known, _)| *known == index) else {
        return IndexFailures { counted: 0, ignored: 0 };
    };
    let before = index_failures(last);
    let counts = counts_as_failed(sync.spec, last);
    IndexFailures { counted: before.counted + i32::from(counts), ignored: before.ignored + i32::from(!counts) }
}

fn add_index_variable(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    variables.push(EnvVar { name: INDEX_VARIABLE.to_owned(), value_from: Some(source), value: None });
}
