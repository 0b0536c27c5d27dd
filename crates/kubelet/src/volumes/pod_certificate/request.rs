//! Making a key and asking for its certificate.

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::PodCertificateRequestSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi;
use orlop_api::typed::kinds::{Node, Pod, PodCertificateRequest, ServiceAccount};
use orlop_base::error::chain;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::corev1::PodCertificateProjection;
use crate::pod::spec::NodePod;
use crate::volumes::Setup;

/// A request under way.
#[derive(Clone, Debug)]
pub struct Asked {
    pub name: String,
    /// PEM of the key it is for.
    pub key: String,
    pub made_nanos: i64,
}

pub async fn make(setup: &Setup<'_>, source: &PodCertificateProjection) -> Result<Asked, String> {
    let (context, pod) = (setup.context, setup.pod);
    let account = pod.spec().service_account_name.as_deref().unwrap_or_default();
    let accounts = context.client.api::<ServiceAccount>(pod.namespace());
    let account = accounts.get(account).await.map_err(|e| format!("while fetching service account: {}", chain(&e)))?;
    let node = context.client.all::<Node>().get(&context.config.node_name).await;
    let node = node.map_err(|e| format!("while getting node object: {}", chain(&e)))?;
    let pair = key_pair(&source.key_type).map_err(|e| format!("while generating keypair: {e}"))?;
    let proof = proof(&pair).map_err(|e| format!("while generating stub PKCS#10 request: {e}"))?;
    let spec = PodCertificateRequestSpec {
        signer_name: source.signer_name.clone(),
        pod_name: pod.name().to_owned(),
        pod_uid: pod.uid().to_owned(),
        service_account_name: account.name().to_owned(),
        service_account_uid: account.uid().to_owned(),
        node_name: node.name().to_owned(),
        node_uid: node.uid().to_owned(),
        max_expiration_seconds: source.max_expiration_seconds,
        stub_pkc_s10_request: ByteString(proof),
        unverified_user_annotations: source.user_annotations.clone(),
    };
    let request = PodCertificateRequest { metadata: metadata(pod), spec, status: None };
    let made = context.client.api::<PodCertificateRequest>(pod.namespace()).create(&request).await;
    let made = made.map_err(|e| format!("while creating PodCertificateRequest: {}", chain(&e)))?;
    Ok(Asked { name: made.name().to_owned(), key: pair.serialize_pem(), made_nanos: setup.now })
}

fn metadata(pod: &NodePod) -> ObjectMeta {
    let owner = OwnerReference {
        api_version: Pod::API_VERSION.to_owned(),
        kind: Pod::KIND.to_owned(),
        name: pod.name().to_owned(),
        uid: pod.uid().to_owned(),
        ..OwnerReference::default()
    };
    ObjectMeta {
        namespace: Some(pod.namespace().to_owned()),
        generate_name: Some("req-".to_owned()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}

fn key_pair(key_type: &str) -> Result<KeyPair, String> {
    let algorithm = match key_type {
        "ECDSAP256" => &rcgen::PKCS_ECDSA_P256_SHA256,
        "ECDSAP384" => &rcgen::PKCS_ECDSA_P384_SHA384,
        "ED25519" => &rcgen::PKCS_ED25519,
        // ring signs with these but makes none.
        "ECDSAP521" | "RSA3072" | "RSA4096" => return Err(format!("this node makes no keys of type {key_type}")),
        other => return Err(format!("unknown key type {other:?}")),
    };
    KeyPair::generate_for(algorithm).map_err(|error| error.to_string())
}

/// A PKCS#10 request that says nothing but whose key it is.
fn proof(pair: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(pair)?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509CertificationRequest};

    use super::*;

    #[test]
    fn keys_prove_themselves() {
        for key_type in ["ECDSAP256", "ECDSAP384", "ED25519"] {
            let pair = key_pair(key_type).unwrap();
            assert!(pair.serialize_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
            let der = proof(&pair).unwrap();
            let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
            request.verify_signature().unwrap();
            assert_eq!(request.certification_request_info.subject.iter().count(), 0);
        }
        assert_eq!(key_pair("DSA").unwrap_err(), "unknown key type \"DSA\"");
    }
}
