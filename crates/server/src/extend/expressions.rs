//! Configurations of admission: what they say in CEL must compile before it is stored
//! (`pkg/apis/admissionregistration/validation`).

use orlop_api::Value;
use orlop_api::field::{ErrorList, Path};

use super::{Extension, Hooks};
use crate::Server;
use crate::admission::{Conditions, policy_errors};

pub fn extensions() -> [Extension; 4] {
    [
        Extension::new("admissionregistration.k8s.io/mutatingwebhookconfigurations").hooks(Webhooks),
        Extension::new("admissionregistration.k8s.io/validatingwebhookconfigurations").hooks(Webhooks),
        Extension::new("admissionregistration.k8s.io/mutatingadmissionpolicies").hooks(Policies),
        Extension::new("admissionregistration.k8s.io/validatingadmissionpolicies").hooks(Policies),
    ]
}

struct Webhooks;

impl Hooks for Webhooks {
    /// Conditions that an update leaves alone are not held against it.
    fn validate(&self, _server: &Server, configuration: &Value, old: Option<&Value>) -> ErrorList {
        let conditions = |configuration: &Value| -> Vec<Value> {
            let hooks = configuration["webhooks"].as_array().into_iter().flatten();
            hooks.map(|hook| hook["matchConditions"].clone()).collect()
        };
        let mut errors = ErrorList::default();
        let all = conditions(configuration);
        if old.is_some_and(|old| conditions(old) == all) {
            return errors;
        }
        let path = Path::new("webhooks");
        for (i, list) in all.iter().enumerate() {
            Conditions::compile(list, false).check(&path.index(i).child("matchConditions"), &mut errors);
        }
        errors
    }
}

struct Policies;

impl Hooks for Policies {
    fn judges_broken(&self) -> bool {
        true
    }

    fn validate(&self, _server: &Server, policy: &Value, old: Option<&Value>) -> ErrorList {
        policy_errors(policy, old)
    }
}
