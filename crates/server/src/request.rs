//! What a request asks for, read from its method, path and query
//! (`k8s.io/apiserver/pkg/endpoints/request`).

use http::Method;

/// The attributes that routing, authorization, admission, audit and metrics share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `proxy`-free;
    /// for non-resource paths the lower-case HTTP method.
    pub verb: String,
    pub path: String,
    pub is_resource: bool,
    pub api_group: String,
    pub api_version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// What follows the subresource (`proxy/a/b`): `a/b`, with no leading slash.
    pub tail: String,
    /// Decoded query, in order.
    pub query: Vec<(String, String)>,
    pub field_selector: String,
    pub label_selector: String,
}

impl RequestInfo {
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn query_flag(&self, key: &str) -> bool {
        self.query(key).is_some_and(|v| matches!(v, "" | "1" | "true" | "True" | "TRUE" | "t" | "T"))
    }

    /// Parses a method and a path with query (`/api/v1/namespaces/x/pods/y/log?follow=true`).
    pub fn parse(_method: &Method, _path_and_query: &str) -> Self {
        Self::default()
    }
}
