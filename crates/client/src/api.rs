//! The verbs of one resource.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::client::{Call, Client};
use crate::error::{Error, Result};
use crate::json;
use crate::object::{Decode, Object, Resource};
use crate::params::{DeleteOptions, ListOptions, Patch, WatchOptions, WriteOptions};
use crate::watch::Watch;

const JSON: &str = "application/json";

/// Page size of [`Api::list_all`], as client-go's pager has it.
const PAGE: u32 = 500;

/// One resource, in one namespace or across all.
pub struct Api<K> {
    client: Client,
    resource: Resource,
    namespace: Arc<str>,
    accept: &'static str,
    accept_list: &'static str,
    decode: Decode<K>,
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        self.decoding(self.decode)
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct List<K> {
    pub items: Vec<K>,
    /// The revision all pages show.
    pub resource_version: String,
    /// For the next page; empty on the last.
    pub continue_token: String,
    pub remaining_item_count: Option<i64>,
}

impl<K: Object> Api<K> {
    pub(crate) fn new(client: Client, resource: Resource, namespace: &str) -> Self {
        let (accept, accept_list) = (K::ACCEPT, K::ACCEPT_LIST);
        Self { client, resource, namespace: namespace.into(), accept, accept_list, decode: K::decode }
    }

    pub async fn create(&self, object: &K) -> Result<K> {
        self.create_with(object, &WriteOptions::default()).await
    }

    pub async fn create_with(&self, object: &K, options: &WriteOptions) -> Result<K> {
        let mut path = self.resource.path(self.namespace_of(object.namespace())?, "", "");
        path.push_str(options.query().as_str());
        self.one(Method::POST, &path, JSON, object.encode().into()).await
    }

    /// Replaces the object; its `resourceVersion`, if set, must still be the newest.
    pub async fn update(&self, object: &K) -> Result<K> {
        self.update_with(object, "", &WriteOptions::default()).await
    }

    /// Replaces the object's status (and nothing else of it).
    pub async fn update_status(&self, object: &K) -> Result<K> {
        self.update_with(object, "status", &WriteOptions::default()).await
    }

    /// PUT of the object or of `subresource`.
    pub async fn update_with(&self, object: &K, subresource: &str, options: &WriteOptions) -> Result<K> {
        let mut path = self.object_path(object.namespace(), object.name(), subresource)?;
        path.push_str(options.query().as_str());
        self.one(Method::PUT, &path, JSON, object.encode().into()).await
    }
}

impl<K> Api<K> {
    /// The same resource, whose objects become something else.
    pub(crate) fn decoding<T>(&self, decode: Decode<T>) -> Api<T> {
        let (client, resource, namespace) = (self.client.clone(), self.resource.clone(), self.namespace.clone());
        Api { client, resource, namespace, accept: self.accept, accept_list: self.accept_list, decode }
    }

    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub async fn get(&self, name: &str) -> Result<K> {
        let path = self.object_path("", name, "")?;
        self.one(Method::GET, &path, "", Bytes::new()).await
    }

    /// `None` when there is none of that name.
    pub async fn get_opt(&self, name: &str) -> Result<Option<K>> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One page (all, when `options.limit` is 0).
    pub async fn list(&self, options: &ListOptions) -> Result<List<K>> {
        let path = self.collection_path(options.query().as_str());
        let accept = self.accept_list;
        let call = Call { method: Method::GET, path: &path, accept, content_type: "", body: Bytes::new() };
        let body = self.client.call(call).await?;
        decode_list(&body, self.decode).map_err(|source| Error::Decode { method: Method::GET, path, source })
    }

    /// Every page. A token that expired midway starts over, once, in a single answer.
    pub async fn list_all(&self, options: &ListOptions) -> Result<List<K>> {
        let mut options = ListOptions { limit: PAGE, ..options.clone() };
        let mut all = self.list(&options).await?;
        while !all.continue_token.is_empty() {
            options.continue_token = std::mem::take(&mut all.continue_token);
            options.resource_version.clear();
            options.resource_version_match = "";
            match self.list(&options).await {
                Ok(page) => {
                    all.items.extend(page.items);
                    all.continue_token = page.continue_token;
                    all.resource_version = page.resource_version;
                }
                Err(error) if error.is_expired() && options.limit > 0 => {
                    options = ListOptions { limit: 0, continue_token: String::new(), ..options };
                    all = self.list(&options).await?;
                }
                Err(error) => return Err(error),
            }
        }
        all.remaining_item_count = None;
        Ok(all)
    }

    pub async fn patch(&self, name: &str, patch: &Patch) -> Result<K> {
        self.patch_with(name, "", patch, &WriteOptions::default()).await
    }

    pub async fn patch_status(&self, name: &str, patch: &Patch) -> Result<K> {
        self.patch_with(name, "status", patch, &WriteOptions::default()).await
    }

    /// PATCH of the object or of `subresource`.
    pub async fn patch_with(&self, name: &str, sub: &str, patch: &Patch, options: &WriteOptions) -> Result<K> {
        let mut path = self.object_path("", name, sub)?;
        let mut query = options.query();
        if let Patch::Apply { force, .. } = patch {
            query.flag("force", *force);
        }
        path.push_str(query.as_str());
        self.one(Method::PATCH, &path, patch.content_type(), patch.body().into()).await
    }

    /// Server-side apply of `object` as `manager`.
    pub async fn apply(&self, name: &str, object: Value, manager: &str, force: bool) -> Result<K> {
        let options = WriteOptions { field_manager: manager.to_owned(), ..WriteOptions::default() };
        self.patch_with(name, "", &Patch::Apply { object, force }, &options).await
    }

    /// The object, if something still holds it (finalizers, a grace period); `None` once it is gone.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<Option<K>> {
        let path = self.object_path("", name, "")?;
        let answer = self.bytes(Method::DELETE, &path, JSON, options.body().to_string().into()).await?;
        if kind_of(&answer) == b"\"Status\"" {
            return Ok(None);
        }
        let decode = |source| Error::Decode { method: Method::DELETE, path, source };
        (self.decode)(&answer).map(Some).map_err(decode)
    }

    /// Deletes what `which` selects; returns when every deletion has begun.
    pub async fn delete_collection(&self, options: &DeleteOptions, which: &ListOptions) -> Result<()> {
        let path = self.collection_path(which.query().as_str());
        self.bytes(Method::DELETE, &path, JSON, options.body().to_string().into()).await?;
        Ok(())
    }

    pub async fn watch(&self, options: &WatchOptions) -> Result<Watch<K>> {
        let path = self.collection_path(options.query().as_str());
        let response = self.client.stream(Method::GET, &path, self.accept).await?;
        Ok(Watch::new(path, response.into_body(), self.decode))
    }

    /// GET of a subresource (`scale`, `log`), as it comes.
    pub async fn get_subresource(&self, name: &str, subresource: &str) -> Result<Bytes> {
        let path = self.object_path("", name, subresource)?;
        self.bytes(Method::GET, &path, "", Bytes::new()).await
    }

    /// POST to a subresource (`binding`, `eviction`, `token`); the answer as a value.
    pub async fn post_subresource(&self, name: &str, subresource: &str, body: &Value) -> Result<Value> {
        self.send_subresource(Method::POST, name, subresource, body).await
    }

    /// PUT of a subresource whose body is of another kind, or that changes more than status
    /// (`finalize`, `scale`, `approval`).
    pub async fn put_subresource(&self, name: &str, subresource: &str, body: &Value) -> Result<Value> {
        self.send_subresource(Method::PUT, name, subresource, body).await
    }

    async fn send_subresource(&self, method: Method, name: &str, subresource: &str, body: &Value) -> Result<Value> {
        let path = self.object_path("", name, subresource)?;
        let answer = self.bytes(method.clone(), &path, JSON, body.to_string().into()).await?;
        serde_json::from_slice(&answer).map_err(|source| Error::Decode { method, path, source })
    }

    async fn one(&self, method: Method, path: &str, content_type: &str, body: Bytes) -> Result<K> {
        let answer = self.bytes(method.clone(), path, content_type, body).await?;
        (self.decode)(&answer).map_err(|source| Error::Decode { method, path: path.to_owned(), source })
    }

    async fn bytes(&self, method: Method, path: &str, content_type: &str, body: Bytes) -> Result<Bytes> {
        self.client.call(Call { method, path, accept: self.accept, content_type, body }).await
    }

    fn collection_path(&self, query: &str) -> String {
        let mut path = self.resource.path(&self.namespace, "", "");
        path.push_str(query);
        path
    }

    fn object_path(&self, own_namespace: &str, name: &str, subresource: &str) -> Result<String> {
        if name.is_empty() {
            return Err(Error::Request(format!("{}: resource name may not be empty", self.resource.plural)));
        }
        Ok(self.resource.path(self.namespace_of(own_namespace)?, name, subresource))
    }

    /// The namespace an object is addressed in: this API's, else the object's own.
    fn namespace_of<'a>(&'a self, own: &'a str) -> Result<&'a str> {
        match (self.resource.namespaced, &*self.namespace, own) {
            (false, ..) => Ok(""),
            (true, "", "") => {
                Err(Error::Request(format!("{}: an empty namespace may not be set", self.resource.plural)))
            }
            (true, "", own) => Ok(own),
            (true, namespace, _) => Ok(namespace),
        }
    }
}

fn kind_of(json: &[u8]) -> &[u8] {
    json::members(json).find(|m| m.key == b"kind").map(|m| m.value).unwrap_or_default()
}

fn decode_list<K>(body: &[u8], decode: Decode<K>) -> Result<List<K>, serde_json::Error> {
    let mut metadata = Value::Null;
    let mut items = Vec::new();
    for member in json::members(body) {
        match member.key {
            b"metadata" => metadata = serde_json::from_slice(member.value)?,
            b"items" => items = json::elements(member.value).map(decode).collect::<Result<_, _>>()?,
            _ => {}
        }
    }
    if metadata.is_null() {
        // Not a list at all: let the decoder say what it is instead.
        serde_json::from_slice::<std::collections::BTreeMap<String, Value>>(body)?;
    }
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    Ok(List {
        items,
        resource_version: text("resourceVersion"),
        continue_token: text("continue"),
        remaining_item_count: metadata["remainingItemCount"].as_i64(),
    })
}
