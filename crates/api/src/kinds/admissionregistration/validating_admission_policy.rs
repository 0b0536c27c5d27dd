use crate::kinds::admissionregistration::param_kind;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct ValidatingAdmissionPolicy;

facts!(
    cluster("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "validatingadmissionpolicies")
        .categories(&["api-extensions"])
        .status()
        .generation()
);

impl Kind for ValidatingAdmissionPolicy {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: admission_policy::validating,
        update: admission_policy::validating_update,
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

    fn columns(&self) -> Vec<Column> {
        columns("Name, Validations:integer, ParamKind, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.list("spec.validations").len(), param_kind(obj), age(obj, now)]
    }
}
