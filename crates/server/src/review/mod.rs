//! Reviews: kinds that are only asked, never stored.

mod access;
pub mod cache;
mod identity;
pub mod metrics;
pub mod remote;
mod rules;
mod spec;
pub mod watched;

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
type Answer = for<'a> fn(&'a Reviews, &'a Call, Value) -> BoxFuture<'a, Result<Value, StatusError>>;

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
        (self.1)(&self.0, call, object)
    }
}

/// All reviews, and `serviceaccounts/token`: for `ServerConfig::extensions`.
pub fn extensions(reviews: &Reviews) -> Vec<Extension> {
    let review = |key: &'static str, answer: Answer| Extension::new(key).create("", Review(reviews.clone(), answer));
    let issuer = reviews.authentication.issuer().clone();
    vec![
        review("authorization.k8s.io/subjectaccessreviews", |reviews, call, review| {
            Box::pin(access::subject(reviews, call, review))
        }),
        review("authorization.k8s.io/localsubjectaccessreviews", |reviews, call, review| {
            Box::pin(access::local(reviews, call, review))
        }),
        review("authorization.k8s.io/selfsubjectaccessreviews", |reviews, call, review| {
            Box::pin(access::own(reviews, call, review))
        }),
        review("authorization.k8s.io/selfsubjectrulesreviews", |reviews, call, review| {
            Box::pin(rules::own(reviews, call, review))
        }),
        review("authentication.k8s.io/selfsubjectreviews", |reviews, call, review| {
            Box::pin(identity::own(reviews, call, review))
        }),
        review("authentication.k8s.io/tokenreviews", |reviews, call, review| {
            Box::pin(identity::token(reviews, call, review))
        }),
        Extension::new("serviceaccounts").create("token", TokenRequest(issuer)),
    ]
}

/// A duration as Go writes it (`5m0s`), in whole seconds.
pub fn seconds(text: &str) -> Result<i64, String> {
    let nanos = orlop_cel::value::time::parse_duration(text).map_err(|error| error.to_string())?;
    Ok(nanos / 1_000_000_000)
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
