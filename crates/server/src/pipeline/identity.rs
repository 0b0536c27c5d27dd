//! Who asks, and as whom.

use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use orlop_api::status::StatusError;
use orlop_client::transport::UserInfo;

use crate::Server;
use crate::auth::{Decision, Peer};
use crate::request::{RequestInfo, percent_decode};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";

impl Server {
    /// The caller, or 401.
    pub(super) async fn identify(&self, head: &Parts) -> Result<Arc<UserInfo>, StatusError> {
        let none = Peer::default();
        let peer = head.extensions.get::<Peer>().unwrap_or(&none);
        if let Some(component) = &peer.component {
            return Ok(component.clone());
        }
        for authenticator in &self.authenticators {
            if let Some(user) = authenticator.authenticate(peer, head).await? {
                return Ok(Arc::new(user));
            }
        }
        Err(StatusError::unauthorized())
    }

    /// Whom the caller wants to act as, if it may; the headers are then gone.
    pub(super) async fn impersonate(
        &self,
        requestor: Arc<UserInfo>,
        head: &mut Parts,
    ) -> Result<Arc<UserInfo>, StatusError> {
        let Some(wanted) = Wanted::read(&head.headers)? else { return Ok(requestor) };
        for info in wanted.permissions() {
            let decision = self.authorizer.authorize(&requestor, &info).await;
            if !matches!(decision, Decision::Allow { .. }) {
                return Err(super::permission::refusal(&requestor, &info, decision));
            }
        }
        remove_headers(&mut head.headers);
        Ok(Arc::new(wanted.into_user()))
    }
}

/// What the impersonation headers ask for.
struct Wanted {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: Vec<(String, Vec<String>)>,
}

impl Wanted {
    fn read(headers: &HeaderMap) -> Result<Option<Self>, StatusError> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let mut wanted = Self { user: text(USER), uid: text(UID), groups: Vec::new(), extra: Vec::new() };
        wanted.groups.extend(headers.get_all(GROUP).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned));
        for name in headers.keys() {
            let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else { continue };
            let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect();
            wanted.extra.push((percent_decode(key, false), values));
        }
        wanted.extra.sort();
        let nothing_else = wanted.groups.is_empty() && wanted.extra.is_empty() && wanted.uid.is_empty();
        match (wanted.user.is_empty(), nothing_else) {
            (true, true) => Ok(None),
            (true, false) => {
                Err(StatusError::bad_request("requested groups, uid or extra without impersonating a user"))
            }
            _ => Ok(Some(wanted)),
        }
    }

    fn service_account(&self) -> Option<(&str, &str)> {
        self.user.strip_prefix("system:serviceaccount:")?.split_once(':').filter(|(_, name)| !name.contains(':'))
    }

    /// One `impersonate` permission for each thing asked for.
    fn permissions(&self) -> Vec<RequestInfo> {
        let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| RequestInfo {
            verb: "impersonate".into(),
            is_resource: true,
            api_group: group.into(),
            api_version: if group.is_empty() { String::new() } else { "v1".into() },
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..RequestInfo::default()
        };
        const AUTHENTICATION: &str = "authentication.k8s.io";
        let mut all = vec![match self.service_account() {
            Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name),
            None => ask("", "users", "", "", &self.user),
        }];
        all.extend(self.groups.iter().map(|group| ask("", "groups", "", "", group)));
        for (key, values) in &self.extra {
            all.extend(values.iter().map(|value| ask(AUTHENTICATION, "userextras", key, "", value)));
        }
        if !self.uid.is_empty() {
            all.push(ask(AUTHENTICATION, "uids", "", "", &self.uid));
        }
        all
    }

    fn into_user(mut self) -> UserInfo {
        if let Some((namespace, _)) = self.service_account().filter(|_| self.groups.is_empty()) {
            self.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
        }
        let has = |groups: &[String], name: &str| groups.iter().any(|group| group == name);
        let (yes, no) = ("system:authenticated", "system:unauthenticated");
        if self.user == "system:anonymous" {
            if !has(&self.groups, no) {
                self.groups.push(no.into());
            }
        } else if !has(&self.groups, yes) && !has(&self.groups, no) {
            self.groups.push(yes.into());
        }
        UserInfo { name: self.user, uid: self.uid, groups: self.groups, extra: self.extra }
    }
}

fn remove_headers(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn impersonated_users_and_their_groups() {
        type Case = (&'static [(&'static str, &'static str)], &'static str, &'static [&'static str]);
        let cases: &[Case] = &[
            (&[(USER, "jane")], "jane", &["system:authenticated"]),
            (&[(USER, "jane"), (GROUP, "a"), (GROUP, "b")], "jane", &["a", "b", "system:authenticated"]),
            (
                &[(USER, "system:serviceaccount:ns:sa")],
                "system:serviceaccount:ns:sa",
                &["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"],
            ),
            (&[(USER, "system:anonymous")], "system:anonymous", &["system:unauthenticated"]),
        ];
        for (sent, name, groups) in cases {
            let user = Wanted::read(&headers(sent)).unwrap().unwrap().into_user();
            assert_eq!((user.name.as_str(), user.groups), (*name, groups.iter().map(|g| (*g).to_owned()).collect()));
        }
        assert!(Wanted::read(&headers(&[])).unwrap().is_none());
        assert_eq!(Wanted::read(&headers(&[(GROUP, "a")])).err().unwrap().code, 400);
    }

    #[test]
    fn every_header_needs_its_permission() {
        let sent = headers(&[(USER, "jane"), (GROUP, "a"), ("impersonate-extra-scopes%2Fx", "view"), (UID, "1")]);
        let asked: Vec<String> = Wanted::read(&sent)
            .unwrap()
            .unwrap()
            .permissions()
            .iter()
            .map(|i| format!("{}/{}/{}/{}", i.api_group, i.resource, i.subresource, i.name))
            .collect();
        assert_eq!(
            asked,
            [
                "/users//jane",
                "/groups//a",
                "authentication.k8s.io/userextras/scopes/x/view",
                "authentication.k8s.io/uids//1"
            ]
        );
    }
}
