use crate::kinds::prelude::*;
use crate::table::{Now, cells, columns, or};

pub struct ClusterTrustBundle;

facts!(cluster("certificates.k8s.io", "ClusterTrustBundle", "clustertrustbundles"));

impl Kind for ClusterTrustBundle {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: certificates::bundle,
        update: certificates::bundle_update,
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["spec.signerName"]
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, SignerName")
    }

    fn row(&self, obj: &Value, _now: Now) -> Vec<Value> {
        cells![meta::name(obj), or(obj.text("spec.signerName"), "<none>")]
    }
}
