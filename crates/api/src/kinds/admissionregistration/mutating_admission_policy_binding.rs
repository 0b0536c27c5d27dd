use crate::kinds::admissionregistration::param_ref;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct MutatingAdmissionPolicyBinding;

facts!(
    cluster("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
        .categories(&["api-extensions"])
        .generation()
);

impl Kind for MutatingAdmissionPolicyBinding {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: admission_policy::mutating_binding,
        update: admission_policy::mutating_binding_update,
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, PolicyName, ParamRef, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.text("spec.policyName"), param_ref(obj), age(obj, now)]
    }
}
