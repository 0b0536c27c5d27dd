//! Acting as somebody else (`k8s.io/apiserver/pkg/endpoints/filters/impersonation`).
//!
//! There are several ways to be allowed, tried in upstream's order: for one kind of user, and then only for what this
//! request does (KEP-5284), or, the old way, for everything at once. The first refusal is the one that is told.

use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use orlop_api::status::StatusError;
use orlop_base::names;
use orlop_client::transport::UserInfo;
use tokio::time::Instant;

use super::permission::forbidden;
use crate::Server;
use crate::auth::Decision;
use crate::authn::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};
use crate::authz::MASTERS;
use crate::authz::metrics::METRICS;
use crate::authz::rule::go_list;
use crate::request::{RequestInfo, percent_decode};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";

const AUTHENTICATION: &str = "authentication.k8s.io";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_KEYS: &str = "authentication.kubernetes.io/associated-node-keys";
/// From here on one permission for all is asked for before one for each.
const MANY: usize = 4;

impl Server {
    /// Whom the caller wants to act as, if it may, and the verb that allowed it; the headers are then gone.
    pub(super) async fn impersonate(
        &self,
        requestor: Arc<UserInfo>,
        head: &mut Parts,
        info: &RequestInfo,
    ) -> Result<(Arc<UserInfo>, &'static str), StatusError> {
        let Some(wanted) = read(&head.headers)? else { return Ok((requestor, "")) };
        remove_headers(&mut head.headers);
        let (began, mut first) = (Instant::now(), None);
        for mode in Mode::ALL.into_iter().filter(|mode| mode.fits(&wanted, &requestor)) {
            match self.impersonate_by(mode, &wanted, &requestor, info).await {
                Ok(()) => {
                    METRICS.impersonation(mode.name(), true, began.elapsed());
                    return Ok((Arc::new(mode.user(wanted)), mode.verb()));
                }
                Err(refusal) => first = first.or(Some(refusal)),
            }
        }
        METRICS.impersonation("", false, began.elapsed());
        Err(first.unwrap_or_else(|| StatusError::internal("all impersonation modes failed")))
    }

    async fn impersonate_by(
        &self,
        mode: Mode,
        wanted: &UserInfo,
        requestor: &UserInfo,
        info: &RequestInfo,
    ) -> Result<(), StatusError> {
        let associated;
        let requestor = if mode == Mode::AssociatedNode {
            associated = with_node_keys(requestor);
            &associated
        } else {
            requestor
        };
        for step in mode.steps(wanted, info) {
            match step {
                Step::Refuse(info, why) => return Err(forbidden(requestor, &info, &why)),
                Step::Ask(info) => self.may_impersonate(mode, requestor, &info).await?,
                Step::AskForAll(all, each) => {
                    if self.may_impersonate(mode, requestor, &all).await.is_err() {
                        for info in each {
                            self.may_impersonate(mode, requestor, &info).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn may_impersonate(&self, mode: Mode, requestor: &UserInfo, info: &RequestInfo) -> Result<(), StatusError> {
        let began = Instant::now();
        let decision = self.authorizer.authorize(requestor, info).await;
        let allowed = matches!(decision, Decision::Allow { .. });
        METRICS.impersonation_check(mode.name(), allowed, began.elapsed());
        let why = match decision {
            Decision::Allow { .. } => return Ok(()),
            Decision::Deny { reason } | Decision::NoOpinion { reason } => reason,
            Decision::Failed { reason, error, .. } if reason.is_empty() => error,
            Decision::Failed { reason, error, .. } => format!("{error}: {reason}"),
        };
        Err(forbidden(requestor, info, &why))
    }
}

/// A way to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A pod's account as the node it runs on.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Legacy,
}

/// What a way asks of the authorizer, in order.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Ask(RequestInfo),
    /// One permission instead of many.
    AskForAll(RequestInfo, Vec<RequestInfo>),
    Refuse(RequestInfo, String),
}

impl Mode {
    const ALL: [Self; 5] =
        [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo, Self::Legacy];

    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Legacy => "",
        }
    }

    /// As it is asked for, and recorded; the old way has no name of its own there.
    fn verb(self) -> &'static str {
        match self {
            Self::AssociatedNode => "impersonate:associated-node",
            Self::ArbitraryNode => "impersonate:arbitrary-node",
            Self::ServiceAccount => "impersonate:serviceaccount",
            Self::UserInfo => "impersonate:user-info",
            Self::Legacy => "",
        }
    }

    fn fits(self, wanted: &UserInfo, requestor: &UserInfo) -> bool {
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (node(&wanted.name), account(&wanted.name));
        match self {
            Self::AssociatedNode => only_name && node.is_some_and(|name| runs_on(requestor, name)),
            Self::ArbitraryNode => only_name && node.is_some(),
            Self::ServiceAccount => only_name && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Legacy => true,
        }
    }

    fn steps(self, wanted: &UserInfo, info: &RequestInfo) -> Vec<Step> {
        let mut steps = Vec::new();
        if self != Self::Legacy {
            let verb = format!("impersonate-on:{}:{}", self.name(), info.verb);
            steps.push(Step::Ask(RequestInfo { verb, ..info.clone() }));
        }
        steps.push(Step::Ask(self.name_step(&wanted.name)));
        if !wanted.uid.is_empty() {
            steps.push(Step::Ask(self.ask(AUTHENTICATION, "uids", "", &wanted.uid)));
        }
        self.group_steps(&wanted.groups, &mut steps);
        self.extra_steps(&wanted.extra, &mut steps);
        steps
    }

    fn ask(self, group: &str, resource: &str, subresource: &str, name: &str) -> RequestInfo {
        RequestInfo {
            verb: if self == Self::Legacy { "impersonate" } else { self.verb() }.into(),
            is_resource: true,
            api_group: group.into(),
            api_version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
            ..RequestInfo::default()
        }
    }

    /// The group of users, groups and accounts.
    fn group(self) -> &'static str {
        if self == Self::Legacy { "" } else { AUTHENTICATION }
    }

    fn name_step(self, wanted: &str) -> RequestInfo {
        if let Some((namespace, name)) = account(wanted) {
            let asked = self.ask(self.group(), "serviceaccounts", "", name);
            return RequestInfo { namespace: namespace.into(), ..asked };
        }
        match node(wanted).filter(|_| self != Self::Legacy) {
            Some(_) if self == Self::AssociatedNode => self.ask(self.group(), "nodes", "", "*"),
            Some(name) => self.ask(self.group(), "nodes", "", name),
            None => self.ask(self.group(), "users", "", wanted),
        }
    }

    fn group_steps(self, groups: &[String], steps: &mut Vec<Step>) {
        let ask = |name: &str| self.ask(self.group(), "groups", "", name);
        if groups.is_empty() {
            return;
        }
        if self != Self::Legacy {
            if groups.iter().any(String::is_empty) {
                return steps.push(Step::Refuse(ask(""), "impersonating the empty string group is not allowed".into()));
            }
            if groups.iter().any(|group| group == MASTERS) {
                let why = format!("impersonating the {MASTERS} group is not allowed");
                return steps.push(Step::Refuse(ask(MASTERS), why));
            }
        }
        let each: Vec<RequestInfo> = groups.iter().map(|group| ask(group)).collect();
        self.all_or_each(ask("*"), each, groups.len(), steps);
    }

    fn extra_steps(self, extra: &[(String, Vec<String>)], steps: &mut Vec<Step>) {
        let ask = |key: &str, value: &str| self.ask(AUTHENTICATION, "userextras", key, value);
        if self != Self::Legacy
            && let Some(why) = extra.iter().find_map(|(key, values)| wrong_extra(key, values))
        {
            return steps.push(Step::Refuse(ask("", ""), why));
        }
        let each: Vec<RequestInfo> =
            extra.iter().flat_map(|(key, values)| values.iter().map(|value| ask(key, value))).collect();
        let size = each.len().max(extra.len());
        self.all_or_each(ask("*", "*"), each, size, steps);
    }

    fn all_or_each(self, all: RequestInfo, each: Vec<RequestInfo>, size: usize, steps: &mut Vec<Step>) {
        if self != Self::Legacy && size >= MANY {
            steps.push(Step::AskForAll(all, each));
        } else {
            steps.extend(each.into_iter().map(Step::Ask));
        }
    }

    /// Who the caller then is.
    fn user(self, mut wanted: UserInfo) -> UserInfo {
        if self != Self::Legacy && node(&wanted.name).is_some() {
            wanted.groups = vec!["system:nodes".into()];
        }
        if let Some((namespace, _)) = account(&wanted.name).filter(|_| wanted.groups.is_empty()) {
            wanted.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
        }
        let has = |group: &str| wanted.groups.iter().any(|one| one == group);
        let group = if wanted.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        if !(has(group) || group == AUTHENTICATED && has(UNAUTHENTICATED)) {
            wanted.groups.push(group.into());
        }
        wanted
    }
}

/// What the impersonation headers ask for.
fn read(headers: &HeaderMap) -> Result<Option<UserInfo>, StatusError> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let all = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect()
    };
    let mut extra: Vec<(String, Vec<String>)> = Vec::new();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            extra.push((percent_decode(key, false), all(name.as_str())));
        }
    }
    extra.sort();
    let wanted = UserInfo { name: text(USER), uid: text(UID), groups: all(GROUP), extra };
    let nothing_else = wanted.groups.is_empty() && wanted.extra.is_empty() && wanted.uid.is_empty();
    match (wanted.name.is_empty(), nothing_else) {
        (true, true) => Ok(None),
        (true, false) => {
            let shown = go_user(&wanted);
            Err(StatusError::bad_request(format!("requested {shown} without impersonating a user name")))
        }
        _ => Ok(Some(wanted)),
    }
}

/// A user as Go's `%#v` prints it.
fn go_user(user: &UserInfo) -> String {
    let list = |values: &[String]| {
        let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        format!("[]string{{{}}}", values.join(", "))
    };
    let groups = if user.groups.is_empty() { "[]string(nil)".to_owned() } else { list(&user.groups) };
    let extra: Vec<String> = user.extra.iter().map(|(key, values)| format!("{key:?}:{}", list(values))).collect();
    let extra = if extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        format!("map[string][]string{{{}}}", extra.join(", "))
    };
    format!("&user.DefaultInfo{{Name:{:?}, UID:{:?}, Groups:{groups}, Extra:{extra}}}", user.name, user.uid)
}

fn remove_headers(headers: &mut HeaderMap) {
    let ours = |name: &str| [USER, GROUP, UID].contains(&name) || name.starts_with(EXTRA_PREFIX);
    let names: Vec<_> = headers.keys().filter(|name| ours(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let good = names::dns1123_label(namespace).is_empty() && names::dns1123_subdomain(name).is_empty();
    good.then_some((namespace, name))
}

fn node(user: &str) -> Option<&str> {
    user.strip_prefix("system:node:").filter(|name| names::dns1123_subdomain(name).is_empty())
}

/// Whether the requestor's token says so.
fn runs_on(requestor: &UserInfo, node: &str) -> bool {
    let told = requestor.extra.iter().find(|(key, _)| key == NODE_NAME).map(|(_, values)| values.as_slice());
    account(&requestor.name).is_some() && matches!(told, Some([one]) if one == node)
}

/// Of what the requestor's extra fields say, only which there are: the permission is for any node.
fn with_node_keys(requestor: &UserInfo) -> UserInfo {
    let keys = requestor.extra.iter().map(|(key, _)| key.clone()).collect();
    UserInfo { extra: vec![(NODE_KEYS.into(), keys)], ..requestor.clone() }
}

fn wrong_extra(key: &str, values: &[String]) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    let prefixed = key.split_once('/').is_some_and(|(domain, rest)| {
        names::dns1123_subdomain(domain).is_empty() && !rest.is_empty() && rest.bytes().all(fits)
    });
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".into());
    }
    if !prefixed {
        let why = format!(
            "extra.key: Invalid value: {}: must be a domain-prefixed path (such as \"acme.io/foo\")",
            go_list(&[key.to_owned()]).trim_matches(['[', ']'])
        );
        return Some(format!("impersonating an invalid key in extra is not allowed: {why}"));
    }
    if values.iter().any(String::is_empty) {
        return Some("impersonating the empty string value in extra is not allowed".into());
    }
    None
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

    fn wanted(pairs: &[(&'static str, &str)]) -> UserInfo {
        read(&headers(pairs)).unwrap().unwrap()
    }

    /// `verb group/resource/subresource namespace/name`, one a step.
    fn steps(mode: Mode, wanted: &UserInfo) -> Vec<String> {
        let info = RequestInfo::parse(&http::Method::GET, "/api/v1/namespaces/n/pods/p");
        let line = |i: &RequestInfo| {
            let resource = [&*i.api_group, &i.resource, &i.subresource].join("/");
            format!("{} {resource} {}/{}", i.verb, i.namespace, i.name)
        };
        let steps = mode.steps(wanted, &info);
        let text = |step: &Step| match step {
            Step::Ask(info) => line(info),
            Step::AskForAll(all, each) => format!("{} or {}", line(all), each.len()),
            Step::Refuse(info, why) => format!("{}: {why}", line(info)),
        };
        steps.iter().map(text).collect()
    }

    #[test]
    fn impersonated_users_and_their_groups() {
        type Case = (Mode, &'static [(&'static str, &'static str)], &'static [&'static str]);
        let cases: &[Case] = &[
            (Mode::Legacy, &[(USER, "jane")], &["system:authenticated"]),
            (Mode::Legacy, &[(USER, "jane"), (GROUP, "a"), (GROUP, "b")], &["a", "b", "system:authenticated"]),
            (
                Mode::ServiceAccount,
                &[(USER, "system:serviceaccount:ns:sa")],
                &["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"],
            ),
            (Mode::ArbitraryNode, &[(USER, "system:node:n")], &["system:nodes", "system:authenticated"]),
            (Mode::Legacy, &[(USER, "system:node:n")], &["system:authenticated"]),
            (Mode::UserInfo, &[(USER, "system:anonymous")], &["system:unauthenticated"]),
        ];
        for (mode, sent, groups) in cases {
            assert_eq!(mode.user(wanted(sent)).groups, *groups, "{sent:?}");
        }
        assert!(read(&headers(&[])).unwrap().is_none());
        let nobody = read(&headers(&[(GROUP, "a")])).expect_err("refused");
        let shown = r#"&user.DefaultInfo{Name:"", UID:"", Groups:[]string{"a"}, Extra:map[string][]string(nil)}"#;
        assert_eq!(nobody.message, format!("requested {shown} without impersonating a user name"));
    }

    #[test]
    fn every_way_asks_for_its_permissions() {
        let jane = wanted(&[(USER, "jane"), (GROUP, "a"), ("impersonate-extra-x.io%2Fscopes", "view"), (UID, "1")]);
        assert_eq!(
            steps(Mode::Legacy, &jane),
            [
                "impersonate /users/ /jane",
                "impersonate authentication.k8s.io/uids/ /1",
                "impersonate /groups/ /a",
                "impersonate authentication.k8s.io/userextras/x.io/scopes /view",
            ]
        );
        assert_eq!(
            steps(Mode::UserInfo, &jane),
            [
                "impersonate-on:user-info:get /pods/ n/p",
                "impersonate:user-info authentication.k8s.io/users/ /jane",
                "impersonate:user-info authentication.k8s.io/uids/ /1",
                "impersonate:user-info authentication.k8s.io/groups/ /a",
                "impersonate:user-info authentication.k8s.io/userextras/x.io/scopes /view",
            ]
        );
        let many = wanted(&[(USER, "jane"), (GROUP, "a"), (GROUP, "b"), (GROUP, "c"), (GROUP, "d")]);
        assert_eq!(steps(Mode::UserInfo, &many)[2], "impersonate:user-info authentication.k8s.io/groups/ /* or 4");
        let masters = steps(Mode::UserInfo, &wanted(&[(USER, "jane"), (GROUP, MASTERS)]));
        assert!(masters[2].ends_with("impersonating the system:masters group is not allowed"), "{masters:?}");
        let node = wanted(&[(USER, "system:node:n")]);
        assert_eq!(steps(Mode::ArbitraryNode, &node)[1], "impersonate:arbitrary-node authentication.k8s.io/nodes/ /n");
        assert_eq!(
            steps(Mode::AssociatedNode, &node)[1],
            "impersonate:associated-node authentication.k8s.io/nodes/ /*"
        );
    }

    #[test]
    fn ways_are_for_their_users() {
        let ways = |name: &str, requestor: &UserInfo| -> Vec<&str> {
            let wanted = wanted(&[(USER, name)]);
            Mode::ALL.iter().filter(|mode| mode.fits(&wanted, requestor)).map(|mode| mode.name()).collect()
        };
        let pod = UserInfo {
            name: "system:serviceaccount:ns:sa".into(),
            extra: vec![(NODE_NAME.into(), vec!["n".into()])],
            ..UserInfo::default()
        };
        assert_eq!(ways("jane", &pod), ["user-info", ""]);
        assert_eq!(ways("system:serviceaccount:a:b", &pod), ["serviceaccount", ""]);
        assert_eq!(ways("system:node:n", &pod), ["associated-node", "arbitrary-node", ""]);
        assert_eq!(ways("system:node:m", &pod), ["arbitrary-node", ""]);
    }
}
