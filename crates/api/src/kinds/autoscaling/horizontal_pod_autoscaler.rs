use crate::kinds::prelude::*;

pub struct HorizontalPodAutoscaler;

facts!(
    namespaced("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
        .short(&["hpa"])
        .categories(&["all"])
        .versions(&["v2", "v1"])
        .status()
);

impl Kind for HorizontalPodAutoscaler {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
