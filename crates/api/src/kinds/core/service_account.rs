use crate::kinds::prelude::*;

pub struct ServiceAccount;

facts!(namespaced("", "ServiceAccount", "serviceaccounts").short(&["sa"]).subresource_of(
    "token",
    ("authentication.k8s.io", "v1", "TokenRequest"),
    &["create"]
));

impl Kind for ServiceAccount {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
