//! Who am I, and whose token is this: SelfSubjectReview, TokenReview.

use orlop_api::Value;
use orlop_api::status::StatusError;
use orlop_base::clock;
use orlop_client::transport::UserInfo;
use serde_json::{Map, json};

use super::{Reviews, with_status};
use crate::authn;
use crate::call::Call;

pub async fn own(_reviews: &Reviews, call: &Call, review: Value) -> Result<Value, StatusError> {
    let answer = json!({
        "apiVersion": review["apiVersion"], "kind": review["kind"],
        "metadata": { "creationTimestamp": clock::rfc3339() },
    });
    Ok(with_status(answer, json!({ "userInfo": user_info(&call.user) })))
}

pub async fn token(reviews: &Reviews, _call: &Call, review: Value) -> Result<Value, StatusError> {
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(StatusError::bad_request("token is required for TokenReview in authentication"));
    }
    let list = review["spec"]["audiences"].as_array().into_iter().flatten();
    let audiences: Vec<String> = list.filter_map(|item| item.as_str().map(str::to_owned)).collect();
    let audiences = (!audiences.is_empty()).then_some(audiences);
    let status = match reviews.authentication.authenticate_token(token, audiences.as_deref()).await {
        Ok(found) => json!({
            "authenticated": true,
            "user": user_info(&authn::authenticated(found.user)),
            "audiences": found.audiences,
        }),
        Err(why) => json!({ "user": {}, "error": why.to_string() }),
    };
    Ok(with_status(review, status))
}

/// `authentication/v1 UserInfo`, empty fields left out.
pub fn user_info(user: &UserInfo) -> Value {
    let mut info = Map::new();
    for (field, text) in [("username", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            info.insert(field.into(), text.clone().into());
        }
    }
    if !user.groups.is_empty() {
        info.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        let extra: Map<String, Value> = user.extra.iter().map(|(key, values)| (key.clone(), json!(values))).collect();
        info.insert("extra".into(), Value::Object(extra));
    }
    Value::Object(info)
}
