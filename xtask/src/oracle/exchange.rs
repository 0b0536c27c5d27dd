//! Requests and answers: what is sent to both sides, and what of the answer counts.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt;
use orlop_client::config::Config;
use orlop_client::https::Https;
use orlop_client::transport::{BoxError, Transport, full};
use serde_json::Value;

/// Both sides derive the field manager from it.
const AGENT: &str = "oracle/v1";
/// Headers of an answer that clients act on.
const HEADERS: [&str; 4] = ["content-type", "warning", "retry-after", "www-authenticate"];

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: Method,
    /// With its query.
    pub path: String,
    pub headers: Vec<(HeaderName, String)>,
    pub body: Bytes,
}

impl Ask {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn json(method: Method, path: impl Into<String>, body: &Value) -> Self {
        Self::body(method, path, body.to_string().into())
    }

    /// JSON that is written already.
    pub fn body(method: Method, path: impl Into<String>, body: Bytes) -> Self {
        Self { body, ..Self::new(method, path).with(CONTENT_TYPE, "application/json") }
    }

    pub fn patch(path: impl Into<String>, media_type: &str, body: &Value) -> Self {
        let ask = Self::new(Method::PATCH, path).with(CONTENT_TYPE, media_type);
        Self { body: body.to_string().into(), ..ask }
    }

    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn accept(self, media_type: &str) -> Self {
        self.with(ACCEPT, media_type)
    }

    fn request(&self) -> Result<Request<orlop_client::transport::Body>> {
        let mut request = Request::builder().method(&self.method).uri(encoded(&self.path)).header(USER_AGENT, AGENT);
        let headers = request.headers_mut().context("making a request")?;
        for (name, value) in &self.headers {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes())?);
        }
        Ok(request.body(full(self.body.clone()))?)
    }
}

impl Display for Ask {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        for (name, value) in &self.headers {
            write!(f, " {name}: {value}")?;
        }
        write!(f, " {}", String::from_utf8_lossy(&self.body))
    }
}

/// What came back, with everything that two right servers may do differently still in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Name and value, in the order of [`HEADERS`]; of several with one name in the order they came.
    pub headers: Vec<(&'static str, String)>,
    /// JSON where it is; else a string.
    pub body: Value,
}

/// One of the two servers.
#[derive(Clone)]
pub struct Side {
    pub name: &'static str,
    pub port: u16,
    transport: Arc<Https>,
}

impl Side {
    pub fn new(name: &'static str, config: &Config, port: u16) -> Result<Self> {
        Ok(Self { name, port, transport: Arc::new(Https::new(config)?) })
    }

    /// A request that breaks the server's handler has an answer too: none, with status 0.
    pub async fn send(&self, ask: &Ask) -> Result<Answer> {
        let request = ask.request()?;
        let answer = async {
            let (head, body) = self.transport.send(request).await?.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let headers = headers(&head.headers);
            let body = read(&bytes, headers.iter().any(|(_, value)| value.starts_with("application/yaml")));
            Ok::<_, BoxError>(Answer { status: head.status.as_u16(), headers, body })
        };
        let broken = |_| Answer { status: 0, headers: Vec::new(), body: "no answer".into() };
        Ok(answer.await.unwrap_or_else(broken))
    }

    /// The objects of an event stream, until the server or the query's timeout ends it.
    pub async fn events(&self, ask: &Ask) -> Result<Answer> {
        let answer = self.send(ask).await?;
        let events = match answer.body {
            Value::String(text) => text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(),
            // The only one.
            event => vec![event],
        };
        Ok(Answer { body: Value::Array(events), ..answer })
    }
}

fn read(bytes: &[u8], is_yaml: bool) -> Value {
    let read = serde_json::from_slice(bytes).ok();
    let read = read.or_else(|| is_yaml.then(|| orlop_api::codec::yaml::from_yaml(bytes).ok()).flatten());
    read.unwrap_or_else(|| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

/// With what a path or query cannot hold as it is.
fn encoded(path: &str) -> String {
    let byte = |b: u8| match b {
        0x21..=0x7e if !matches!(b, b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'^' | b'|' | b'\\') => {
            char::from(b).to_string()
        }
        _ => format!("%{b:02X}"),
    };
    path.bytes().map(byte).collect()
}

fn headers(all: &HeaderMap) -> Vec<(&'static str, String)> {
    let values = |name: &'static str| {
        all.get_all(name).into_iter().map(move |v| (name, String::from_utf8_lossy(v.as_bytes()).into_owned()))
    };
    HEADERS.into_iter().flat_map(values).collect()
}
