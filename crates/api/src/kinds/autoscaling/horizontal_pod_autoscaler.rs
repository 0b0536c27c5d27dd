use crate::kinds::autoscaling::convert;
use crate::kinds::prelude::*;

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

    fn convert(&self, obj: &mut Value, _from: &str, to: &str) {
        if to == "v1" { convert::to_v1(obj) } else { convert::to_v2(obj) }
    }
}
