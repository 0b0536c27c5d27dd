//! Options of requests, and how they are written into a query or a body.

use serde_json::{Map, Value, json};

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    pub label_selector: String,
    pub field_selector: String,
    /// Page size; 0: everything in one answer.
    pub limit: u32,
    /// `metadata.continue` of the page before.
    pub continue_token: String,
    pub resource_version: String,
    /// `Exact`, `NotOlderThan`, or empty.
    pub resource_version_match: &'static str,
}

impl ListOptions {
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { label_selector: selector.into(), ..Self::default() }
    }

    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: selector.into(), ..Self::default() }
    }

    pub fn query(&self) -> Query {
        let mut query = Query::default();
        query.text("labelSelector", &self.label_selector);
        query.text("fieldSelector", &self.field_selector);
        if self.limit > 0 {
            query.text("limit", &self.limit.to_string());
        }
        query.text("continue", &self.continue_token);
        query.text("resourceVersion", &self.resource_version);
        query.text("resourceVersionMatch", self.resource_version_match);
        query
    }
}

/// How a watch starts and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    pub label_selector: String,
    pub field_selector: String,
    /// Start after this revision; empty: now, with what exists first.
    pub resource_version: String,
    pub bookmarks: bool,
    /// WatchList (KEP-3157): what exists comes first, ended by an annotated bookmark.
    pub send_initial_events: bool,
    /// The server ends the watch after this long; 0: when it likes.
    pub timeout_seconds: u32,
}

impl WatchOptions {
    pub fn query(&self) -> Query {
        let mut query = Query::default();
        query.flag("watch", true);
        query.text("labelSelector", &self.label_selector);
        query.text("fieldSelector", &self.field_selector);
        query.text("resourceVersion", &self.resource_version);
        query.flag("allowWatchBookmarks", self.bookmarks || self.send_initial_events);
        if self.send_initial_events {
            query.flag("sendInitialEvents", true);
            query.text("resourceVersionMatch", "NotOlderThan");
        }
        if self.timeout_seconds > 0 {
            query.text("timeoutSeconds", &self.timeout_seconds.to_string());
        }
        query
    }
}

/// Options of create, update and patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Empty: the server takes the name before the slash in the user agent.
    pub field_manager: String,
    /// `Strict`, `Warn`, `Ignore`, or empty for the server's default.
    pub field_validation: &'static str,
    pub dry_run: bool,
}

impl WriteOptions {
    pub fn query(&self) -> Query {
        let mut query = Query::default();
        query.text("fieldManager", &self.field_manager);
        query.text("fieldValidation", self.field_validation);
        query.text("dryRun", if self.dry_run { "All" } else { "" });
        query
    }
}

/// The five ways to change part of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7396.
    Merge(Value),
    /// By the kind's merge keys; built-in kinds only.
    Strategic(Value),
    /// Server-side apply; the manager is the write options'.
    Apply { object: Value, force: bool },
}

impl Patch {
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json-patch+json",
            Self::Merge(_) => "application/merge-patch+json",
            Self::Strategic(_) => "application/strategic-merge-patch+json",
            Self::Apply { .. } => "application/apply-patch+yaml",
        }
    }

    pub fn body(&self) -> Vec<u8> {
        match self {
            Self::Json(v) | Self::Merge(v) | Self::Strategic(v) | Self::Apply { object: v, .. } => {
                v.to_string().into_bytes()
            }
        }
    }
}

/// What becomes of an object's dependents when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

impl Propagation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Delete only this very object.
    pub uid: Option<String>,
    /// Delete only this version of it.
    pub resource_version: Option<String>,
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Only the object with this uid.
    pub fn uid(uid: impl Into<String>) -> Self {
        Self { uid: Some(uid.into()), ..Self::default() }
    }

    #[must_use]
    pub fn grace(mut self, seconds: i64) -> Self {
        self.grace_period_seconds = Some(seconds);
        self
    }

    #[must_use]
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = Some(propagation);
        self
    }

    pub fn body(&self) -> Value {
        let mut body = json!({ "kind": "DeleteOptions", "apiVersion": "v1" });
        let mut preconditions = Map::new();
        if let Some(uid) = &self.uid {
            preconditions.insert("uid".into(), uid.clone().into());
        }
        if let Some(version) = &self.resource_version {
            preconditions.insert("resourceVersion".into(), version.clone().into());
        }
        if !preconditions.is_empty() {
            body["preconditions"] = preconditions.into();
        }
        if let Some(seconds) = self.grace_period_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(propagation) = self.propagation {
            body["propagationPolicy"] = propagation.as_str().into();
        }
        if self.dry_run {
            body["dryRun"] = json!(["All"]);
        }
        body
    }
}

/// A query string in the making; empty values are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    pub fn text(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(key);
        self.0.push('=');
        percent_encode(value, &mut self.0);
    }

    pub fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.text(key, "true");
        }
    }

    /// Empty, or `?key=value&...`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// RFC 3986: everything but unreserved characters is escaped.
fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let list = ListOptions { limit: 500, ..ListOptions::labels("app=x,env in (a,b)") };
        assert_eq!(list.query().as_str(), "?labelSelector=app%3Dx%2Cenv%20in%20%28a%2Cb%29&limit=500");
        let watch = WatchOptions { send_initial_events: true, ..WatchOptions::default() };
        let want = "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        assert_eq!(watch.query().as_str(), want);
        assert_eq!(WriteOptions::default().query().as_str(), "");
    }

    #[test]
    fn delete_bodies() {
        let options = DeleteOptions::uid("u").grace(0).propagation(Propagation::Orphan);
        let want = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "uid": "u" },
            "gracePeriodSeconds": 0, "propagationPolicy": "Orphan",
        });
        assert_eq!(options.body(), want);
    }
}
