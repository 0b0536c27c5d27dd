use crate::kinds::prelude::*;
use crate::kinds::prepare::{list_mut, now, remove, set};
use crate::table::{Now, age, cells, columns, human_duration, or};

pub struct CertificateSigningRequest;

facts!(
    cluster("certificates.k8s.io", "CertificateSigningRequest", "certificatesigningrequests")
        .short(&["csr"])
        .subresource("approval", "CertificateSigningRequest", &["get", "patch", "update"])
        .status()
);

impl Kind for CertificateSigningRequest {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: certificates::request,
        update: certificates::request_update,
        "status": certificates::request_status,
        "approval": certificates::request_approval,
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["spec.signerName"]
    }

    /// Nothing of a request changes after creation but through `approval` and `status`.
    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["spec", "status"]),
            "status" => ResetFields::Only(&["spec", "status.conditions"]),
            "approval" => ResetFields::Only(&["spec", "status.certificate"]),
            _ => ResetFields::NONE,
        }
    }

    /// Who asks is not for the client to say.
    fn prepare_create(&self, obj: &mut Value) {
        self.record_requester(obj, &Value::Null);
        remove(obj, "status");
    }

    fn record_requester(&self, obj: &mut Value, user: &Value) {
        for (path, field) in
            [("spec.username", "username"), ("spec.uid", "uid"), ("spec.groups", "groups"), ("spec.extra", "extra")]
        {
            match user.get(field) {
                Some(value) => set(obj, path, value.clone()),
                None => remove(obj, path),
            }
        }
    }

    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        crate::kind::keep_old_at(obj, old, "spec");
        match subresource {
            "status" => {
                for ty in ["Approved", "Denied"] {
                    keep_conditions(obj, old, ty);
                }
                stamp_conditions(obj, old);
            }
            "approval" => {
                stamp_conditions(obj, old);
                let conditions = obj.at("status.conditions").clone();
                crate::kind::keep_old_at(obj, old, "status");
                if !conditions.is_null() {
                    set(obj, "status.conditions", conditions);
                }
            }
            _ => {}
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Age, SignerName, Requestor, RequestedDuration, Condition")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let requested = obj.at("spec.expirationSeconds").as_i64().map_or_else(|| "<none>".to_owned(), human_duration);
        cells![
            meta::name(obj),
            age(obj, now),
            or(obj.text("spec.signerName"), "<none>"),
            obj.text("spec.username"),
            requested,
            state(obj)
        ]
    }
}

/// `status` may neither add nor drop nor change conditions of `approval`; a differing count is left
/// for validation to reject.
fn keep_conditions(obj: &mut Value, old: &Value, ty: &str) {
    let kept: Vec<&Value> = old.list("status.conditions").iter().filter(|c| c["type"] == ty).collect();
    let sent: Vec<&mut Value> = list_mut(obj, "status.conditions").iter_mut().filter(|c| c["type"] == ty).collect();
    if kept.len() == sent.len() {
        for (sent, kept) in sent.into_iter().zip(kept) {
            sent.clone_from(kept);
        }
    }
}

fn stamp_conditions(obj: &mut Value, old: &Value) {
    let now = now();
    for condition in list_mut(obj, "status.conditions").iter_mut().filter(|c| c.is_object()) {
        if !condition.has("lastUpdateTime") {
            condition["lastUpdateTime"] = now.clone();
        }
        if !condition.has("lastTransitionTime") {
            let unchanged = |was: &&Value| {
                was["type"] == condition["type"]
                    && was["status"] == condition["status"]
                    && was.has("lastTransitionTime")
            };
            let since = old.list("status.conditions").iter().find(unchanged).map(|was| &was["lastTransitionTime"]);
            condition["lastTransitionTime"] = since.unwrap_or(&now).clone();
        }
    }
}

/// `Approved,Issued`
fn state(csr: &Value) -> String {
    let decision = match () {
        () if condition(csr, "Denied").is_some() => "Denied",
        () if condition(csr, "Approved").is_some() => "Approved",
        () => "Pending",
    };
    let failed = if condition(csr, "Failed").is_some() { ",Failed" } else { "" };
    let issued = if csr.text("status.certificate").is_empty() { "" } else { ",Issued" };
    format!("{decision}{failed}{issued}")
}
