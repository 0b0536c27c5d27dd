//! The ServiceCIDR `kubernetes`: the ranges this server was configured with
//! (`pkg/controlplane/controller/defaultservicecidr`).
//!
//! It is made, made again, ready unless somebody says otherwise, and grows by a second family. What else it has
//! become, because servers are configured differently or somebody wanted it so, is told in an event and left alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;
use orlop_api::status::StatusError;
use orlop_api::typed::Typed as _;
use orlop_api::typed::kinds::ServiceCIDR;
use orlop_api::{Value, meta};
use orlop_base::clock;
use orlop_client::Client;
use orlop_client::events::{EventType, Recorder, reference};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{send, send_as};
use crate::services::{DEFAULT_SERVICE_CIDR, SERVICE_CIDRS};
use crate::{Component, Server};

const PATH: &str = "/apis/networking.k8s.io/v1/servicecidrs";
/// Source of events, manager of the status.
const CONTROLLER: &str = "kubernetes-service-cidr-controller";
const FAILED: &str = "KubernetesDefaultServiceCIDRError";
const READY: &str = "Kubernetes default Service CIDR is ready";

/// The kinds of trouble that this server has told of: once is enough for those that last.
#[derive(Default)]
pub struct Told(Mutex<BTreeSet<Lasting>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lasting {
    OtherRanges,
    NotReady,
    /// Somebody did not let it be changed.
    Refused,
}

impl Told {
    /// Whether the last change to it was refused, which nothing that is followed may undo.
    pub fn refused(&self) -> bool {
        self.known().contains(&Lasting::Refused)
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<Lasting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    /// From one family to two.
    Grow,
    /// Nobody has said yet that it is ready.
    MakeReady,
    Tell(Lasting, String, String),
}

/// The configured ranges were `cidrs`; `stored` is what there is.
fn decide(stored: &Value, cidrs: &[String]) -> Step {
    let spec = &stored["spec"]["cidrs"];
    let known: Vec<&str> = spec.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let ([first, _], [only]) = (cidrs, &*known)
        && first == only
    {
        return Step::Grow;
    }
    if meta::is_terminating(stored) {
        return Step::Nothing;
    }
    if known != cidrs {
        let (known, cidrs) = (known.join(" "), cidrs.join(" "));
        let message =
            format!("The default ServiceCIDR [{known}] does not match the controller flag configurations [{cidrs}]");
        return Step::Tell(Lasting::OtherRanges, "KubernetesDefaultServiceCIDRInconsistent".to_owned(), message);
    }
    let mut conditions = stored["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.find(|condition| condition["type"] == "Ready");
    let text = |field: &str| ready.and_then(|ready| ready[field].as_str()).unwrap_or_default();
    match text("status") {
        "True" => Step::Nothing,
        // Whoever said so has the last word, or the two would never end.
        "False" => {
            let message = format!("Configuration matches, but {}", text("message"));
            Step::Tell(Lasting::NotReady, text("reason").to_owned(), message)
        }
        _ => Step::MakeReady,
    }
}

/// Makes it, or takes the next step with it. What others refuse is told, and no failure: the server can do without.
pub(super) async fn keep(server: &Arc<Server>, me: &Component) -> Result<(), StatusError> {
    let cidrs: Vec<String> = server.allocators.config().cidrs.iter().map(ToString::to_string).collect();
    let find = || server.store.snapshot().get(SERVICE_CIDRS, "", DEFAULT_SERVICE_CIDR).cloned();
    if find().is_none() {
        let made = send(me, Method::POST, PATH, &object("spec", json!({ "cidrs": cidrs }))).await;
        made.or_else(|error| if error.is_already_exists() { Ok(()) } else { Err(error) })?;
    }
    let Some(entry) = find() else { return Ok(()) };
    let stored: Value = crate::resource::parse_stored(&entry)?;
    let told = &server.default_range;
    let tell_once = |lasting, reason: &str, message: &str| {
        if told.known().insert(lasting) {
            tell(me, &stored, reason, message);
        }
    };
    let changed = match decide(&stored, &cidrs) {
        Step::Nothing => Ok(()),
        Step::Tell(lasting, reason, message) => {
            tell_once(lasting, &reason, &message);
            Ok(())
        }
        Step::MakeReady => make_ready(me).await,
        Step::Grow => grow(me, &stored, &cidrs).await,
    };
    match changed {
        Ok(()) => {
            told.known().remove(&Lasting::Refused);
        }
        Err(message) => tell_once(Lasting::Refused, FAILED, &message),
    }
    Ok(())
}

async fn make_ready(me: &Component) -> Result<(), String> {
    let ready = json!({"type": "Ready", "status": "True", "message": READY, "lastTransitionTime": clock::rfc3339()});
    let status = object("status", json!({"conditions": [ready]}));
    let path = format!("{PATH}/{DEFAULT_SERVICE_CIDR}/status?force=true&fieldManager={CONTROLLER}");
    let made = send_as(me, Method::PATCH, "application/apply-patch+yaml", &path, &status).await;
    made.map_err(|_| "The default ServiceCIDR Status can not be set to Ready=True".to_owned())
}

async fn grow(me: &Component, stored: &Value, cidrs: &[String]) -> Result<(), String> {
    let mut grown = stored.clone();
    grown["spec"]["cidrs"] = json!(cidrs);
    let put = send(me, Method::PUT, &format!("{PATH}/{DEFAULT_SERVICE_CIDR}"), &grown).await;
    put.map_err(|error| {
        let (from, to, why) = (&cidrs[0], cidrs.join(" "), &error.message);
        format!("The default ServiceCIDR can not be upgraded from {from} to dual stack [{to}] : {why}")
    })
}

fn object(field: &str, content: Value) -> Value {
    json!({
        "kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": DEFAULT_SERVICE_CIDR},
        (field): content,
    })
}

/// Rare enough for a recorder of its own, which ends when it has written.
fn tell(me: &Component, about: &Value, reason: &str, message: &str) {
    tracing::warn!(reason, "{message}");
    let Ok(about) = ServiceCIDR::decode(about.to_string().as_bytes()) else { return };
    let client = Client::new(me.clone(), super::USER_AGENT);
    let recorder = Recorder::new(client, CONTROLLER, "", CancellationToken::new());
    recorder.event(&reference(&about), EventType::Warning, reason, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(cidrs: &[&str], conditions: Value) -> Value {
        json!({"metadata": {}, "spec": {"cidrs": cidrs}, "status": {"conditions": conditions}})
    }

    fn step(stored: &Value, cidrs: &[&str]) -> Step {
        decide(stored, &cidrs.iter().map(|cidr| (*cidr).to_owned()).collect::<Vec<_>>())
    }

    fn ready(status: &str) -> Value {
        json!([{"type": "Ready", "status": status, "reason": "Why", "message": "because"}])
    }

    #[test]
    fn it_becomes_ready_once() {
        let (v4, dual) = (["10.0.0.0/16"], ["10.0.0.0/16", "fd00::/112"]);
        assert_eq!(step(&stored(&v4, Value::Null), &v4), Step::MakeReady);
        assert_eq!(step(&stored(&v4, ready("Unknown")), &v4), Step::MakeReady);
        assert_eq!(step(&stored(&dual, ready("True")), &dual), Step::Nothing);
        let told = Step::Tell(Lasting::NotReady, "Why".to_owned(), "Configuration matches, but because".to_owned());
        assert_eq!(step(&stored(&v4, ready("False")), &v4), told);
        let mut leaving = stored(&v4, ready("False"));
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(step(&leaving, &v4), Step::Nothing, "its controller's affair");
    }

    #[test]
    fn it_grows_by_a_family_and_is_else_what_others_made_it() {
        let (v4, dual) = (["10.0.0.0/16"], ["10.0.0.0/16", "fd00::/112"]);
        assert_eq!(step(&stored(&v4, ready("True")), &dual), Step::Grow);
        for (stored_cidrs, flags, shown) in [
            (
                &dual[..],
                &v4[..],
                "[10.0.0.0/16 fd00::/112] does not match the controller flag configurations [10.0.0.0/16]",
            ),
            (
                &["10.1.0.0/16"],
                &dual,
                "[10.1.0.0/16] does not match the controller flag configurations [10.0.0.0/16 fd00::/112]",
            ),
        ] {
            let Step::Tell(Lasting::OtherRanges, reason, message) = step(&stored(stored_cidrs, Value::Null), flags)
            else {
                panic!("{stored_cidrs:?}")
            };
            assert_eq!(reason, "KubernetesDefaultServiceCIDRInconsistent");
            assert_eq!(message, format!("The default ServiceCIDR {shown}"));
        }
    }
}
