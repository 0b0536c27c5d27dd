//! Finished Jobs that are not kept.

use std::sync::Arc;

use orlop_api::typed::kinds::{CronJob, Job};

use super::status::end;

/// The oldest beyond the limits, successful and failed ones counted apart.
pub fn surplus<'a>(cron_job: &CronJob, jobs: &[&'a Arc<Job>]) -> Vec<&'a Arc<Job>> {
    let spec = &cron_job.spec;
    let limits = [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
    let mut surplus = Vec::new();
    for (kind, limit) in limits {
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
        let mut finished: Vec<&Arc<Job>> = jobs.iter().copied().filter(|job| end(job) == Some(kind)).collect();
        finished.sort_by_key(|job| {
            let started = job.status.as_ref().and_then(|s| s.start_time.clone());
            (started.is_none(), started, job.metadata.name.clone())
        });
        finished.truncate(finished.len().saturating_sub(limit));
        surplus.extend(finished.into_iter().filter(|job| job.metadata.deletion_timestamp.is_none()));
    }
    surplus
}
