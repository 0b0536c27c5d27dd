//! Webhooks that change or refuse what is written
//! (`k8s.io/apiserver/pkg/admission/plugin/webhook`).

mod hook;
mod mutating;
mod review;
mod validating;

pub use hook::Reinvocation;
pub use mutating::MutatingAdmissionWebhook;
pub use validating::ValidatingAdmissionWebhook;

use orlop_api::status::StatusError;

use super::Attributes;
use super::policy::{Asker, Input};
use crate::Server;
use crate::connect::webhook;
use hook::{Hook, Invocation};
use review::Verdict;

/// What kept a hook from deciding, or how it decided.
enum Refusal {
    /// No usable answer: what happens then is the hook's failure policy.
    Call(String),
    Rejected(StatusError),
}

/// Asks one hook. The verdict of a hook that fails open is none.
async fn ask(
    server: &Server,
    hook: &Hook,
    invocation: &Invocation,
    a: &Attributes,
    mutating: bool,
) -> Result<Option<Verdict>, StatusError> {
    match call(server, hook, invocation, a, mutating).await {
        Ok(verdict) => Ok(verdict),
        Err(Refusal::Rejected(status)) => Err(status),
        Err(Refusal::Call(why)) if hook.fails_open => {
            tracing::warn!(webhook = hook.name, why, "failed calling webhook, failing open");
            let kind = if mutating { "mutation" } else { "validating" };
            a.trail.annotate(&format!("failed-open.{kind}.{}", place(hook, a)), &hook.name);
            Ok(None)
        }
        Err(Refusal::Call(why)) => Err(StatusError::internal(format!("failed calling webhook {:?}: {why}", hook.name))),
    }
}

/// How annotations of the audit log name a hook's turn.
fn place(hook: &Hook, a: &Attributes) -> String {
    format!("webhook.admission.k8s.io/round_{}_index_{}", u8::from(a.reinvocation.second), hook.index)
}

/// Whether the hook's conditions hold. One that fails open is not called where they cannot be judged.
fn concerned(server: &Server, hook: &Hook, invocation: &Invocation, a: &Attributes) -> Result<bool, String> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let input = Input::new(a, &invocation.resource, None, None);
    hook.conditions.hold(&input, &Asker { server, user: &a.user }, hook.fails_open)
}

async fn call(
    server: &Server,
    hook: &Hook,
    invocation: &Invocation,
    a: &Attributes,
    mutating: bool,
) -> Result<Option<Verdict>, Refusal> {
    if !concerned(server, hook, invocation, a).map_err(|why| Refusal::Rejected(a.forbidden(&why)))? {
        return Ok(None);
    }
    let request = review::request(invocation, a);
    if a.dry_run && !hook.bears_dry_run {
        let text = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(Refusal::Rejected(StatusError::bad_request(text)));
    }
    let Some(version) = hook.review_version() else {
        let why =
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        return Err(Refusal::Call(why.into()));
    };
    let uid = request["uid"].clone();
    let review = review::review(version, request);
    let answer = webhook::call(server.store(), &hook.client, &review, hook.timeout).await;
    let answer = answer.map_err(|why| Refusal::Call(format!("failed to call webhook: {why}")))?;
    let verdict = review::verify(version, &uid, &answer, mutating);
    let verdict = verdict.map_err(|why| Refusal::Call(format!("received invalid webhook response: {why}")))?;
    for (key, value) in answer["response"]["auditAnnotations"].as_object().into_iter().flatten() {
        a.trail.annotate(&format!("{}/{key}", hook.name), value.as_str().unwrap_or_default());
    }
    for text in &verdict.warnings {
        a.warnings.add(text);
    }
    match verdict.allowed {
        true => Ok(Some(verdict)),
        false => Err(Refusal::Rejected(review::denied(&hook.name, &verdict.status))),
    }
}
