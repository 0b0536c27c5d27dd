use crate::kinds::prelude::*;

pub struct ClusterTrustBundle;

facts!(cluster("certificates.k8s.io", "ClusterTrustBundle", "clustertrustbundles"));

impl Kind for ClusterTrustBundle {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn field_labels(&self) -> &'static [FieldLabel] {
        field_labels!["spec.signerName"]
    }
}
