use crate::kinds::prelude::*;

pub struct ClusterTrustBundle;

facts!(cluster("certificates.k8s.io", "ClusterTrustBundle", "clustertrustbundles"));

impl Kind for ClusterTrustBundle {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
