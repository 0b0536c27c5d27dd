//! Certificates: of pods on the node, and the node's own.

use orlop_api::meta;

use super::{Check, NodeRestriction, items, operation, text};
use crate::admission::{Attributes, Operation};
use crate::authz::node::references::MIRROR_ANNOTATION;

impl NodeRestriction {
    pub(super) async fn pod_certificate(&self, node: &str, a: &Attributes) -> Check {
        if a.operation != Operation::Create || !a.subresource.is_empty() {
            return Err(format!("unexpected operation {}", operation(a.operation)).into());
        }
        let spec = &a.object["spec"];
        let field = |name: &str| text(&spec[name]);
        if field("nodeName") != node {
            return Err(format!(
                "PodCertificateRequest.Spec.NodeName={:?}, which is not the requesting node {node:?}",
                field("nodeName")
            )
            .into());
        }
        let stored = self.get("nodes", "", node)?;
        let pod = self.get("pods", &a.namespace, field("podName"))?;
        let account = self.get("serviceaccounts", &a.namespace, field("serviceAccountName"))?;
        let pod_key = format!("{}/{}", a.namespace, field("podName"));
        for (what, stored, claimed) in [
            ("node", meta::uid(&stored), field("nodeUID")),
            ("pod", meta::uid(&pod), field("podUID")),
            ("service account", meta::uid(&account), field("serviceAccountUID")),
        ] {
            if stored != claimed {
                return Err(format!(
                    "PodCertificateRequest for pod {pod_key:?} names {what} UID {claimed:?}, \
                     inconsistent with the running {what} ({stored:?})"
                )
                .into());
            }
        }
        if pod["spec"]["nodeName"] != node {
            return Err(
                format!("pod {pod_key:?} is not running on node {node:?} named in the PodCertificateRequest").into()
            );
        }
        if !pod["metadata"]["annotations"][MIRROR_ANNOTATION].is_null() {
            return Err(format!("pod {pod_key:?} is a mirror pod").into());
        }
        if text(&pod["spec"]["serviceAccountName"]) != field("serviceAccountName") {
            return Err(format!(
                "PodCertificateRequest for pod {pod_key:?} contains serviceAccountName ({:?}) that differs from \
                 running pod ({:?})",
                field("serviceAccountName"),
                text(&pod["spec"]["serviceAccountName"])
            )
            .into());
        }
        let signer = field("signerName");
        let mounts = items(&pod["spec"]["volumes"])
            .flat_map(|volume| items(&volume["projected"]["sources"]))
            .any(|source| source["podCertificate"]["signerName"] == signer);
        let verb = "request-serviceaccounts-podcertificate-signer";
        if mounts || self.allows(a, verb, &signer.replace('/', ":"), field("serviceAccountName")).await {
            return Ok(());
        }
        Err(format!("pod {pod_key:?} does not mount a podCertificate projected volume for signer {signer:?}").into())
    }
}

const KUBELET_SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

pub(super) fn certificate_request(node: &str, a: &Attributes) -> Check {
    if !KUBELET_SIGNERS.contains(&text(&a.object["spec"]["signerName"])) {
        return Ok(());
    }
    let name = common_name(text(&a.object["spec"]["request"])).ok_or("unable to parse csr: not a PEM request")?;
    if name != format!("system:node:{node}") {
        return Err(format!("can only create a node CSR with CN=system:node:{node}").into());
    }
    Ok(())
}

/// The common name of a base64 PEM certificate request.
pub(super) fn common_name(request: &str) -> Option<String> {
    use base64::Engine;
    use rustls::pki_types::CertificateSigningRequestDer;
    use rustls::pki_types::pem::PemObject;
    use x509_parser::prelude::FromDer;
    let pem = base64::engine::general_purpose::STANDARD.decode(request).ok()?;
    let der = CertificateSigningRequestDer::from_pem_slice(&pem).ok()?;
    let (_, request) = x509_parser::certification_request::X509CertificationRequest::from_der(&der).ok()?;
    let subject = &request.certification_request_info.subject;
    let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
    Some(name.unwrap_or_default().to_owned())
}
