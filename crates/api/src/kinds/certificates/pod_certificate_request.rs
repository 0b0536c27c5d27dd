use crate::kinds::prelude::*;
use crate::table::{Now, cells, columns, labels};

pub struct PodCertificateRequest;

facts!(namespaced("certificates.k8s.io", "PodCertificateRequest", "podcertificaterequests").status());

impl Kind for PodCertificateRequest {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: certificates::pod_request,
        update: certificates::pod_request_update,
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["spec.signerName", "spec.podName", "spec.nodeName"]
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, PodName, ServiceAccountName, NodeName, SignerName, State, UnverifiedUserAnnotations")
    }

    fn row(&self, obj: &Value, _now: Now) -> Vec<Value> {
        let conditions = obj.list("status.conditions").iter().rev().map(|c| c.text("type"));
        let mut decided = conditions.filter(|ty| matches!(*ty, "Issued" | "Denied" | "Failed"));
        let state = decided.next().unwrap_or("Pending");
        cells![
            meta::name(obj),
            obj.text("spec.podName"),
            obj.text("spec.serviceAccountName"),
            obj.text("spec.nodeName"),
            obj.text("spec.signerName"),
            state,
            labels(obj.map("spec.unverifiedUserAnnotations"))
        ]
    }
}
