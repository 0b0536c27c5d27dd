//! Plugins that ask nothing: `AlwaysAdmit`, `AlwaysDeny`.

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;

use super::{Attributes, Plugin};
use crate::Server;

pub struct AlwaysAdmit;

pub struct AlwaysDeny;

impl Plugin for AlwaysAdmit {
    fn name(&self) -> &'static str {
        "AlwaysAdmit"
    }

    fn handles(&self, _: &Attributes) -> bool {
        false
    }
}

impl Plugin for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    fn handles(&self, _: &Attributes) -> bool {
        true
    }

    fn admit<'a>(&'a self, _: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        let refusal = a.forbidden("admission control is denying all modifications");
        Box::pin(async { Err(refusal) })
    }

    fn validate<'a>(&'a self, _: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        let refusal = a.forbidden("admission control is denying all modifications");
        Box::pin(async { Err(refusal) })
    }
}
