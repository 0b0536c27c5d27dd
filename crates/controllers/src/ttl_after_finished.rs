//! Removes Jobs some time after they have finished, if they ask for it (`spec.ttlSecondsAfterFinished`).

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::Job;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};
use orlop_client::{Client, DeleteOptions, Propagation};

pub fn controller() -> Controller {
    let mut grants = vec![Grant::new("batch", &["jobs"], &["get", "list", "watch", "delete"])];
    grants.extend(Grant::EVENTS);
    let sources = vec![Source::subject::<Job>()];
    let mut controller =
        Controller::new("ttl-after-finished-controller", "ttl_jobs_to_delete", sources, grants, decide);
    controller.look = Some(Box::new(look));
    controller
}

/// The Job as the server has it, when the cache says that its time has come: the time to live may have
/// been changed since.
struct Fresh(Option<Job>);

fn look(client: Client, key: Key, view: View) -> BoxFuture<'static, orlop_client::Result<View>> {
    Box::pin(async move {
        let due = view.subject::<Job>(&key).and_then(|job| expires_at(job));
        if due.is_none_or(|at| at > orlop_base::clock::now()) {
            return Ok(view);
        }
        let job = client.api::<Job>(key.namespace()).get_opt(key.name()).await?;
        Ok(view.with(Fresh(job)))
    })
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let cached = view.subject::<Job>(key).map(|job| &**job);
    let job = view.facts::<Fresh>().map_or(cached, |fresh| fresh.0.as_ref());
    match job.and_then(|job| Some((job, expires_at(job)?))) {
        None => Plan::none(),
        Some((_, at)) if at > now => Plan::wake_at(at),
        Some((job, _)) => {
            let options = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
            let mut plan = Plan::none();
            plan.write(Write::delete_with(job, options));
            plan
        }
    }
}

/// `None` for a Job that is not finished, is going away already, or stays.
fn expires_at(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    if job.meta().deletion_timestamp.is_some() {
        return None;
    }
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end = conditions.iter().find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")?;
    end.last_transition_time.as_ref()?.0.checked_add(SignedDuration::from_secs(ttl.into())).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::common::fixture::{body, decide};

    /// Finished a minute ago, to be kept for an hour.
    pub const CONVERGED: &str = "
kind: Job
metadata: {name: sum}
spec: {ttlSecondsAfterFinished: 3600, template: {}}
status: {conditions: [{type: Complete, status: 'True', lastTransitionTime: '2026-01-01T11:59:00Z'}]}
";

    #[test]
    fn a_finished_job_goes_when_its_time_has_come() {
        let lines = |yaml: &str| decide(&controller(), "d/sum", yaml).lines();
        assert_eq!(lines(CONVERGED), ["wake 2026-01-01T12:59:00Z"]);
        let due = CONVERGED.replace("3600", "60");
        let plan = decide(&controller(), "d/sum", &due);
        assert_eq!(plan.lines(), ["delete jobs d/sum"]);
        assert_eq!(body(&plan, "delete jobs d/sum")["propagationPolicy"], "Foreground");
        for stays in [("Complete", "Suspended"), ("ttlSecondsAfterFinished: 60, ", "")] {
            assert!(lines(&due.replace(stays.0, stays.1)).is_empty(), "{stays:?}");
        }
    }

    #[test]
    fn the_server_has_the_last_word() {
        let controller = controller();
        let objects = crate::common::fixture::objects(&CONVERGED.replace("3600", "60"));
        let mut fresh = objects[0].clone();
        fresh["spec"]["ttlSecondsAfterFinished"] = 600.into();
        let fresh = Job::decode(fresh.to_string().as_bytes()).unwrap();
        let view = controller.view_of(&objects).with(Fresh(Some(fresh)));
        let plan = crate::common::fixture::decide_view(&controller, "d/sum", &view);
        assert_eq!(plan.lines(), ["wake 2026-01-01T12:09:00Z"]);
    }
}
