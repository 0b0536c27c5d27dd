//! Approves kubelets' own client certificates, for those whom the policy lets ask for them.

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
use orlop_api::typed::kinds::CertificateSigningRequest;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};
use orlop_client::{Client, Dynamic, Resource, Result};
use serde_json::json;

use super::request::Request;
use super::{KUBELET_CLIENT, NAME, has, is_issued};

pub fn controller() -> Controller {
    let mut grants = vec![
        Grant::new("certificates.k8s.io", &["certificatesigningrequests/approval"], &["update"]),
        Grant::new("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
    ];
    grants.extend(Grant::EVENTS);
    let sources = vec![Source::subject::<CertificateSigningRequest>()];
    let mut controller = Controller::new(NAME, "csrapproving", sources, grants, decide);
    controller.look = Some(Box::new(|client, key, view| Box::pin(look(client, key, view))));
    controller
}

/// What the policy says of the requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    OwnNode,
    AnyNode,
    No,
}

/// Asks the authorizer about requests that are open and are for kubelets.
async fn look(client: Client, key: Key, view: View) -> Result<View> {
    let Some(csr) = view.subject::<CertificateSigningRequest>(&key).filter(|csr| is_open(csr)).cloned() else {
        return Ok(view);
    };
    for (subresource, answer) in tries(&csr) {
        if allowed(&client, &csr, subresource).await? {
            return Ok(view.with(answer));
        }
    }
    Ok(view.with(Answer::No))
}

fn is_open(csr: &CertificateSigningRequest) -> bool {
    !is_issued(csr) && !has(csr, "Approved") && !has(csr, "Denied")
}

/// The permissions that would do, the narrower first.
fn tries(csr: &CertificateSigningRequest) -> Vec<(&'static str, Answer)> {
    let spec = &csr.spec;
    let Ok(request) = Request::parse(&spec.request.0) else { return Vec::new() };
    let usages = spec.usages.as_deref().unwrap_or_default();
    if spec.signer_name != KUBELET_CLIENT || request.not_kubelet_client(usages).is_some() {
        return Vec::new();
    }
    let own = spec.username.as_deref() == Some(&request.common_name);
    let own = own.then_some(("selfnodeclient", Answer::OwnNode));
    own.into_iter().chain([("nodeclient", Answer::AnyNode)]).collect()
}

async fn allowed(client: &Client, csr: &CertificateSigningRequest, subresource: &str) -> Result<bool> {
    let spec = &csr.spec;
    let resource = Resource {
        group: "authorization.k8s.io".into(),
        version: "v1".into(),
        plural: "subjectaccessreviews".into(),
        kind: "SubjectAccessReview".into(),
        namespaced: false,
    };
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra,
        "resourceAttributes": {"group": "certificates.k8s.io", "resource": "certificatesigningrequests",
                               "verb": "create", "subresource": subresource, "version": "*"},
    }});
    let answer = client.dynamic(&resource, "").create(&Dynamic(review)).await?;
    Ok(answer["status"]["allowed"] == true)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(csr) = view.subject::<CertificateSigningRequest>(key).filter(|csr| is_open(csr)) else {
        return Plan::none();
    };
    let message = match view.facts::<Answer>() {
        Some(Answer::OwnNode) => "Auto approving self kubelet client certificate after SubjectAccessReview.",
        Some(Answer::AnyNode) => "Auto approving kubelet client certificate after SubjectAccessReview.",
        Some(Answer::No) | None => return refused(csr),
    };
    let mut approved = (**csr).clone();
    let conditions = approved.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: "Approved".into(),
        status: "True".into(),
        reason: Some("AutoApproved".into()),
        message: Some(message.into()),
        last_update_time: Some(orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now)),
        ..CertificateSigningRequestCondition::default()
    });
    let mut plan = Plan::none();
    plan.write(Write::update_subresource(&approved, "approval"));
    plan
}

/// The policy may change: a kubelet's request that nobody may make is looked at again.
fn refused(csr: &CertificateSigningRequest) -> Plan {
    let tried: Vec<&str> = tries(csr).into_iter().map(|(subresource, _)| subresource).collect();
    if tried.is_empty() {
        return Plan::none();
    }
    let (name, tried) = (csr.name(), tried.join(" "));
    Plan::retry(format!("recognized csr {name:?} as [{tried}] but subject access review was not approved"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::certificates::signer::tests::csr;
    use crate::common::fixture::{body, decide_view, objects};

    /// Nobody's business: another signer's.
    pub const CONVERGED: &str = "
kind: CertificateSigningRequest
metadata: {name: c}
spec: {signerName: example.com/signer, request: ''}
";

    #[test]
    fn kubelets_get_what_the_policy_lets_them_ask_for() {
        let controller = controller();
        let plan = |answer| {
            let view = controller.view_of(&objects(&csr(KUBELET_CLIENT, ""))).with(answer);
            decide_view(&controller, "c", &view)
        };
        let approved = plan(Answer::OwnNode);
        assert_eq!(approved.lines(), ["update certificatesigningrequests/approval c"]);
        let condition = &body(&approved, "update certificatesigningrequests/approval c")["status"]["conditions"][0];
        assert_eq!(condition["reason"], "AutoApproved");
        assert!(plan(Answer::No).lines()[0].contains("recognized csr \"c\" as [selfnodeclient nodeclient]"));
    }

    #[test]
    fn settled_requests_are_left_alone() {
        let controller = controller();
        for status in ["conditions: [{type: Denied, status: 'True'}]", "conditions: [{type: Approved, status: 'True'}]"]
        {
            let view = controller.view_of(&objects(&csr(KUBELET_CLIENT, status))).with(Answer::AnyNode);
            assert!(decide_view(&controller, "c", &view).is_converged(), "{status}");
        }
    }
}
