use crate::kinds::pod::gated;
use crate::kinds::prelude::*;
use crate::kinds::prepare::remove;
use crate::table::{Now, age, cells, columns, containers, or, selector_or_none, since, yes_no};

pub struct CronJob;

facts!(namespaced("batch", "CronJob", "cronjobs").short(&["cj"]).categories(&["all"]).status().generation());

impl Kind for CronJob {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn drop_disabled(&self, obj: &mut Value, old: &Value) {
        gated::drop_in_template(obj, old, "spec.jobTemplate.spec.template");
        // WorkloadWithJob.
        if obj.has("spec.jobTemplate.spec.scheduling") && !old.has("spec.jobTemplate.spec.scheduling") {
            remove(obj, "spec.jobTemplate.spec.scheduling");
        }
    }

    validation! {
        create: batch::cron_job,
        update: batch::cron_job_update,
        warn: batch::cron_job_warnings,
    }

    fn columns(&self) -> Vec<Column> {
        columns(
            "Name, Schedule, Timezone, Suspend:boolean, Active:integer, Last Schedule, Age, Containers*, Images*, Selector*",
        )
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let [names, images] = containers(obj.list("spec.jobTemplate.spec.template.spec.containers"));
        let last = obj.at("status.lastScheduleTime");
        let last = if last.is_null() { "<none>".to_owned() } else { since(last, now) };
        cells![
            meta::name(obj),
            obj.text("spec.schedule"),
            or(obj.text("spec.timeZone"), "<none>"),
            yes_no(obj.at("spec.suspend")),
            obj.list("status.active").len(),
            last,
            age(obj, now),
            names,
            images,
            selector_or_none(obj.at("spec.jobTemplate.spec.selector"))
        ]
    }
}
