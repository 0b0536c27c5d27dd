//! Webhooks that change or refuse what is written
//! (`k8s.io/apiserver/pkg/admission/plugin/webhook`).

mod hook;
mod mutating;
mod review;
mod validating;

pub use hook::Reinvocation;
pub use mutating::MutatingAdmissionWebhook;
pub use validating::ValidatingAdmissionWebhook;

use orlop_api::Value;
use orlop_api::status::StatusError;
use tokio::time::Instant;

use super::Attributes;
use super::metrics::{ConditionLabels, Half, METRICS, Outcome};
use super::policy::{Asker, Input};
use super::versioned::Versioned;
use crate::Server;
use crate::connect::webhook;
use crate::observe::{Layer, step, timed};
use crate::trace::{self, Attribute};
use hook::Hook;
use review::Verdict;

/// What kept a hook from deciding, or how it decided.
enum Refusal {
    /// No usable answer, and the code it is counted by: what happens then is the hook's failure policy.
    Call(String, u16),
    Rejected(StatusError),
    /// It was not asked.
    Unasked(StatusError),
}

impl Refusal {
    fn unusable(why: String) -> Self {
        Self::Call(why, 503)
    }
}

/// Asks one hook. The verdict of a hook that fails open is none.
async fn ask(
    server: &Server,
    hook: &Hook,
    seen: &Versioned,
    a: &Attributes,
    half: Half,
) -> Result<Option<Verdict>, StatusError> {
    if !concerned(server, hook, seen, a, half).map_err(|why| a.forbidden(&why))? {
        return Ok(None);
    }
    let began = Instant::now();
    let layer = if half == Half::Admit { Layer::MutatingWebhook } else { Layer::ValidatingWebhook };
    let answer = timed(layer, call(server, hook, seen, a, half)).await;
    let outcome = match &answer {
        Ok(_) => Outcome::Allowed,
        Err(Refusal::Rejected(status)) => Outcome::Rejected(status.code),
        Err(Refusal::Call(_, code)) => Outcome::Failed { code: *code, closed: !hook.fails_open },
        Err(Refusal::Unasked(_)) => Outcome::Internal,
    };
    METRICS.webhook(&hook.name, half, a.operation, began.elapsed(), &outcome);
    match answer {
        Ok(verdict) => Ok(Some(verdict)),
        Err(Refusal::Rejected(status) | Refusal::Unasked(status)) => Err(status),
        Err(Refusal::Call(why, _)) if hook.fails_open => {
            tracing::warn!(webhook = hook.name, why, "failed calling webhook, failing open");
            let kind = if half == Half::Admit { "mutation" } else { "validating" };
            a.trail.annotate(&format!("failed-open.{kind}.{}", place(hook, a)), &hook.name);
            Ok(None)
        }
        Err(Refusal::Call(why, _)) => {
            Err(StatusError::internal(format!("failed calling webhook {:?}: {why}", hook.name)))
        }
    }
}

/// How annotations of the audit log name a hook's turn.
fn place(hook: &Hook, a: &Attributes) -> String {
    format!("webhook.admission.k8s.io/round_{}_index_{}", u8::from(a.reinvocation.second), hook.index)
}

/// Whether the hook's conditions hold. One that fails open is not called where they cannot be judged.
fn concerned(server: &Server, hook: &Hook, seen: &Versioned, a: &Attributes, half: Half) -> Result<bool, String> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let (name, operation) = (hook.name.clone(), a.operation.name());
    let whose = ConditionLabels { name, kind: "webhook", r#type: half.of_webhooks(), operation };
    let input = Input::new(a, seen, None, None);
    hook.conditions.hold(&input, &Asker { server, user: &a.user }, hook.fails_open, &whose)
}

/// What the trace says of a call.
fn attributes(hook: &Hook, a: &Attributes, uid: &Value) -> Vec<Attribute> {
    let info = a.resource.info();
    let resource = format!("{}/{}, Resource={}", info.group, a.resource.version(), info.plural);
    let said = [
        ("configuration", &*hook.configuration),
        ("webhook", &hook.name),
        ("resource", &resource),
        ("subresource", &a.subresource),
        ("operation", a.operation.name()),
        ("UID", uid.as_str().unwrap_or_default()),
    ];
    said.map(|(name, text)| (name, trace::Value::Text(text.to_owned()))).into()
}

async fn call(server: &Server, hook: &Hook, seen: &Versioned, a: &Attributes, half: Half) -> Result<Verdict, Refusal> {
    let request = review::request(seen, a);
    if a.dry_run && !hook.bears_dry_run {
        let text = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(Refusal::Unasked(StatusError::bad_request(text)));
    }
    let Some(version) = hook.review_version() else {
        let why =
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        return Err(Refusal::Call(why.into(), 400));
    };
    let uid = request["uid"].clone();
    let review = review::review(version, request);
    let name = if half == Half::Admit { "Call mutating webhook" } else { "Call validating webhook" };
    let calling = webhook::call(server.store(), &hook.client, &review, hook.timeout);
    let answer = step(name, || attributes(hook, a, &uid), calling).await;
    let answer = answer.map_err(|why| Refusal::unusable(format!("failed to call webhook: {why}")))?;
    let verdict = review::verify(version, &uid, &answer, half == Half::Admit);
    let verdict = verdict.map_err(|why| Refusal::unusable(format!("received invalid webhook response: {why}")))?;
    for (key, value) in answer["response"]["auditAnnotations"].as_object().into_iter().flatten() {
        a.trail.annotate(&format!("{}/{key}", hook.name), value.as_str().unwrap_or_default());
    }
    for text in &verdict.warnings {
        a.warnings.add(text);
    }
    if verdict.allowed {
        return Ok(verdict);
    }
    Err(Refusal::Rejected(review::denied(&hook.name, &verdict.status)))
}
