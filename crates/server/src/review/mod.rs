//! Reviews: kinds that are only asked, never stored.

mod access;
mod identity;
mod rules;
mod spec;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::status::StatusError;

use crate::Server;
use crate::authn::Authentication;
use crate::authz::Authorization;
use crate::call::Call;
use crate::extend::{Creator, Extension};
use crate::token::TokenRequest;
pub(crate) use identity::user_info;

/// What the extensions answer with.
#[derive(Clone)]
pub struct Reviews {
    pub authentication: Arc<Authentication>,
    pub authorization: Authorization,
}

/// A review's answer.
type Answer = fn(&Reviews, &Call, Value) -> Result<Value, StatusError>;

/// The handler of one review kind.
struct Review(Reviews, Answer);

impl Creator for Review {
    fn create<'a>(
        &'a self,
        _server: &'a Arc<Server>,
        call: &'a Call,
        object: Value,
        _dry_run: bool,
    ) -> BoxFuture<'a, Result<Value, StatusError>> {
        Box::pin(std::future::ready((self.1)(&self.0, call, object)))
    }
}

/// All reviews, and `serviceaccounts/token`: for `ServerConfig::extensions`.
pub fn extensions(reviews: &Reviews) -> Vec<Extension> {
    let review = |key: &'static str, answer: Answer| Extension::new(key).create("", Review(reviews.clone(), answer));
    let issuer = reviews.authentication.issuer().clone();
    vec![
        review("authorization.k8s.io/subjectaccessreviews", access::subject),
        review("authorization.k8s.io/localsubjectaccessreviews", access::local),
        review("authorization.k8s.io/selfsubjectaccessreviews", access::own),
        review("authorization.k8s.io/selfsubjectrulesreviews", rules::own),
        review("authentication.k8s.io/selfsubjectreviews", identity::own),
        review("authentication.k8s.io/tokenreviews", identity::token),
        Extension::new("serviceaccounts").create("token", TokenRequest(issuer)),
    ]
}

/// Puts a status into a review.
fn with_status(mut review: Value, status: Value) -> Value {
    if let Some(review) = review.as_object_mut() {
        review.insert("status".into(), status);
    }
    review
}

#[cfg(test)]
mod tests;
