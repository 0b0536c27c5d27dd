//! `audit.k8s.io/v1 Event`, encoded by hand: it is written for every request, field by field into one buffer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use jiff::Timestamp;
use orlop_api::Value;
use orlop_client::transport::UserInfo;

use super::policy::{Level, Stage};

/// Most events at level Metadata fit.
const USUAL_BYTES: usize = 1024;
/// What an event looks like in a log of its own; in an EventList it stands without.
pub const TYPE_META: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#;
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// What is known of a request at one stage.
pub struct Event<'a> {
    pub level: Level,
    pub audit_id: &'a str,
    pub stage: Stage,
    pub request_uri: &'a str,
    pub verb: &'a str,
    /// None for a caller that could not prove who it is.
    pub user: Option<&'a UserInfo>,
    pub impersonated: Option<&'a UserInfo>,
    /// Empty where there is none.
    pub impersonation_constraint: &'a str,
    pub source_ips: &'a [IpAddr],
    pub user_agent: &'a str,
    pub object: Option<ObjectReference<'a>>,
    pub status: Option<&'a Status>,
    pub request_object: Option<&'a [u8]>,
    pub response_object: Option<&'a [u8]>,
    pub received: Timestamp,
    pub stage_time: Timestamp,
    pub annotations: &'a BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
pub struct ObjectReference<'a> {
    pub resource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub api_group: &'a str,
    pub api_version: &'a str,
    pub resource_version: &'a str,
    pub subresource: &'a str,
}

/// `metav1.Status` as far as events carry it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    pub status: String,
    pub message: String,
    pub reason: String,
    pub details: Option<Value>,
    pub code: u16,
}

impl Event<'_> {
    /// The event as it follows its type: `"level":...}`.
    pub fn encode(&self) -> Bytes {
        self.write(true)
    }

    /// Without its objects, and marked so.
    pub fn encode_truncated(&self) -> Bytes {
        self.write(false)
    }

    fn write(&self, whole: bool) -> Bytes {
        let objects = [self.request_object, self.response_object].into_iter().flatten().filter(|_| whole);
        let mut out = Vec::with_capacity(USUAL_BYTES + objects.map(<[u8]>::len).sum::<usize>());
        let fields = &mut Fields { out: &mut out, first: true };
        fields.text("level", self.level.name());
        fields.text("auditID", self.audit_id);
        fields.text("stage", self.stage.name());
        fields.text("requestURI", self.request_uri);
        fields.text("verb", self.verb);
        fields.object("user", |user| self.user.into_iter().for_each(|info| user_info(user, info)));
        if let Some(user) = self.impersonated {
            fields.object("impersonatedUser", |fields| user_info(fields, user));
        }
        if !self.impersonation_constraint.is_empty() {
            let constraint = self.impersonation_constraint;
            fields.object("authenticationMetadata", |fields| fields.text("impersonationConstraint", constraint));
        }
        if !self.source_ips.is_empty() {
            fields.list("sourceIPs", self.source_ips.iter().map(ToString::to_string));
        }
        fields.text_if("userAgent", self.user_agent);
        if let Some(object) = &self.object {
            fields.object("objectRef", |fields| object.write(fields));
        }
        if let Some(status) = self.status {
            fields.object("responseStatus", |fields| status.write(fields));
        }
        if whole {
            fields.raw_if("requestObject", self.request_object);
            fields.raw_if("responseObject", self.response_object);
        }
        fields.time("requestReceivedTimestamp", self.received);
        fields.time("stageTimestamp", self.stage_time);
        self.write_annotations(fields, whole);
        out.push(b'}');
        Bytes::from(out)
    }

    fn write_annotations(&self, fields: &mut Fields<'_>, whole: bool) {
        if self.annotations.is_empty() && whole {
            return;
        }
        fields.object("annotations", |fields| {
            let (before, after): (Vec<_>, Vec<_>) =
                self.annotations.iter().partition(|(key, _)| key.as_str() < TRUNCATED);
            before.into_iter().for_each(|(key, value)| fields.text(key, value));
            if !whole {
                fields.text(TRUNCATED, "true");
            }
            after.into_iter().for_each(|(key, value)| fields.text(key, value));
        });
    }

    /// The one-line form of `--audit-log-format=legacy`.
    pub fn legacy(&self) -> String {
        let quoted = |items: &[String]| items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(",");
        let user = self.user.filter(|user| !user.name.is_empty());
        let groups = user.filter(|user| !user.groups.is_empty()).map(|user| quoted(&user.groups));
        let namespace = self.object.as_ref().map(|object| object.namespace).filter(|namespace| !namespace.is_empty());
        let ip = self.source_ips.first().map_or("<unknown>".to_owned(), ToString::to_string);
        let response = self.status.map_or("<deferred>".to_owned(), |status| status.code.to_string());
        format!(
            "{} AUDIT: id={:?} stage={:?} ip={ip:?} method={:?} user={:?} groups={:?} as={:?} asgroups={:?} \
             user-agent={:?} namespace={:?} uri={:?} response=\"{response}\"",
            self.received,
            self.audit_id,
            self.stage.name(),
            self.verb,
            user.map_or("<none>", |user| &user.name),
            groups.as_deref().unwrap_or("<none>"),
            self.impersonated.map_or("<self>", |user| &user.name),
            self.impersonated.map_or("<lookup>".to_owned(), |user| quoted(&user.groups)),
            self.user_agent,
            namespace.unwrap_or("<none>"),
            self.request_uri,
        )
    }
}

impl ObjectReference<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.text_if("resource", self.resource);
        fields.text_if("namespace", self.namespace);
        fields.text_if("name", self.name);
        fields.text_if("uid", self.uid);
        fields.text_if("apiGroup", self.api_group);
        fields.text_if("apiVersion", self.api_version);
        fields.text_if("resourceVersion", self.resource_version);
        fields.text_if("subresource", self.subresource);
    }
}

impl Status {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.object("metadata", |_| {});
        fields.text_if("status", &self.status);
        fields.text_if("message", &self.message);
        fields.text_if("reason", &self.reason);
        if let Some(details) = &self.details {
            fields.raw_if("details", Some(&orlop_api::codec::json::encode(details)));
        }
        if self.code != 0 {
            fields.key("code");
            fields.display(self.code);
        }
    }
}

fn user_info(fields: &mut Fields<'_>, user: &UserInfo) {
    fields.text_if("username", &user.name);
    fields.text_if("uid", &user.uid);
    if !user.groups.is_empty() {
        fields.list("groups", user.groups.iter());
    }
    if !user.extra.is_empty() {
        fields.object("extra", |fields| user.extra.iter().for_each(|(key, values)| fields.list(key, values.iter())));
    }
}

/// The fields of a JSON object being written.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Fields<'_> {
    fn key(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.string(name);
        self.out.push(b':');
    }

    fn string(&mut self, text: &str) {
        // A string has no way to fail to be JSON, nor a vector to be written to.
        let _ = serde_json::to_writer(&mut *self.out, text);
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        use std::io::Write as _;
        let _ = write!(self.out, "{value}");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        self.string(value);
    }

    fn text_if(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    fn raw_if(&mut self, name: &str, json: Option<&[u8]>) {
        if let Some(json) = json {
            self.key(name);
            self.out.extend_from_slice(json);
        }
    }

    fn time(&mut self, name: &str, time: Timestamp) {
        self.key(name);
        self.display(format_args!("\"{time:.6}\""));
    }

    fn list(&mut self, name: &str, items: impl Iterator<Item = impl AsRef<str>>) {
        self.key(name);
        self.out.push(b'[');
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            self.string(item.as_ref());
        }
        self.out.push(b']');
    }

    fn object(&mut self, name: &str, write: impl FnOnce(&mut Fields<'_>)) {
        self.key(name);
        self.out.push(b'{');
        write(&mut Fields { out: self.out, first: true });
        self.out.push(b'}');
    }
}

/// An `EventList` of encoded events.
pub fn list(events: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(events.iter().map(|event| event.len() + 2).sum::<usize>() + 80);
    out.extend_from_slice(br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#);
    for (i, event) in events.iter().enumerate() {
        out.extend_from_slice(if i > 0 { b",{" } else { b"{" });
        out.extend_from_slice(event);
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(check: impl FnOnce(&Event<'_>)) {
        let user = UserInfo {
            name: "admin".into(),
            groups: vec!["system:masters".into(), "a\"b".into()],
            extra: vec![("k".into(), vec!["v".into()])],
            ..UserInfo::default()
        };
        let status = Status { code: 200, ..Status::default() };
        check(&Event {
            level: Level::Request,
            audit_id: "id-1",
            stage: Stage::ResponseComplete,
            request_uri: "/api/v1/namespaces/a/pods?x=<y>",
            verb: "create",
            user: Some(&user),
            impersonated: None,
            impersonation_constraint: "impersonate:user-info",
            source_ips: &["127.0.0.1".parse().expect("address")],
            user_agent: "kubectl/v1",
            object: Some(ObjectReference { resource: "pods", namespace: "a", api_version: "v1", ..Default::default() }),
            status: Some(&status),
            request_object: Some(br#"{"kind":"Pod"}"#),
            response_object: None,
            received: Timestamp::from_second(1).expect("time"),
            stage_time: Timestamp::from_millisecond(1500).expect("time"),
            annotations: &BTreeMap::from([("b/c".to_owned(), "d".to_owned())]),
        });
    }

    #[test]
    fn events_are_as_upstream_writes_them() {
        with(|event| {
            let want = r#""level":"Request","auditID":"id-1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods?x=<y>","verb":"create","user":{"username":"admin","groups":["system:masters","a\"b"],"extra":{"k":["v"]}},"authenticationMetadata":{"impersonationConstraint":"impersonate:user-info"},"sourceIPs":["127.0.0.1"],"userAgent":"kubectl/v1","objectRef":{"resource":"pods","namespace":"a","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestObject":{"kind":"Pod"},"requestReceivedTimestamp":"1970-01-01T00:00:01.000000Z","stageTimestamp":"1970-01-01T00:00:01.500000Z","annotations":{"b/c":"d"}}"#;
            assert_eq!(event.encode(), want);
            let list: Value = serde_json::from_slice(&list(&[event.encode(), event.encode_truncated()])).expect("JSON");
            assert_eq!(list["kind"], "EventList");
            assert_eq!(list["items"][0]["requestObject"]["kind"], "Pod");
            assert!(list["items"][1].get("requestObject").is_none());
            assert_eq!(list["items"][1]["annotations"], serde_json::json!({TRUNCATED: "true", "b/c": "d"}));
        });
    }

    #[test]
    fn the_legacy_line_is_upstreams() {
        with(|event| {
            let want = r#"1970-01-01T00:00:01Z AUDIT: id="id-1" stage="ResponseComplete" ip="127.0.0.1" method="create" user="admin" groups="\"system:masters\",\"a\\\"b\"" as="<self>" asgroups="<lookup>" user-agent="kubectl/v1" namespace="a" uri="/api/v1/namespaces/a/pods?x=<y>" response="200""#;
            assert_eq!(event.legacy(), want);
        });
    }
}
