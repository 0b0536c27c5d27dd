//! May they, and what they are told when not
//! (`k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go`).

use orlop_api::status::{GroupResource, StatusError};
use orlop_client::transport::UserInfo;
use tokio::time::Instant;

use crate::Server;
use crate::audit::Trail;
use crate::auth::Decision;
use crate::authz::metrics::METRICS;
use crate::observe::{Layer, timed};
use crate::request::RequestInfo;

impl Server {
    /// 403 unless the authorizer allows it.
    pub(crate) async fn permit(&self, user: &UserInfo, info: &RequestInfo) -> Result<(), StatusError> {
        match self.authorizer.authorize(user, info).await {
            Decision::Allow { .. } => Ok(()),
            refused => Err(refusal(user, info, refused)),
        }
    }

    /// The same for a request as it came, with a note of what was decided.
    pub(super) async fn permit_request(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
        trail: &Trail,
    ) -> Result<(), StatusError> {
        let began = Instant::now();
        let decision = timed(Layer::Authorization, self.authorizer.authorize(user, info)).await;
        METRICS.attempt(&decision, began.elapsed());
        trail.decided(&decision);
        match decision {
            Decision::Allow { .. } => Ok(()),
            refused => Err(refusal(user, info, refused)),
        }
    }
}

fn refusal(user: &UserInfo, info: &RequestInfo, decision: Decision) -> StatusError {
    match decision {
        Decision::Allow { reason } | Decision::Deny { reason } | Decision::NoOpinion { reason } => {
            forbidden(user, info, &reason)
        }
        Decision::Failed { error, .. } => {
            StatusError::new(500, "InternalError", format!("Internal Server Error: {:?}: {error}", info.path))
        }
    }
}

pub(crate) fn forbidden(user: &UserInfo, info: &RequestInfo, reason: &str) -> StatusError {
    let mut why = sanitize(&explain(user, info));
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    if info.resource.is_empty() {
        let mut status = StatusError::new(403, "Forbidden", format!("forbidden: {why}"));
        status.details = Some(Box::new(serde_json::json!({})));
        return status;
    }
    StatusError::forbidden(GroupResource { group: &info.api_group, resource: &info.resource }, &info.name, &why)
}

fn explain(user: &UserInfo, info: &RequestInfo) -> String {
    let (name, verb) = (&user.name, &info.verb);
    if !info.is_resource {
        return format!("User {name:?} cannot {verb} path {:?}", info.path);
    }
    let resource = match &*info.subresource {
        "" => info.resource.clone(),
        subresource => format!("{}/{subresource}", info.resource),
    };
    let group = &info.api_group;
    match &*info.namespace {
        "" => format!("User {name:?} cannot {verb} resource {resource:?} in API group {group:?} at the cluster scope"),
        namespace => format!(
            "User {name:?} cannot {verb} resource {resource:?} in API group {group:?} in the namespace {namespace:?}"
        ),
    }
}

/// Nothing that a browser could take for HTML.
fn sanitize(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn texts_are_upstreams() {
        let user = UserInfo { name: "x".into(), ..UserInfo::default() };
        let cases = [
            (
                "/api/v1/namespaces/default/pods",
                r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                "/apis/apps/v1/namespaces/d/deployments/a/scale",
                r#"deployments.apps "a" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" in the namespace "d""#,
            ),
            (
                "/api/v1/nodes",
                r#"nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope"#,
            ),
            ("/version/<b>", r#"forbidden: User "x" cannot get path "/version/&lt;b&gt;""#),
        ];
        for (path, want) in cases {
            assert_eq!(forbidden(&user, &RequestInfo::parse(&Method::GET, path), "").message, want);
        }
        let denied = forbidden(&user, &RequestInfo::parse(&Method::GET, "/x"), "no");
        assert_eq!(denied.message, r#"forbidden: User "x" cannot get path "/x": no"#);
    }
}
