//! Nobody becomes one of the masters by a certificate (`plugin/pkg/admission/certificates/subjectrestriction`).

use base64::Engine as _;
use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::status::StatusError;
use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

use super::{Attributes, Operation, Plugin};
use crate::Server;
use crate::authz::MASTERS;

pub struct CertificateSubjectRestriction;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Create
            && a.is("certificates.k8s.io", "certificatesigningrequests")
            && a.subresource.is_empty()
    }

    fn validate<'a>(&'a self, _: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(std::future::ready(decide(a)))
    }
}

fn decide(a: &Attributes) -> Result<(), StatusError> {
    if a.object["spec"]["signerName"] != SIGNER {
        return Ok(());
    }
    let organizations = organizations(&a.object["spec"]["request"]);
    let organizations = organizations.map_err(|why| a.forbidden(&format!("failed to parse CSR: {why}")))?;
    if organizations.iter().any(|group| group == MASTERS) {
        return Err(a.forbidden(&format!("use of {SIGNER} signer with {MASTERS} group is not allowed")));
    }
    Ok(())
}

/// The organizations (groups) of a request's subject.
fn organizations(request: &Value) -> Result<Vec<String>, String> {
    const NONE: &str = "PEM block type must be CERTIFICATE REQUEST";
    let text = request.as_str().unwrap_or_default();
    let pem = base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| error.to_string())?;
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| NONE)?;
    if block.label != "CERTIFICATE REQUEST" {
        return Err(NONE.into());
    }
    let (_, request) = X509CertificationRequest::from_der(&block.contents).map_err(|error| error.to_string())?;
    let subject = &request.certification_request_info.subject;
    Ok(subject.iter_organization().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect())
}
