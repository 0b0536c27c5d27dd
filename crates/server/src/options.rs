//! The query parameters and option bodies of each verb, parsed and checked
//! (`k8s.io/apimachinery/pkg/apis/meta/v1/validation`).

use orlop_api::Value;
use orlop_api::codec::json::{FieldValidation, syntax_error};
use orlop_api::field::{ErrorList, Path};
use orlop_api::status::StatusError;

use crate::request::RequestInfo;

/// Longest `fieldManager`, in bytes.
const FIELD_MANAGER_MAX_LENGTH: usize = 128;

/// Options of create, update and patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: FieldValidation,
    /// Only for apply.
    pub force: Option<bool>,
}

/// Which options object an error names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    Create,
    Update,
    Patch { apply: bool },
}

impl WriteKind {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch { .. } => "PatchOptions",
        }
    }
}

impl WriteOptions {
    pub fn parse(info: &RequestInfo, kind: WriteKind) -> Result<Self, StatusError> {
        let mut errors = ErrorList::default();
        let force = info.query("force").map(|_| info.query_flag("force"));
        let field_manager = info.query("fieldManager").unwrap_or_default();
        if let WriteKind::Patch { apply } = kind {
            match (apply, force) {
                (true, _) if field_manager.is_empty() => {
                    errors.required(&Path::new("fieldManager"), "is required for apply patch");
                }
                (false, Some(_)) => {
                    errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
                }
                _ => {}
            }
        }
        check_field_manager(field_manager, &mut errors);
        let dry_run = parse_dry_run(&values(info, "dryRun"), &mut errors);
        let validation = info.query("fieldValidation").unwrap_or_default();
        let field_validation = FieldValidation::from_query(validation).unwrap_or_else(|| {
            errors.not_supported(&Path::new("fieldValidation"), validation, &["", "Ignore", "Strict", "Warn"]);
            FieldValidation::Warn
        });
        reject(kind.name(), errors)?;
        Ok(Self { dry_run, field_manager: field_manager.to_owned(), field_validation, force })
    }
}

fn check_field_manager(manager: &str, errors: &mut ErrorList) {
    let path = Path::new("fieldManager");
    if manager.len() > FIELD_MANAGER_MAX_LENGTH {
        errors.too_long(&path, FIELD_MANAGER_MAX_LENGTH);
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        errors.invalid(&path, manager, format!("invalid character U+{:04X} (at position {at})", u32::from(c)));
    }
}

fn values<'a>(info: &'a RequestInfo, key: &str) -> Vec<&'a str> {
    info.query.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect()
}

fn parse_dry_run(values: &[&str], errors: &mut ErrorList) -> bool {
    if values.iter().any(|v| *v != "All") {
        errors.not_supported(&Path::new("dryRun"), values.to_vec(), &["All"]);
    }
    !values.is_empty()
}

fn reject(kind: &str, errors: ErrorList) -> Result<(), StatusError> {
    if errors.is_empty() { Ok(()) } else { Err(StatusError::invalid("meta.k8s.io", kind, "", &errors)) }
}

const IGNORE_READ_ERROR: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub orphan_dependents: Option<bool>,
    pub propagation: Option<Propagation>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
    /// `ignoreStoreReadErrorWithClusterBreakingPotential`: delete what cannot be read.
    pub ignore_store_read_error: Option<bool>,
}

impl DeleteOptions {
    pub fn from_query(info: &RequestInfo) -> Result<Self, StatusError> {
        let mut errors = ErrorList::default();
        let options = Self {
            grace_period_seconds: int(info, "gracePeriodSeconds")?,
            orphan_dependents: info.query("orphanDependents").map(|_| info.query_flag("orphanDependents")),
            propagation: propagation(info.query("propagationPolicy"), &mut errors),
            dry_run: parse_dry_run(&values(info, "dryRun"), &mut errors),
            ignore_store_read_error: info.query(IGNORE_READ_ERROR).map(|_| info.query_flag(IGNORE_READ_ERROR)),
            ..Self::default()
        };
        options.check(errors)
    }

    /// From a decoded `DeleteOptions` object.
    pub fn from_object(object: &Value) -> Result<Self, StatusError> {
        let mut errors = ErrorList::default();
        let dry_run: Vec<&str> = object["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let options = Self {
            grace_period_seconds: object["gracePeriodSeconds"].as_i64(),
            orphan_dependents: object["orphanDependents"].as_bool(),
            propagation: propagation(object["propagationPolicy"].as_str(), &mut errors),
            uid: text(&object["preconditions"]["uid"]),
            resource_version: text(&object["preconditions"]["resourceVersion"]),
            dry_run: parse_dry_run(&dry_run, &mut errors),
            ignore_store_read_error: object[IGNORE_READ_ERROR].as_bool(),
        };
        options.check(errors)
    }

    fn check(self, mut errors: ErrorList) -> Result<Self, StatusError> {
        if let (Some(_), Some(policy)) = (self.orphan_dependents, self.propagation) {
            let text = "orphanDependents and deletionPropagation cannot be both set";
            errors.invalid(&Path::new("propagationPolicy"), format!("{policy:?}"), text);
        }
        if self.ignore_store_read_error == Some(true) {
            for (there, field) in [
                (self.propagation.is_some(), "propagationPolicy"),
                (self.orphan_dependents.is_some(), "orphanDependents"),
                (self.grace_period_seconds.is_some(), "gracePeriodSeconds"),
                (self.uid.is_some() || self.resource_version.is_some(), "preconditions"),
            ] {
                if there {
                    let why = format!("cannot be set together with .{field}");
                    errors.invalid(&Path::new(IGNORE_READ_ERROR), true, why);
                }
            }
        }
        reject("DeleteOptions", errors)?;
        Ok(self)
    }
}

impl DeleteOptions {
    /// A whole collection is not deleted unread.
    pub fn refuse_unsafe(&self) -> Result<(), StatusError> {
        let mut errors = ErrorList::default();
        if self.ignore_store_read_error == Some(true) {
            let why = "is not allowed with DELETECOLLECTION, try again after removing the option";
            errors.invalid(&Path::new(IGNORE_READ_ERROR), true, why);
        }
        reject("DeleteOptions", errors)
    }
}

fn propagation(text: Option<&str>, errors: &mut ErrorList) -> Option<Propagation> {
    Some(match text? {
        "Orphan" => Propagation::Orphan,
        "Background" => Propagation::Background,
        "Foreground" => Propagation::Foreground,
        "" => return None,
        other => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            errors.not_supported(&Path::new("propagationPolicy"), other, &supported);
            return None;
        }
    })
}

/// A number in the query, with Go's words for a bad one.
fn int(info: &RequestInfo, key: &str) -> Result<Option<i64>, StatusError> {
    let Some(text) = info.query(key).filter(|t| !t.is_empty()) else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(StatusError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
    }
}

/// How the answer's revision relates to the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    pub watch: bool,
    pub allow_watch_bookmarks: bool,
    pub send_initial_events: Option<bool>,
    pub resource_version: String,
    pub version_match: Option<VersionMatch>,
    pub timeout_seconds: Option<u64>,
    /// 0 for none.
    pub limit: usize,
    pub continue_token: String,
}

impl ListOptions {
    /// `watch` overrides the parameter for `/watch/` paths.
    pub fn parse(info: &RequestInfo, watch: bool) -> Result<Self, StatusError> {
        let text = |key: &str| info.query(key).unwrap_or_default().to_owned();
        let mut errors = ErrorList::default();
        let match_text = text("resourceVersionMatch");
        let mut options = Self {
            watch: watch || info.query_flag("watch"),
            allow_watch_bookmarks: info.query_flag("allowWatchBookmarks"),
            send_initial_events: info.query("sendInitialEvents").map(|_| info.query_flag("sendInitialEvents")),
            resource_version: text("resourceVersion"),
            version_match: match &*match_text {
                "Exact" => Some(VersionMatch::Exact),
                "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                _ => None,
            },
            timeout_seconds: int(info, "timeoutSeconds")?.map(|n| n.max(0) as u64),
            limit: int(info, "limit")?.map_or(0, |n| n.max(0) as usize),
            continue_token: text("continue"),
        };
        let legacy = options.send_initial_events.is_none() && match_text.is_empty();
        if options.watch && legacy && matches!(&*options.resource_version, "" | "0") {
            options.send_initial_events = Some(true);
            options.version_match = Some(VersionMatch::NotOlderThan);
        } else if options.watch {
            options.check_watch(&match_text, &mut errors);
        } else {
            options.check_list(&match_text, &mut errors);
        }
        reject("ListOptions", errors)?;
        Ok(options)
    }

    fn check_list(&self, match_text: &str, errors: &mut ErrorList) {
        let path = Path::new("resourceVersionMatch");
        if !match_text.is_empty() {
            if self.resource_version.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !self.continue_token.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
            if self.version_match.is_none() {
                errors.not_supported(&path, match_text, &["Exact", "NotOlderThan", ""]);
            }
            if self.version_match == Some(VersionMatch::Exact) && self.resource_version == "0" {
                let text = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.forbidden(&path, text);
            }
        }
        if self.send_initial_events.is_some() {
            errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
        }
    }

    fn check_watch(&self, match_text: &str, errors: &mut ErrorList) {
        let path = Path::new("resourceVersionMatch");
        let not_older = self.version_match == Some(VersionMatch::NotOlderThan);
        if self.send_initial_events.is_some() && !not_older {
            errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if match_text.is_empty() {
            return;
        }
        if self.send_initial_events.is_none() {
            let text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.forbidden(&path, text);
        }
        if !not_older {
            errors.not_supported(&path, match_text, &["NotOlderThan"]);
        }
        if !self.continue_token.is_empty() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
        }
    }
}

/// `resourceVersion` as a revision; `""` and `"0"` are 0.
pub fn parse_revision(text: &str) -> Result<u64, std::num::ParseIntError> {
    if text.is_empty() { Ok(0) } else { text.parse() }
}

/// What a continue token says (`k8s.io/apiserver/pkg/storage/continue.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continue {
    /// `-1`: go on at the newest revision.
    pub revision: i64,
    /// First key of the next page, relative to the list's prefix; ends in NUL when it is "just after".
    pub start: String,
}

impl Continue {
    pub fn encode(&self) -> String {
        use base64::Engine as _;
        let start = Value::from(self.start.as_str());
        let json = format!(r#"{{"v":"meta.k8s.io/v1","rv":{},"start":{start}}}"#, self.revision);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
    }

    pub fn decode(token: &str) -> Result<Self, StatusError> {
        use base64::Engine as _;
        let bad =
            |why: &str| StatusError::bad_request(format!("invalid continue token: continue key is not valid{why}"));
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|e| {
            let at = match e {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                _ => token.len().saturating_sub(1),
            };
            bad(&format!(": illegal base64 data at input byte {at}"))
        })?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad(&format!(": {}", syntax_error(&bytes))))?;
        let version = value["v"].as_str().unwrap_or_default();
        if version != "meta.k8s.io/v1" {
            return Err(bad(&format!(": server does not recognize this encoded version {version}")));
        }
        let start = value["start"].as_str().unwrap_or_default();
        match value["rv"].as_i64().unwrap_or(0) {
            0 => Err(bad(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)")),
            _ if start.is_empty() => Err(bad(": encoded start key empty (version meta.k8s.io/v1)")),
            _ if start.split('/').any(|part| part.is_empty() || part == "." || part == "..") => {
                Err(bad(&format!(": {start}")))
            }
            revision => Ok(Self { revision, start: start.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn info(query: &str) -> RequestInfo {
        RequestInfo::parse(&Method::GET, &format!("/api/v1/pods?{query}"))
    }

    #[test]
    fn write_options_in_upstreams_words() {
        let cases = [
            ("dryRun=All&fieldManager=x&fieldValidation=Strict", WriteKind::Create, ""),
            (
                "dryRun=Some",
                WriteKind::Create,
                r#"CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All""#,
            ),
            (
                "",
                WriteKind::Patch { apply: true },
                r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#,
            ),
            (
                "force=true",
                WriteKind::Patch { apply: false },
                r#"PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch"#,
            ),
            (
                "fieldValidation=Loud",
                WriteKind::Update,
                r#"UpdateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Loud": supported values: "", "Ignore", "Strict", "Warn""#,
            ),
        ];
        for (query, kind, want) in cases {
            let got = WriteOptions::parse(&info(query), kind).err().map_or(String::new(), |e| e.message);
            assert_eq!(got, want, "{query}");
        }
    }

    #[test]
    fn list_options_in_upstreams_words() {
        let cases = [
            ("limit=5&continue=x", ""),
            ("limit=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
            (
                "resourceVersionMatch=Exact",
                r#"ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"#,
            ),
            (
                "sendInitialEvents=true",
                r#"ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"#,
            ),
            (
                "watch=true&sendInitialEvents=true",
                r#"ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"#,
            ),
            ("watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", ""),
        ];
        for (query, want) in cases {
            let got = ListOptions::parse(&info(query), false).err().map_or(String::new(), |e| e.message);
            assert_eq!(got, want, "{query}");
        }
        let legacy = ListOptions::parse(&info("watch=1"), false).unwrap();
        assert_eq!(legacy.send_initial_events, Some(true));
        let from = ListOptions::parse(&info("watch=1&resourceVersion=5"), false).unwrap();
        assert_eq!(from.send_initial_events, None);
    }

    #[test]
    fn delete_options() {
        let body = serde_json::json!({
            "gracePeriodSeconds": 0, "propagationPolicy": "Orphan", "preconditions": {"uid": "u"}, "dryRun": ["All"],
        });
        let want = DeleteOptions {
            grace_period_seconds: Some(0),
            propagation: Some(Propagation::Orphan),
            uid: Some("u".into()),
            dry_run: true,
            ..DeleteOptions::default()
        };
        assert_eq!(DeleteOptions::from_object(&body).unwrap(), want);
        let both = DeleteOptions::from_query(&info("orphanDependents=true&propagationPolicy=Orphan")).unwrap_err();
        assert_eq!(both.code, 422);
    }

    #[test]
    fn continue_tokens_are_upstreams() {
        let token = Continue { revision: 42, start: "default/a\0".into() };
        assert_eq!(token.encode(), "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NDIsInN0YXJ0IjoiZGVmYXVsdC9hXHUwMDAwIn0");
        assert_eq!(Continue::decode(&token.encode()), Ok(token));
        for bad in ["!!", "e30", &Continue { revision: 0, start: "a".into() }.encode()] {
            assert!(Continue::decode(bad).unwrap_err().message.starts_with("invalid continue token"), "{bad}");
        }
        let escape = Continue { revision: 1, start: "../x".into() };
        assert_eq!(Continue::decode(&escape.encode()).unwrap_err().code, 400);
    }
}
