//! A watch, event by event.

use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use orlop_client::config::Config;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bench::connection::{Call, Connection};

#[derive(Deserialize)]
pub struct Event<T> {
    #[serde(rename = "type")]
    pub kind: String,
    pub object: T,
}

/// What is looked at of an object's metadata.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub uid: String,
    #[serde(default)]
    pub generation: i64,
    pub deletion_timestamp: Option<String>,
}

pub struct Events {
    config: Config,
    path: String,
    query: String,
    stream: Stream,
    buffer: BytesMut,
    /// So much of the buffer holds no end of a line.
    scanned: usize,
    /// The newest event, which tells where to go on.
    last: BytesMut,
    reopened: usize,
}

/// Any server may end a watch at any time; one that does so again and again serves none.
const MAX_REOPENED: usize = 10;

impl Events {
    /// Of what happens from now on; `query` narrows it.
    pub async fn open(config: &Config, path: &str, query: &str) -> Result<Self> {
        let list = Connection::open(config).await?.fetch(Call::get(format!("{path}?limit=1"))).await?;
        let stream = Stream::open(config, path, query, &revision(&list)?).await?;
        let (buffer, scanned, last, reopened) = Default::default();
        let (config, path, query) = (config.clone(), path.to_owned(), query.to_owned());
        Ok(Self { config, path, query, stream, buffer, scanned, last, reopened })
    }

    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Event<T>> {
        loop {
            if let Some(end) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n') {
                self.last = self.buffer.split_to(self.scanned + end);
                self.buffer.advance(1);
                self.scanned = 0;
                let start = &self.last[..self.last.len().min(200)];
                let told = || format!("reading an event: {}", String::from_utf8_lossy(start));
                return serde_json::from_slice(&self.last).with_context(told);
            }
            self.scanned = self.buffer.len();
            match self.stream.body.frame().await {
                Some(frame) => self.buffer.extend_from_slice(frame?.data_ref().map_or(&[], |data| data)),
                None => self.reopen().await?,
            }
        }
    }

    async fn reopen(&mut self) -> Result<()> {
        self.reopened += 1;
        if self.reopened > MAX_REOPENED {
            bail!("the watch of {} ended {MAX_REOPENED} times", self.path);
        }
        let from = if self.last.is_empty() { self.stream.from.clone() } else { revision_of_event(&self.last)? };
        self.stream = Stream::open(&self.config, &self.path, &self.query, &from).await?;
        Ok(())
    }
}

struct Stream {
    body: Incoming,
    from: String,
    // The stream ends with it.
    _connection: Connection,
}

impl Stream {
    async fn open(config: &Config, path: &str, query: &str, from: &str) -> Result<Self> {
        let mut connection = Connection::open(config).await?;
        let path = format!("{path}?watch=true&resourceVersion={from}{query}");
        let response = connection.send(Call::get(path.clone())).await?;
        if !response.status().is_success() {
            bail!("watching {path}: {}", response.status());
        }
        Ok(Self { body: response.into_body(), from: from.to_owned(), _connection: connection })
    }
}

fn revision(object: &[u8]) -> Result<String> {
    let object: Value = serde_json::from_slice(object)?;
    Ok(object["metadata"]["resourceVersion"].as_str().context("an answer without a revision")?.to_owned())
}

fn revision_of_event(event: &[u8]) -> Result<String> {
    let event: Value = serde_json::from_slice(event)?;
    Ok(event["object"]["metadata"]["resourceVersion"].as_str().context("an event without a revision")?.to_owned())
}
