//! A server in memory that allows everything, and a terse way to talk to it.

#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests, each using some of them")]

pub mod hook;

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use orlop_client::transport::{self, Body, Transport as _, UserInfo};
use orlop_server::auth::{Authorizer, Decision};
use orlop_server::request::RequestInfo;
use orlop_server::{Component, Server, ServerConfig};
use orlop_store::{Config, Store};
use serde_json::Value;

/// Allows all, and remembers what it was asked.
#[derive(Default)]
pub struct AllowAll {
    pub asked: Mutex<Vec<RequestInfo>>,
}

impl Authorizer for AllowAll {
    fn authorize<'a>(&'a self, _: &'a UserInfo, request: &'a RequestInfo) -> BoxFuture<'a, Decision> {
        self.asked.lock().unwrap().push(request.clone());
        Box::pin(async { Decision::Allow { reason: String::new() } })
    }
}

/// Denies all.
pub struct DenyAll;

impl Authorizer for DenyAll {
    fn authorize<'a>(&'a self, _: &'a UserInfo, _: &'a RequestInfo) -> BoxFuture<'a, Decision> {
        Box::pin(async { Decision::NoOpinion { reason: String::new() } })
    }
}

pub struct Api {
    pub server: Arc<Server>,
    pub component: Component,
}

/// A server with the namespace `default`, its ServiceAccount, and nothing else.
pub async fn api() -> Api {
    let api = bare(Arc::new(AllowAll::default())).await;
    api.post("/api/v1/namespaces", serde_json::json!({"metadata": {"name": "default"}})).await.is(201);
    let account = serde_json::json!({"metadata": {"name": "default"}});
    api.post("/api/v1/namespaces/default/serviceaccounts", account).await.is(201);
    api
}

pub async fn bare(authorizer: Arc<dyn Authorizer>) -> Api {
    with(authorizer, |_| {}).await
}

pub async fn with(authorizer: Arc<dyn Authorizer>, adjust: impl FnOnce(&mut ServerConfig)) -> Api {
    let store = Store::open(Config::in_memory()).await.unwrap();
    let mut config = ServerConfig::new(store, authorizer);
    adjust(&mut config);
    serve(config)
}

/// Another server over a store that already holds something.
pub fn over(store: Store) -> Api {
    over_with(store, |_| {})
}

pub fn over_with(store: Store, adjust: impl FnOnce(&mut ServerConfig)) -> Api {
    let mut config = ServerConfig::new(store, Arc::new(AllowAll::default()));
    adjust(&mut config);
    serve(config)
}

fn serve(config: ServerConfig) -> Api {
    let server = Server::new(config);
    let user = UserInfo { name: "tester".into(), groups: vec!["system:masters".into()], ..UserInfo::default() };
    Api { component: server.component(user), server }
}

/// An answer with its body read.
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub bytes: bytes::Bytes,
    asked: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{}: {e}: {}", self.asked, self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    #[track_caller]
    pub fn is(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{}: {}", self.asked, self.text());
        self
    }

    /// Code and message of a Status.
    #[track_caller]
    pub fn fails(self, code: u16, message: &str) -> Self {
        let answer = self.is(code);
        assert_eq!(answer.json()["message"], message, "{}", answer.asked);
        answer
    }

    /// Every value in `want` stands in the answer.
    #[track_caller]
    pub fn has(self, want: Value) -> Self {
        let got = self.json();
        if let Some(why) = missing(&got, &want, "") {
            panic!("{}: {why}\nin {got:#}", self.asked);
        }
        self
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// The first place where `got` lacks what `want` has. Null means absent.
pub fn missing(got: &Value, want: &Value, path: &str) -> Option<String> {
    match want {
        Value::Object(fields) => {
            fields.iter().find_map(|(key, value)| missing(&got[key.as_str()], value, &format!("{path}.{key}")))
        }
        Value::Array(items) => {
            let len = got.as_array().map_or(0, Vec::len);
            if len != items.len() {
                return Some(format!("{path}: {len} items, want {}", items.len()));
            }
            items.iter().enumerate().find_map(|(i, item)| missing(&got[i], item, &format!("{path}[{i}]")))
        }
        want if got == want => None,
        want => Some(format!("{path}: {got}, want {want}")),
    }
}

impl Api {
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let response = self.open(method, path, headers, body).await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { code: head.status.as_u16(), headers: head.headers, bytes, asked: format!("{method} {path}") }
    }

    /// The response with its body unread: watches.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.component.send(request.body(transport::full(body)).unwrap()).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send("GET", path, &[("accept", accept)], "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json"), ("user-agent", "tester/1.0")], body.to_string())
            .await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json"), ("user-agent", "tester/1.0")], body.to_string())
            .await
    }

    pub async fn patch(&self, path: &str, format: &str, body: Value) -> Answer {
        let content_type = match format {
            "json" => "application/json-patch+json",
            "merge" => "application/merge-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            "apply" => "application/apply-patch+yaml",
            other => other,
        };
        self.send("PATCH", path, &[("content-type", content_type), ("user-agent", "tester/1.0")], body.to_string())
            .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    pub async fn delete_with(&self, path: &str, options: Value) -> Answer {
        self.send("DELETE", path, &[("content-type", "application/json")], options.to_string()).await
    }

    pub async fn watch(&self, path: &str) -> Events {
        self.watch_as(path, "application/json").await
    }

    pub async fn watch_as(&self, path: &str, accept: &str) -> Events {
        let response = self.open("GET", path, &[("accept", accept)], "").await;
        assert_eq!(response.status(), 200, "{path}");
        Events { body: response.into_body(), buffer: Vec::new() }
    }
}

/// The events of a watch, line by line.
pub struct Events {
    body: Body,
    buffer: Vec<u8>,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// Type, name and resourceVersion of the next event.
    pub async fn brief(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let metadata = &event["object"]["metadata"];
        format!("{} {}", event["type"].as_str().unwrap(), metadata["name"].as_str().unwrap_or("-"))
    }
}
