//! The certificate request inside, and what the kubelets' signers ask of it (`pkg/apis/certificates/helpers.go`).

use std::collections::BTreeSet;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// Who the certificate would be for.
#[derive(Debug, Default)]
pub struct Request {
    pub common_name: String,
    organizations: Vec<String>,
    names: usize,
    addresses: usize,
    emails: usize,
    uris: usize,
}

impl Request {
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let block = x509_parser::pem::parse_x509_pem(pem).ok().map(|(_, block)| block);
        let block = block.filter(|block| block.label == "CERTIFICATE REQUEST");
        Self::from_der(&block.ok_or("PEM block type must be CERTIFICATE REQUEST")?.contents)
    }

    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let (_, request) = X509CertificationRequest::from_der(der).map_err(|error| error.to_string())?;
        let subject = &request.certification_request_info.subject;
        let mut parsed = Self::default();
        for name in subject.iter_common_name() {
            name.as_str().unwrap_or_default().clone_into(&mut parsed.common_name);
        }
        parsed.organizations =
            subject.iter_organization().map(|name| name.as_str().unwrap_or_default().to_owned()).collect();
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(alternatives) = extension else { continue };
            for name in &alternatives.general_names {
                match name {
                    GeneralName::DNSName(_) => parsed.names += 1,
                    GeneralName::IPAddress(_) => parsed.addresses += 1,
                    GeneralName::RFC822Name(_) => parsed.emails += 1,
                    GeneralName::URI(_) => parsed.uris += 1,
                    _ => {}
                }
            }
        }
        Ok(parsed)
    }

    /// What keeps this from being a kubelet's client certificate.
    pub fn not_kubelet_client(&self, usages: &[String]) -> Option<String> {
        let text = |text: &str| Some(text.to_owned());
        match () {
            () if self.organizations != [NODES] => text("subject organization is not system:nodes"),
            () if self.names > 0 => text("DNS subjectAltNames are not allowed"),
            () if self.emails > 0 => text("Email subjectAltNames are not allowed"),
            () if self.addresses > 0 => text("IP subjectAltNames are not allowed"),
            () if self.uris > 0 => text("URI subjectAltNames are not allowed"),
            () => self.not_a_nodes(usages, "client auth"),
        }
    }

    /// What keeps this from being a kubelet's serving certificate.
    pub fn not_kubelet_serving(&self, usages: &[String]) -> Option<String> {
        let text = |text: &str| Some(text.to_owned());
        match () {
            () if self.organizations != [NODES] => text("subject organization is not system:nodes"),
            () if self.names + self.addresses == 0 => text("DNS or IP subjectAltName is required"),
            () if self.emails > 0 => text("Email subjectAltNames are not allowed"),
            () if self.uris > 0 => text("URI subjectAltNames are not allowed"),
            () => self.not_a_nodes(usages, "server auth"),
        }
    }

    /// Its usages, with or without what RSA keys need, and its name.
    fn not_a_nodes(&self, usages: &[String], purpose: &str) -> Option<String> {
        let usages: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
        let mut wanted = BTreeSet::from(["digital signature", purpose]);
        let modern = usages == wanted;
        wanted.insert("key encipherment");
        if !modern && usages != wanted {
            let list: Vec<&str> = wanted.into_iter().collect();
            return Some(format!("usages did not match [{}]", list.join(" ")));
        }
        let named = self.common_name.starts_with(NODE_PREFIX);
        (!named).then(|| "subject common name does not begin with system:node:".to_owned())
    }
}

/// What keeps usages from being a client's.
pub fn not_client_usages(usages: &[String]) -> Option<String> {
    let allowed = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !allowed.contains(&usage.as_str())) {
        return Some(format!("invalid usage for client certificate: {other}"));
    }
    let client = usages.iter().any(|usage| usage == "client auth");
    (!client).then(|| "missing required usage for client certificate: client auth".to_owned())
}
