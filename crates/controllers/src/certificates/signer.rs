//! Signs approved requests for the signers that are the cluster's own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use orlop_api::typed::k8s_openapi::ByteString;
use orlop_api::typed::k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use orlop_api::typed::kinds::CertificateSigningRequest;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};
use orlop_client::{Error, Result};

use super::request::{Request, not_client_usages};
use super::{KUBELET_CLIENT, NAME, has, is_issued};

const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const LEGACY: &str = "kubernetes.io/legacy-unknown";
/// `--cluster-signing-duration`
const LONGEST: Duration = Duration::from_hours(365 * 24);
/// Twice what certificates are backdated.
const SHORTEST: Duration = Duration::from_mins(10);

type Sign = dyn Fn(&[u8], &[String], Duration) -> std::result::Result<Vec<u8>, String> + Send + Sync;

/// Makes a certificate, in PEM, of a request in PEM, for these usages and this long.
#[derive(Clone)]
pub struct Signer(Arc<Sign>);

impl Signer {
    pub fn new(
        sign: impl Fn(&[u8], &[String], Duration) -> std::result::Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(sign))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

pub fn controller(signer: Signer) -> Controller {
    let mut grants = vec![Grant::new("certificates.k8s.io", &["certificatesigningrequests/status"], &["update"])];
    grants.extend(Grant::EVENTS);
    let sources = vec![Source::subject::<CertificateSigningRequest>()];
    let mut controller = Controller::new(NAME, "csrsigning", sources, grants, decide);
    controller.look = Some(Box::new(move |_, key, view| {
        let signer = signer.clone();
        Box::pin(async move { look(&signer, &key, view) })
    }));
    controller
}

/// What became of a request that is to be signed.
#[derive(Clone, Debug)]
enum Outcome {
    Signed(Vec<u8>),
    /// Nothing that its signer signs.
    Unfit(String),
}

/// Signing is chance and clocks: no decision does it.
fn look(signer: &Signer, key: &Key, view: View) -> Result<View> {
    let Some(csr) = view.subject::<CertificateSigningRequest>(key).filter(|csr| is_due(csr)) else { return Ok(view) };
    let spec = &csr.spec;
    let usages = spec.usages.as_deref().unwrap_or_default();
    let request =
        Request::parse(&spec.request.0).map_err(|why| Error::Request(format!("unable to parse csr: {why}")))?;
    let unfit = match spec.signer_name.as_str() {
        KUBELET_SERVING => request.not_kubelet_serving(usages),
        KUBELET_CLIENT => request.not_kubelet_client(usages),
        CLIENT => not_client_usages(usages),
        _ => None,
    };
    if let Some(why) = unfit {
        return Ok(view.with(Outcome::Unfit(why)));
    }
    let asked = spec.expiration_seconds.map(|seconds| Duration::from_secs(seconds.max(0).unsigned_abs().into()));
    let duration = asked.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST);
    let certificate = (signer.0)(&spec.request.0, usages, duration);
    let certificate = certificate.map_err(|why| Error::Request(format!("error auto signing csr: {why}")))?;
    Ok(view.with(Outcome::Signed(certificate)))
}

/// Approved, not yet dealt with, and of a signer that is ours.
fn is_due(csr: &CertificateSigningRequest) -> bool {
    let ours = [KUBELET_SERVING, KUBELET_CLIENT, CLIENT, LEGACY].contains(&csr.spec.signer_name.as_str());
    ours && has(csr, "Approved") && !has(csr, "Denied") && !has(csr, "Failed") && !is_issued(csr)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let csr = view.subject::<CertificateSigningRequest>(key).filter(|csr| is_due(csr));
    let (Some(csr), Some(outcome)) = (csr, view.facts::<Outcome>()) else { return plan };
    let mut done = (**csr).clone();
    let status = done.status.get_or_insert_default();
    match outcome {
        Outcome::Signed(certificate) => status.certificate = Some(ByteString(certificate.clone())),
        Outcome::Unfit(why) => {
            status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
                type_: "Failed".into(),
                status: "True".into(),
                reason: Some("SignerValidationFailure".into()),
                message: Some(why.clone()),
                last_update_time: Some(Time(now)),
                ..CertificateSigningRequestCondition::default()
            });
        }
    }
    plan.write(Write::update_status(&done));
    plan
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::common::fixture::{body, decide_view, objects};

    pub const CONVERGED: &str = super::super::approver::tests::CONVERGED;

    /// Of O=system:nodes, CN=system:node:a.
    const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1JBZ0VBTUM4eEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVXTUJRR0ExVUVBd3dOYzNsegpkR1Z0T201dlpHVTZZVEJaTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEEwSUFCRGd1VlUxc1VzdmZ2RDdiCjhFRkhJbjJ5aExCZHFYN1RpZzN4ZUVzVEQ2d1VLK3NIWTlMbi92Z3luTmlPSG1yODN2M0NYQXZ1VkR2WkZLQ3cKTkdxcWo0dWdBREFLQmdncWhrak9QUVFEQWdOSUFEQkZBaUVBeXMwS1NJZm5uVGd1YWU4ZTFyVElzRTJYdmpvUwovRnhSL1VVT01Jc1NnWUlDSUJQUk9CRW5ZZDhrMWhkUXl5UmtxSUdSUTBEMG02Nnl3NEIreFI2S29TMlkKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

    /// A request `c` of the node `a` for its client certificate.
    pub fn csr(signer: &str, status: &str) -> String {
        format!(
            "kind: CertificateSigningRequest\nmetadata: {{name: c}}\nspec: {{signerName: {signer}, request: {REQUEST}, \
             username: 'system:node:a', usages: [digital signature, client auth]}}\nstatus: {{{status}}}\n"
        )
    }

    const APPROVED: &str = "conditions: [{type: Approved, status: 'True'}]";

    fn plan(signer: &str, status: &str) -> Plan {
        let sign = Signer::new(|_, usages, duration| Ok(format!("{usages:?} {}", duration.as_secs()).into_bytes()));
        let controller = controller(sign.clone());
        let view = controller.view_of(&objects(&csr(signer, status)));
        let view = look(&sign, &Key::new("", "c"), view).unwrap();
        decide_view(&controller, "c", &view)
    }

    #[test]
    fn approved_requests_are_signed_once() {
        const LINE: &str = "update certificatesigningrequests/status c";
        for signer in [KUBELET_CLIENT, CLIENT, LEGACY] {
            let signed = plan(signer, APPROVED);
            assert_eq!(signed.lines(), [LINE], "{signer}");
            assert!(body(&signed, LINE)["status"]["certificate"].is_string());
        }
        for status in ["", "certificate: eA==, conditions: [{type: Approved, status: 'True'}]"] {
            assert!(plan(CLIENT, status).is_converged(), "{status}");
        }
        assert!(plan("example.com/other", APPROVED).is_converged());
        let unfit = plan(KUBELET_SERVING, APPROVED);
        let condition = &body(&unfit, LINE)["status"]["conditions"][1];
        assert_eq!((&condition["type"], &condition["reason"]), (&"Failed".into(), &"SignerValidationFailure".into()));
        assert_eq!(condition["message"], "DNS or IP subjectAltName is required");
    }
}
