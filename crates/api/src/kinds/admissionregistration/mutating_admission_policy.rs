use crate::kinds::admissionregistration::param_kind;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct MutatingAdmissionPolicy;

facts!(
    cluster("admissionregistration.k8s.io", "MutatingAdmissionPolicy", "mutatingadmissionpolicies")
        .categories(&["api-extensions"])
        .generation()
);

impl Kind for MutatingAdmissionPolicy {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: admission_policy::mutating,
        update: admission_policy::mutating_update,
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Mutations:integer, ParamKind, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.list("spec.mutations").len(), param_kind(obj), age(obj, now)]
    }
}
