use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct IngressClass;

facts!(cluster("networking.k8s.io", "IngressClass", "ingressclasses").generation());

impl Kind for IngressClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: networking::ingress_class,
        update: networking::ingress_class_update,
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Controller, Parameters, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let default = annotation(obj, "ingressclass.kubernetes.io/is-default-class") == "true";
        let name = format!("{}{}", meta::name(obj), if default { " (default)" } else { "" });
        let parameters = match obj.at("spec.parameters") {
            Value::Null => "<none>".to_owned(),
            p if p.has("apiGroup") => format!("{}.{}/{}", p.text("kind"), p.text("apiGroup"), p.text("name")),
            p => format!("{}/{}", p.text("kind"), p.text("name")),
        };
        cells![name, obj.text("spec.controller"), parameters, age(obj, now)]
    }
}
