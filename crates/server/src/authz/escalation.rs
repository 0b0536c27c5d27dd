//! Nobody may grant what they do not have: checks on writes of roles and bindings
//! (`pkg/registry/rbac/*/policybased`).

use futures_util::future::BoxFuture;
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{Value, meta};
use orlop_client::transport::UserInfo;

use super::rbac::RoleRef;
use super::rule::{Rule, describe, go_list, missing};
use super::{Authorization, MASTERS};
use crate::Server;
use crate::admission::{Attributes, Operation, Plugin};
use crate::auth::Decision;
use crate::request::RequestInfo;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Runs after all admission: it must see the object as it would be stored.
pub struct Escalation(pub Authorization);

impl Plugin for Escalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    fn handles(&self, attributes: &Attributes) -> bool {
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
        writes && attributes.resource.info().group == GROUP && attributes.subresource.is_empty()
    }

    fn validate<'a>(
        &'a self,
        _server: &'a Server,
        attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(self.check(attributes))
    }
}

impl Escalation {
    async fn check(&self, attributes: &Attributes) -> Result<(), StatusError> {
        let (user, object) = (&*attributes.user, &attributes.object);
        let unchanged = attributes.old_object.as_deref().is_some_and(|old| changes_only_gc_fields(object, old));
        if user.groups.iter().any(|group| group == MASTERS) || unchanged {
            return Ok(());
        }
        if object["roleRef"].is_object() {
            self.check_binding(attributes).await
        } else {
            self.check_role(attributes).await
        }
    }

    async fn check_role(&self, attributes: &Attributes) -> Result<(), StatusError> {
        let (user, object) = (&*attributes.user, &attributes.object);
        let resource = attributes.resource.info().plural.to_string();
        if self.allows(user, "escalate", &resource, &attributes.namespace, &attributes.name).await {
            return Ok(());
        }
        self.confirm(attributes, &Rule::list(object))?;
        // An aggregating role may come to gather anything.
        let aggregates = |role: &Value| {
            role["aggregationRule"]["clusterRoleSelectors"].as_array().is_some_and(|selectors| !selectors.is_empty())
        };
        if (aggregates(object) || attributes.old_object.as_deref().is_some_and(aggregates))
            && self.confirm(attributes, &Rule::full_authority()).is_err()
        {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            return Err(refusal(attributes, why));
        }
        Ok(())
    }

    async fn check_binding(&self, attributes: &Attributes) -> Result<(), StatusError> {
        let role = RoleRef::of(&attributes.object);
        let plural = match &*role.kind {
            "ClusterRole" => "clusterroles",
            "Role" => "roles",
            // Validation names what is wrong.
            _ => return Ok(()),
        };
        if self.allows(&attributes.user, "bind", plural, &attributes.namespace, &role.name).await {
            return Ok(());
        }
        let rules = self.0.rbac().role_rules(&role, &attributes.namespace).map_err(|_| {
            // Upstream names the resource of the request, which the role is not of.
            let resource = &*attributes.resource.info().plural;
            StatusError::not_found(GroupResource { group: GROUP, resource }, &role.name)
        })?;
        self.confirm(attributes, &rules)
    }

    async fn allows(&self, user: &UserInfo, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let request = RequestInfo {
            verb: verb.into(),
            is_resource: true,
            api_group: GROUP.into(),
            api_version: "*".into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..RequestInfo::default()
        };
        matches!(self.0.decide(user, &request).await, Decision::Allow { .. })
    }

    fn confirm(&self, attributes: &Attributes, asked: &[Rule]) -> Result<(), StatusError> {
        let user = &attributes.user;
        let (held, errors) = self.0.rbac().rules_for(user, &attributes.namespace);
        let lacking = missing(&held, asked);
        if lacking.is_empty() {
            return Ok(());
        }
        let mut text = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            go_list(&user.groups),
            describe(&lacking)
        );
        if !errors.is_empty() {
            text = format!("{text}; resolution errors: [{}]", errors.join(" "));
        }
        Err(refusal(attributes, &text))
    }
}

fn refusal(attributes: &Attributes, why: &str) -> StatusError {
    StatusError::forbidden(attributes.resource.group_resource(), meta::name(&attributes.object), why)
}

/// The garbage collector edits owners and finalizers of roles it could never grant.
pub fn changes_only_gc_fields(object: &Value, old: &Value) -> bool {
    let stripped = |value: &Value| {
        let mut value = value.clone();
        for field in ["ownerReferences", "finalizers", "managedFields", "selfLink", "resourceVersion"] {
            meta::remove(&mut value, field);
        }
        value
    };
    stripped(object) == stripped(old)
}
