//! Hooks that may refuse, all asked at once (`webhook/validating/dispatcher.go`).

use futures_util::future::{BoxFuture, join_all};
use orlop_api::status::StatusError;

use super::hook::{Hooks, is_exempt};
use crate::Server;
use crate::admission::metrics::Half;
use crate::admission::versioned::Views;
use crate::admission::{Attributes, Plugin};

pub struct ValidatingAdmissionWebhook(Hooks);

impl Default for ValidatingAdmissionWebhook {
    fn default() -> Self {
        Self(Hooks::new("admissionregistration.k8s.io/validatingwebhookconfigurations"))
    }
}

impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, a: &Attributes) -> bool {
        !is_exempt(a)
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let hooks = self.0.all(server);
            let (mut asked, mut views) = (Vec::new(), Views::default());
            for hook in hooks.iter() {
                let Some(resource) = hook.concerns(server, a) else { continue };
                let seen = views.get(server, a, &resource).await;
                asked.push((hook, seen.map_err(|error| StatusError::internal(error.message))?));
            }
            let answers = asked.iter().map(|(hook, seen)| super::ask(server, hook, seen, a, Half::Validate));
            join_all(answers).await.into_iter().try_for_each(|answer| answer.map(drop))
        })
    }
}
