//! `AdmissionReview`: what a hook is told, and what it may answer (`webhook/request/admissionreview.go`).

use base64::Engine as _;
use orlop_api::Value;
use orlop_api::status::StatusError;
use serde_json::json;

use crate::admission::versioned::{self, Versioned};
use crate::admission::{Attributes, Operation};
use crate::review::user_info;

/// What a hook answered.
pub struct Verdict {
    pub allowed: bool,
    /// A JSON patch.
    pub patch: Option<Value>,
    pub warnings: Vec<String>,
    pub status: Value,
}

/// `request` of a review, with objects in the hook's version.
pub fn request(seen: &Versioned, a: &Attributes) -> Value {
    let mut request = json!({
        "uid": orlop_base::id::uuid(),
        "kind": versioned::kind(a, &seen.resource), "resource": versioned::resource(&seen.resource),
        "requestKind": versioned::kind(a, &a.resource), "requestResource": versioned::resource(&a.resource),
        "operation": a.operation.name(),
        "userInfo": user_info(&a.user),
        "object": &seen.object, "oldObject": &seen.old_object,
        "dryRun": a.dry_run, "options": options(a),
    });
    for (field, value) in [("name", &a.name), ("namespace", &a.namespace)] {
        if !value.is_empty() {
            request[field] = value.as_str().into();
        }
    }
    if !a.subresource.is_empty() {
        request["subResource"] = a.subresource.as_str().into();
        request["requestSubResource"] = a.subresource.as_str().into();
    }
    request
}

/// `CreateOptions` and its like; connecting has none.
fn options(a: &Attributes) -> Value {
    let kind = match a.operation {
        Operation::Create => "CreateOptions",
        Operation::Update if a.patched => "PatchOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = json!({ "kind": kind, "apiVersion": "meta.k8s.io/v1" });
    if a.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    if !a.field_manager.is_empty() {
        options["fieldManager"] = a.field_manager.as_str().into();
    }
    options
}

pub fn review(version: &str, request: Value) -> Value {
    json!({ "kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request })
}

/// Reads an answer, or says what is wrong with it.
pub fn verify(version: &str, uid: &Value, answer: &Value, mutating: bool) -> Result<Verdict, String> {
    let Some(response) = answer.get("response").filter(|response| response.is_object()) else {
        return Err("webhook response was absent".into());
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (patch, patch_type) = (text(&response["patch"]), text(&response["patchType"]));
    if version == "v1" {
        if response["uid"] != *uid {
            return Err(format!("expected response.uid={:?}, got {:?}", text(uid), text(&response["uid"])));
        }
        let (api_version, kind) = (text(&answer["apiVersion"]), text(&answer["kind"]));
        if (api_version.as_str(), kind.as_str()) != ("admission.k8s.io/v1", "AdmissionReview") {
            return Err(format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {api_version}, Kind={kind}"
            ));
        }
        match (mutating, patch.is_empty(), response["patchType"].is_null()) {
            (true, false, true) => return Err("webhook returned response.patch but not response.patchType".into()),
            (true, true, false) => return Err("webhook returned response.patchType but not response.patch".into()),
            (false, false, _) => return Err("validating webhook may not return response.patch".into()),
            (false, _, false) => return Err("validating webhook may not return response.patchType".into()),
            _ => {}
        }
        if !patch.is_empty() && patch_type != "JSONPatch" {
            return Err(format!("unsupported patch type {patch_type:?}"));
        }
    }
    let patch = match patch.as_str() {
        "" => None,
        _ if !mutating => None,
        patch => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(patch).map_err(|error| error.to_string())?;
            let why = |error| format!("received undecodable patch in webhook response: {error}");
            Some(serde_json::from_slice(&bytes).map_err(why)?)
        }
    };
    let warnings = response["warnings"].as_array().into_iter().flatten().map(text).collect();
    Ok(Verdict { allowed: response["allowed"] == true, patch, warnings, status: response["status"].clone() })
}

/// A refusal as the client sees it (`webhook/errors/statuserror.go`).
pub fn denied(hook: &str, status: &Value) -> StatusError {
    let text = |field: &str| status[field].as_str().unwrap_or_default();
    let by = format!("admission webhook {hook:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400);
    let error = StatusError::new(code.unwrap_or(400), text("reason"), message);
    if status["details"].is_object() { error.with_details(status["details"].clone()) } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_checked() {
        let uid = json!("u");
        let answer = |response: Value| json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
        let why = |answer: &Value, mutating| verify("v1", &uid, answer, mutating).map(|_| ()).unwrap_err();
        assert_eq!(why(&json!({}), true), "webhook response was absent");
        assert_eq!(why(&answer(json!({"uid": "x"})), true), "expected response.uid=\"u\", got \"x\"");
        assert_eq!(
            why(&answer(json!({"uid": "u", "patch": "W10="})), true),
            "webhook returned response.patch but not response.patchType"
        );
        assert_eq!(
            why(&answer(json!({"uid": "u", "patch": "W10="})), false),
            "validating webhook may not return response.patch"
        );
        let patch = answer(json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"}));
        assert_eq!(verify("v1", &uid, &patch, true).ok().and_then(|v| v.patch), Some(json!([])));
        let old = json!({"response": {"allowed": true, "patch": "W10="}});
        assert!(verify("v1beta1", &uid, &old, true).is_ok());
    }

    #[test]
    fn denials_say_who_and_why() {
        let denied = |status: Value| {
            let error = denied("h.example.com", &status);
            (error.code, error.message)
        };
        assert_eq!(
            denied(json!({"code": 403, "message": "no"})),
            (403, "admission webhook \"h.example.com\" denied the request: no".into())
        );
        assert_eq!(
            denied(json!({"code": 200})),
            (400, "admission webhook \"h.example.com\" denied the request without explanation".into())
        );
    }
}
