//! Which objects a list or watch wants: label and field selectors over stored entries.
//!
//! What a selector needs of an entry is read from its bytes once and kept ([`crate::memo`]).

use orlop_api::kind::FieldLabels;
use orlop_api::selector::Selector;
use orlop_api::status::StatusError;
use orlop_store::Entry;

use crate::memo::Memo;
use crate::request::RequestInfo;
use crate::resource::Resource;

/// A parsed pair of selectors. The default wants everything.
#[derive(Clone, Default)]
pub struct Filter {
    labels: Selector,
    fields: Vec<FieldTerm>,
    /// What the kind lets select by, where `fields` use it.
    selectable: FieldLabels,
    /// A single namespace or name that the field terms pin; checked by key, not by parsing.
    pub namespace: Option<String>,
    pub name: Option<String>,
}

#[derive(Clone)]
struct FieldTerm {
    field: Field,
    value: String,
    equal: bool,
}

#[derive(Clone, Copy)]
enum Field {
    Name,
    Namespace,
    /// Index into `selectable`.
    Label(usize),
}

impl Filter {
    /// From a request's `labelSelector` and `fieldSelector`; 400 for what cannot be understood.
    pub fn parse(info: &RequestInfo, resource: &Resource) -> Result<Self, StatusError> {
        let labels = info.query("labelSelector").unwrap_or_default();
        let labels = Selector::parse(labels).map_err(|e| StatusError::bad_request(e.to_string()))?;
        let mut filter = Self { labels, ..Self::default() };
        for term in split_terms(info.query("fieldSelector").unwrap_or_default()) {
            filter.add_term(term, info, resource)?;
        }
        if !info.name.is_empty() {
            let pinned = filter.name.get_or_insert_with(|| info.name.clone());
            if *pinned != info.name {
                return Err(StatusError::bad_request("fieldSelector metadata.name doesn't match requested name"));
            }
        }
        Ok(filter)
    }

    fn add_term(&mut self, term: &str, info: &RequestInfo, resource: &Resource) -> Result<(), StatusError> {
        let whole = info.query("fieldSelector").unwrap_or_default();
        let bad = || StatusError::bad_request(format!("invalid selector: '{whole}'; can't understand '{term}'"));
        let (label, equal, value) = split_term(term).ok_or_else(bad)?;
        let value = unescape(value).ok_or_else(bad)?;
        let field = match label {
            "metadata.name" => Field::Name,
            // The kinds with labels of their own, whose lists upstream wrote by hand, name it only where it is.
            "metadata.namespace" if resource.info().namespaced || resource.kind().field_labels().is_empty() => {
                Field::Namespace
            }
            _ => {
                self.selectable = resource.kind().field_labels();
                let index = self.selectable.iter().position(|l| l.label == label);
                Field::Label(index.ok_or_else(|| StatusError::bad_request(resource.kind().unknown_field_label(label)))?)
            }
        };
        match field {
            Field::Name if equal && self.name.is_none() => self.name = Some(value.clone()),
            Field::Namespace if equal && self.namespace.is_none() => self.namespace = Some(value.clone()),
            _ => {}
        }
        self.fields.push(FieldTerm { field, value, equal });
        Ok(())
    }

    /// Nothing is left out, except by key.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_none()
    }

    pub fn matches(&self, _resource: &Resource, entry: &Entry) -> bool {
        if self.is_empty() {
            return true;
        }
        if self.name.as_ref().is_some_and(|name| **name != *entry.key.name) {
            return false;
        }
        let by_key = |term: &FieldTerm| match term.field {
            Field::Name => Some((*entry.key.name == *term.value) == term.equal),
            Field::Namespace => Some((*entry.key.namespace == *term.value) == term.equal),
            Field::Label(_) => None,
        };
        if self.fields.iter().any(|term| by_key(term) == Some(false)) {
            return false;
        }
        // What cannot be read cannot be judged; whoever lists it is told.
        if entry.json.is_empty() {
            return true;
        }
        if !self.labels.is_empty() && !Memo::of(entry).match_labels(&self.labels, entry) {
            return false;
        }
        self.fields.iter().all(|term| match term.field {
            Field::Label(at) => Memo::of(entry).match_field(&self.selectable, at, &term.value, entry) == term.equal,
            Field::Name | Field::Namespace => true,
        })
    }
}

/// The terms of a field selector: field, whether it must equal, value; `None` for what is none.
pub fn field_terms(selector: &str) -> Option<Vec<(String, bool, String)>> {
    let terms = split_terms(selector).into_iter().map(|term| {
        let (field, equal, value) = split_term(term)?;
        Some((field.to_owned(), equal, unescape(value)?))
    });
    terms.collect()
}

/// Splits at commas that are not escaped; empty terms vanish.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in selector.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms.retain(|term| !term.is_empty());
    terms
}

/// `a!=b`, `a==b`, `a=b`: the field, whether it must equal, the value.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!'])?;
    let (field, rest) = term.split_at(at);
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some(value) = rest.strip_prefix(operator) {
            return Some((field, equal, value));
        }
    }
    None
}

/// `\\`, `\,` and `\=` stand for themselves; bare commas and equals signs are errors.
fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|c| matches!(c, '\\' | ',' | '='))?),
            ',' | '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;
    use orlop_api::kinds;
    use orlop_store::Memo;
    use serde_json::json;

    use super::*;
    use crate::resource::KindRef;

    fn pods() -> Resource {
        Resource::new(KindRef::Static(kinds::by_resource("", "v1", "pods").unwrap()), "v1")
    }

    fn filter(labels: &str, fields: &str) -> Result<Filter, StatusError> {
        let mut info = RequestInfo::parse(&Method::GET, "/api/v1/pods");
        info.query = vec![("labelSelector".into(), labels.into()), ("fieldSelector".into(), fields.into())];
        Filter::parse(&info, &pods())
    }

    fn entry() -> Entry {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}},
            "spec": {"nodeName": "x,y"}, "status": {"phase": "Running"}});
        Entry {
            key: pods().key("n", "p"),
            revision: 1,
            created: 1,
            json: Bytes::from(pod.to_string()),
            memo: Memo::default(),
        }
    }

    #[test]
    fn selects() {
        let cases = [
            ("", "", true),
            ("a=b", "", true),
            ("a=c", "", false),
            ("!a", "", false),
            ("", "metadata.name=p", true),
            ("", "metadata.name!=p", false),
            ("", "metadata.namespace=n,metadata.name=p", true),
            ("", "metadata.namespace=m", false),
            ("", "status.phase=Running,spec.nodeName=x\\,y", true),
            ("", "status.phase!=Running", false),
            ("a", "status.phase==Running", true),
        ];
        let entry = entry();
        for (labels, fields, want) in cases {
            let filter = filter(labels, fields).unwrap();
            assert_eq!(filter.matches(&pods(), &entry), want, "{labels} {fields}");
            assert_eq!(filter.matches(&pods(), &entry), want, "again, from the memo: {labels} {fields}");
        }
    }

    #[test]
    fn refuses_in_upstreams_words() {
        let cases = [
            ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
            ("spec.foo=1", "field label not supported: spec.foo"),
        ];
        for (fields, want) in cases {
            assert_eq!(filter("", fields).err().unwrap().message, want);
        }
        assert_eq!(filter("a in", "").err().unwrap().code, 400);
    }
}
