//! Where one credential stands: asked for, issued, due for another, refused.

use jiff::Timestamp;
use orlop_api::typed::kinds::PodCertificateRequest;

use super::Credential;
use super::request::Asked;
use crate::volumes::pem;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
/// A request that is not seen after this long was deleted.
const ABANDON_NANOS: i64 = 10 * MINUTE;
/// A certificate that long past its time of refresh is overdue.
const OVERDUE_NANOS: i64 = 10 * MINUTE;
/// Spread, so that certificates issued together are not renewed together.
const MAX_JITTER_NANOS: i64 = 5 * MINUTE;

#[derive(Clone, Debug, Default)]
pub struct State {
    issued: Option<Issued>,
    asked: Option<Asked>,
    /// For good.
    refused: Option<String>,
}

#[derive(Clone, Debug)]
struct Issued {
    key: String,
    chain: String,
    refresh_nanos: i64,
    expires_nanos: i64,
    told_overdue: bool,
    told_expired: bool,
}

/// What remains to be done.
#[derive(Debug, PartialEq)]
pub enum Next {
    Wait,
    Ask,
    /// Just now; the pod is told once.
    Refused {
        event: &'static str,
        message: String,
    },
}

impl State {
    /// Name of the request under way.
    pub fn asked(&self) -> Option<&str> {
        self.asked.as_ref().map(|asked| asked.name.as_str())
    }

    pub fn ask(&mut self, asked: Asked) {
        self.asked = Some(asked);
    }

    /// Takes in what is known of the request under way.
    pub fn next(&mut self, request: Option<&PodCertificateRequest>, now: i64) -> Next {
        if self.refused.is_some() {
            return Next::Wait;
        }
        let Some(asked) = &self.asked else {
            return if self.issued.as_ref().is_none_or(|issued| issued.refresh_nanos <= now) {
                Next::Ask
            } else {
                Next::Wait
            };
        };
        let Some(request) = request else {
            return if asked.made_nanos + ABANDON_NANOS <= now { Next::Ask } else { Next::Wait };
        };
        let status = request.status.as_ref();
        for condition in status.iter().flat_map(|s| s.conditions.iter().flatten()) {
            let (event, verb) = match condition.type_.as_str() {
                "Denied" => ("Denied", "denied"),
                "Failed" => ("Failed", "failed"),
                "Issued" => {
                    self.issued = Some(issued(&asked.key, request));
                    self.asked = None;
                    return Next::Wait;
                }
                _ => continue,
            };
            let why = format!("reason={:?} message={:?}", condition.reason, condition.message);
            self.refused = Some(format!("PodCertificateRequest was permanently {verb}: {why}"));
            let was = if event == "Denied" { "was denied" } else { "failed" };
            let place = format!("{}/{}", request.metadata.namespace.as_deref().unwrap_or_default(), asked.name);
            let why = format!("reason={:?}, message={:?}", condition.reason, condition.message);
            return Next::Refused { event, message: format!("PodCertificateRequest {place} {was}, {why}") };
        }
        Next::Wait
    }

    /// Events about a certificate that nobody renews.
    pub fn notices(&mut self, now: i64) -> Vec<(&'static str, &'static str)> {
        let mut notices = Vec::new();
        let Some(issued) = &mut self.issued else { return notices };
        if now >= issued.refresh_nanos + OVERDUE_NANOS && !std::mem::replace(&mut issued.told_overdue, true) {
            notices.push(("CertificateOverdueForRefresh", "PodCertificate refresh overdue"));
        }
        if now >= issued.expires_nanos && !std::mem::replace(&mut issued.told_expired, true) {
            notices.push(("CertificateExpired", "PodCertificate expired"));
        }
        notices
    }

    pub fn credential(&self, now: i64) -> Result<Credential, String> {
        if let Some(why) = &self.refused {
            return Err(why.clone());
        }
        let issued = self.issued.as_ref().ok_or("credential bundle is not issued yet")?;
        let abandoned = self.asked.as_ref().map(|asked| asked.made_nanos + ABANDON_NANOS);
        let times = [issued.refresh_nanos, issued.refresh_nanos + OVERDUE_NANOS, issued.expires_nanos];
        let refresh_nanos = times.into_iter().chain(abandoned).filter(|time| *time > now).min();
        Ok(Credential { key: issued.key.clone(), chain: issued.chain.clone(), refresh_nanos })
    }
}

fn issued(key: &str, request: &PodCertificateRequest) -> Issued {
    let status = request.status.as_ref();
    let nanos = |time: Option<Timestamp>| -> i64 {
        time.and_then(|t| i64::try_from(t.as_nanosecond()).ok()).unwrap_or(i64::MAX / 2)
    };
    let jitter = orlop_base::id::with_rng(|rng| rng.i64(0..MAX_JITTER_NANOS));
    let chain = status.and_then(|s| s.certificate_chain.as_deref()).unwrap_or_default();
    Issued {
        key: key.to_owned(),
        chain: pem::encode(&pem::certificates(chain)),
        refresh_nanos: nanos(status.and_then(|s| s.begin_refresh_at.as_ref()).map(|t| t.0)) + jitter,
        expires_nanos: nanos(status.and_then(|s| s.not_after.as_ref()).map(|t| t.0)),
        told_overdue: false,
        told_expired: false,
    }
}

#[cfg(test)]
mod tests {
    use orlop_api::typed::Typed;
    use serde_json::{Value, json};

    use super::*;

    fn answer(status: Value) -> PodCertificateRequest {
        let object = json!({"metadata": {"namespace": "d", "name": "req-1"}, "status": status, "spec": {
            "nodeName": "", "nodeUID": "", "podName": "", "podUID": "", "serviceAccountName": "",
            "serviceAccountUID": "", "signerName": "", "stubPKCS10Request": ""}});
        PodCertificateRequest::decode(object.to_string().as_bytes()).unwrap()
    }

    fn condition(kind: &str) -> Value {
        json!([{"type": kind, "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "1970-01-01T00:00:00Z"}])
    }

    fn asked(key: &str, made_nanos: i64) -> Asked {
        Asked { name: "req-1".into(), key: key.into(), made_nanos }
    }

    #[test]
    fn asked_for_issued_and_renewed() {
        let mut state = State::default();
        assert_eq!(state.next(None, 0), Next::Ask);
        state.ask(asked("one", 0));
        assert_eq!(state.next(None, MINUTE), Next::Wait);
        assert_eq!(state.next(None, ABANDON_NANOS), Next::Ask, "somebody deleted it");
        assert_eq!(state.next(Some(&answer(json!({}))), MINUTE), Next::Wait);
        assert_eq!(state.credential(MINUTE).err().unwrap(), "credential bundle is not issued yet");
        let status = json!({"conditions": condition("Issued"), "certificateChain": "",
            "beginRefreshAt": "1970-01-01T01:00:00Z", "notAfter": "1970-01-01T02:00:00Z"});
        assert_eq!(state.next(Some(&answer(status)), MINUTE), Next::Wait);
        let refresh = state.credential(MINUTE).ok().unwrap().refresh_nanos.unwrap();
        assert!((60 * MINUTE..65 * MINUTE).contains(&refresh));
        assert_eq!(state.next(None, refresh - 1), Next::Wait);
        assert_eq!(state.next(None, refresh), Next::Ask);
        state.ask(asked("two", refresh));
        assert_eq!(state.credential(refresh).ok().unwrap().key, "one", "until the next is issued");
        assert!(state.notices(refresh).is_empty());
        assert_eq!(state.notices(120 * MINUTE).len(), 2);
        assert!(state.notices(121 * MINUTE).is_empty(), "told once");
    }

    #[test]
    fn refused_for_good() {
        let mut state = State::default();
        state.ask(asked("one", 0));
        let denied = answer(json!({"conditions": condition("Denied")}));
        let message = "PodCertificateRequest d/req-1 was denied, reason=\"R\", message=\"m\"".to_owned();
        assert_eq!(state.next(Some(&denied), 1), Next::Refused { event: "Denied", message });
        assert_eq!(state.next(Some(&denied), 2), Next::Wait);
        let error = "PodCertificateRequest was permanently denied: reason=\"R\" message=\"m\"";
        assert_eq!(state.credential(2).err().unwrap(), error);
    }
}
