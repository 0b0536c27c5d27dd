//! May somebody do something: SubjectAccessReview, LocalSubjectAccessReview,
//! SelfSubjectAccessReview.

use orlop_api::field::{ErrorList, ErrorType, Path};
use orlop_api::status::StatusError;
use orlop_api::{Value, meta, object_meta};
use orlop_client::transport::UserInfo;
use serde_json::json;

use super::{Reviews, spec, with_status};
use crate::auth::Decision;
use crate::call::Call;

const GROUP: &str = "authorization.k8s.io";

pub async fn subject(reviews: &Reviews, _call: &Call, review: Value) -> Result<Value, StatusError> {
    let mut errors = spec::validate(&review["spec"], true);
    validate_metadata(&review, "", &mut errors);
    refuse(&errors)?;
    Ok(answer(reviews, &spec::user(&review["spec"]), review).await)
}

pub async fn own(reviews: &Reviews, call: &Call, review: Value) -> Result<Value, StatusError> {
    let mut errors = spec::validate(&review["spec"], false);
    validate_metadata(&review, "", &mut errors);
    refuse(&errors)?;
    Ok(answer(reviews, &call.user, review).await)
}

pub async fn local(reviews: &Reviews, call: &Call, review: Value) -> Result<Value, StatusError> {
    let attributes = &review["spec"];
    let namespace = meta::namespace(&review);
    let mut errors = spec::validate(attributes, true);
    validate_metadata(&review, namespace, &mut errors);
    let asked = attributes["resourceAttributes"]["namespace"].as_str().unwrap_or_default();
    if attributes["resourceAttributes"].is_object() && asked != namespace {
        errors.invalid(&Path::new("spec.resourceAttributes.namespace"), asked, "must match metadata.namespace");
    }
    if attributes["nonResourceAttributes"].is_object() {
        let value = spec::shown(&attributes["nonResourceAttributes"]);
        errors.invalid(&Path::new("spec.nonResourceAttributes"), value, "disallowed on this kind of request");
    }
    refuse(&errors)?;
    if namespace != call.info.namespace {
        let text = format!("spec.resourceAttributes.namespace must match namespace: {}", call.info.namespace);
        return Err(StatusError::bad_request(text));
    }
    Ok(answer(reviews, &spec::user(attributes), review).await)
}

/// Upstream asks the decoded object for its kind, which decoding took away.
fn refuse(errors: &ErrorList) -> Result<(), StatusError> {
    if errors.is_empty() { Ok(()) } else { Err(StatusError::invalid(GROUP, "", "", errors)) }
}

/// Metadata must be empty, but for the namespace of a local review.
fn validate_metadata(review: &Value, namespace: &str, errors: &mut ErrorList) {
    let mut metadata = review["metadata"].clone();
    let empty = metadata.as_object_mut().is_none_or(|fields| {
        fields.remove("managedFields");
        // Go clients send an explicit null.
        fields.retain(|_, value| !value.is_null());
        if !namespace.is_empty() {
            fields.remove("namespace");
        }
        fields.is_empty()
    });
    if !empty {
        let why = if namespace.is_empty() { "must be empty" } else { "must be empty except for namespace" };
        let shown = object_meta::go_json(&review["metadata"]);
        errors.shown(ErrorType::Invalid, &Path::new("metadata"), &shown, why);
    }
}

async fn answer(reviews: &Reviews, user: &UserInfo, review: Value) -> Value {
    let (request, mut errors) = spec::request(&review["spec"]);
    let (allowed, denied, reason) = match reviews.authorization.decide(user, &request).await {
        Decision::Allow { reason } => (true, false, reason),
        Decision::Deny { reason } => (false, true, reason),
        Decision::NoOpinion { reason } => (false, false, reason),
        Decision::Failed { denied, reason, error } => {
            errors.insert(0, error);
            (false, denied, reason)
        }
    };
    let mut status = json!({ "allowed": allowed });
    if denied {
        status["denied"] = true.into();
    }
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    if !errors.is_empty() {
        status["evaluationError"] = errors.join("; ").into();
    }
    with_status(review, status)
}
