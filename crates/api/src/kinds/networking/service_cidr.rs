use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, joined};

pub struct ServiceCIDR;

facts!(cluster("networking.k8s.io", "ServiceCIDR", "servicecidrs").status());

impl Kind for ServiceCIDR {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: addresses::service_cidr,
        update: addresses::service_cidr_update,
        "status": addresses::service_cidr_status,
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, CIDRs, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), joined(obj.list("spec.cidrs"), ","), age(obj, now)]
    }
}
