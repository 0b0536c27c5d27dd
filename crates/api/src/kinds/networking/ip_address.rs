use crate::kinds::prelude::*;

pub struct IPAddress;

facts!(cluster("networking.k8s.io", "IPAddress", "ipaddresses").short(&["ip"]));

impl Kind for IPAddress {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
