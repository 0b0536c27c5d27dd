//! Ingresses that name no class get the default one (`plugin/pkg/admission/network/defaultingressclass`).

use futures_util::future::BoxFuture;
use orlop_api::meta;
use orlop_api::status::StatusError;

use super::cluster::default_class;
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct DefaultIngressClass;

const CLASSES: &str = "networking.k8s.io/ingressclasses";
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Create && a.is("networking.k8s.io", "ingresses") && a.subresource.is_empty()
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let chosen = a.object["spec"]["ingressClassName"].is_string()
                || a.object["metadata"]["annotations"].get(OLD_CLASS).is_some();
            if !chosen && let Some(class) = default_class(server, CLASSES, &[DEFAULT]) {
                meta::child_mut(&mut a.object, "spec").insert("ingressClassName".into(), class.into());
            }
            Ok(())
        })
    }
}
