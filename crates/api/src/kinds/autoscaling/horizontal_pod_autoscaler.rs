use crate::kinds::autoscaling::annotations::ROUND_TRIP;
use crate::kinds::autoscaling::convert;
use crate::kinds::autoscaling::targets::targets;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct HorizontalPodAutoscaler;

facts!(
    namespaced("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
        .short(&["hpa"])
        .categories(&["all"])
        .versions(&["v2", "v1"])
        .status()
        .generation()
);

impl Kind for HorizontalPodAutoscaler {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: autoscaler::autoscaler,
        update: autoscaler::update,
        "status": autoscaler::status,
    }

    fn annotations_of_version(&self) -> &'static [&'static str] {
        &ROUND_TRIP
    }

    /// The target is defaulted in a conversion, which comes before anyone asks who set it.
    fn set_defaults(&self, version: &str, obj: &mut Value) {
        if let Some(schema) = self.schema(version) {
            crate::defaults::apply(&schema, obj);
        }
        if version == "v1" {
            convert::default_target(obj);
        }
    }

    fn convert(&self, obj: &mut Value, _from: &str, to: &str) {
        if to == "v1" { convert::to_v1(obj) } else { convert::to_v2(obj) }
    }

    fn prepare_create(&self, obj: &mut Value) {
        self.reset_fields("").drop_from(obj);
        convert::drop_round_trip_annotations(obj);
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        convert::drop_round_trip_annotations(obj);
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Reference, Targets, MinPods, MaxPods, Replicas, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let reference = format!("{}/{}", obj.text("spec.scaleTargetRef.kind"), obj.text("spec.scaleTargetRef.name"));
        let minimum = obj.at("spec.minReplicas").as_i64().map_or_else(|| "<unset>".to_owned(), |n| n.to_string());
        cells![
            meta::name(obj),
            reference,
            targets(obj),
            minimum,
            obj.int("spec.maxReplicas"),
            obj.int("status.currentReplicas"),
            age(obj, now)
        ]
    }
}
