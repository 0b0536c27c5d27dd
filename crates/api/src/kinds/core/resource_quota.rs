use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, quantity};

pub struct ResourceQuota;

facts!(namespaced("", "ResourceQuota", "resourcequotas").short(&["quota"]).status());

impl Kind for ResourceQuota {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: resource_quota::quota,
        update: resource_quota::update,
        "status": resource_quota::status_update,
        warn: resource_quota::warnings,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Request, Limit, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let used = obj.map("status.used");
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (resource, hard) in obj.map("status.hard") {
            let used = used.get(resource).map_or("0".into(), quantity);
            let text = format!("{resource}: {used}/{}", quantity(hard));
            if resource.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
        }
        let (requests, limits) = (requests.join(", "), limits.join(", "));
        cells![meta::name(obj), requests, limits, age(obj, now)]
    }
}
