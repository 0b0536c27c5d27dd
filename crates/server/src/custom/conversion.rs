//! Custom resources that only a webhook can convert between versions
//! (`apiextensions-apiserver/pkg/apiserver/conversion`).
//!
//! Such a resource looks to the rest of the server as if its objects were stored in the version of the URL: they are
//! converted as they are read, and again as they are written.

use std::sync::Arc;
use std::time::Duration;

use orlop_api::field::{ErrorList, Path};
use orlop_api::patch::go_type;
use orlop_api::status::StatusError;
use orlop_api::{Map, Value, meta, object_meta};
use orlop_store::{Draft, Entry, Event, Store};
use serde_json::json;

use super::converted;
use crate::Server;
use crate::connect::webhook;
use crate::encryption::unreadable;
use crate::filter::Filter;
use crate::resource::Resource;
use crate::wire::raw;
use crate::wire::respond::Content;

const TIMEOUT: Duration = Duration::from_secs(30);

/// How a definition's objects are converted, and what they are stored as.
pub struct Conversion {
    client: Value,
    /// The first that both sides know.
    review_version: Option<&'static str>,
    /// apiVersion of stored objects.
    stored: String,
}

impl Conversion {
    /// Of a definition that converts by webhook.
    pub fn read(definition: &Value) -> Option<Self> {
        let conversion = &definition["spec"]["conversion"];
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let stored = definition["spec"]["versions"].as_array()?.iter().find(|version| version["storage"] == true)?;
        let mut known = conversion["webhook"]["conversionReviewVersions"].as_array().into_iter().flatten();
        Some(Self {
            client: conversion["webhook"]["clientConfig"].clone(),
            review_version: known.find_map(|version| ["v1", "v1beta1"].into_iter().find(|known| version == known)),
            stored: format!("{}/{}", text(&definition["spec"]["group"]), text(&stored["name"])),
        })
    }
}

impl Server {
    /// Entries in the URL's version.
    pub(crate) async fn present(
        &self,
        resource: &Resource,
        mut entries: Vec<Arc<Entry>>,
    ) -> Result<Vec<Arc<Entry>>, StatusError> {
        unreadable::check_all(resource, &entries)?;
        if resource.conversion().is_none() {
            return Ok(entries);
        }
        let wanted = resource.api_version();
        let others: Vec<usize> = (0..entries.len()).filter(|i| !is_of(&entries[*i], wanted)).collect();
        converted::replace(self.store(), resource, &mut entries, &others).await?;
        Ok(entries)
    }

    pub(crate) async fn present_one(&self, resource: &Resource, entry: Arc<Entry>) -> Result<Arc<Entry>, StatusError> {
        unreadable::check(&entry)?;
        if resource.conversion().is_none() {
            return Ok(entry);
        }
        let mut one = self.present(resource, vec![entry]).await?;
        Ok(one.pop().expect("as many come out as went in"))
    }

    /// A write's answer in the URL's version.
    pub(crate) async fn present_content(&self, resource: &Resource, content: Content) -> Result<Content, StatusError> {
        match content {
            Content::Entry(entry) => Ok(Content::Entry(self.present_one(resource, entry).await?)),
            other => Ok(other),
        }
    }

    /// The entries that a filter wants, in the URL's version, by which it judges.
    pub(crate) async fn pick(
        &self,
        resource: &Resource,
        filter: &Filter,
        entries: Vec<Arc<Entry>>,
    ) -> Result<Vec<Arc<Entry>>, StatusError> {
        let mut entries = self.present(resource, entries).await?;
        entries.retain(|entry| filter.matches(resource, entry));
        Ok(entries)
    }

    /// Changes as a watcher in the URL's version sees them.
    pub(crate) async fn present_events(
        &self,
        resource: &Resource,
        events: &[Event],
    ) -> Result<Vec<Event>, StatusError> {
        let entries = events.iter().flat_map(|event| [Some(event.entry.clone()), event.previous.clone()]).flatten();
        let mut converted = self.present(resource, entries.collect()).await?.into_iter();
        let seen = events.iter().map(|event| {
            let mut event = event.clone();
            for entry in [Some(&mut event.entry), event.previous.as_mut()].into_iter().flatten() {
                *entry = converted.next().expect("as many come out as went in");
            }
            event
        });
        Ok(seen.collect())
    }

    /// An object of a resource that a webhook converts, in the version of `resource`.
    pub(crate) async fn in_version(&self, resource: &Resource, object: Value) -> Result<Value, StatusError> {
        match resource.conversion() {
            Some(conversion) if object["apiVersion"] != *resource.api_version() => {
                let mut converted = convert(self.store(), conversion, vec![object], resource.api_version()).await?;
                Ok(converted.pop().expect("as many come out as went in"))
            }
            _ => Ok(object),
        }
    }

    /// An object as it goes into the store, where that is not as it is.
    pub(crate) async fn stored_draft(&self, resource: &Resource, object: &Value) -> Result<Option<Draft>, StatusError> {
        match resource.conversion() {
            Some(conversion) if object["apiVersion"] != *conversion.stored => {
                let converted = convert(self.store(), conversion, vec![object.clone()], &conversion.stored).await?;
                Ok(converted.first().map(Draft::encode))
            }
            _ => Ok(None),
        }
    }
}

fn is_of(entry: &Entry, api_version: &str) -> bool {
    raw::find_str(&entry.json, &["apiVersion"]) == Some(api_version)
}

fn failed(of: &Value, why: &str) -> StatusError {
    let kind = format!("{}, Kind={}", text(&of["apiVersion"]), text(&of["kind"]));
    StatusError::new(500, "", format!("conversion webhook for {kind} {why}"))
}

pub(super) async fn convert(
    store: &Store,
    conversion: &Conversion,
    objects: Vec<Value>,
    wanted: &str,
) -> Result<Vec<Value>, StatusError> {
    let Some(first) = objects.first() else { return Ok(objects) };
    let Some(version) = conversion.review_version else {
        return Err(StatusError::new(500, "", "no supported conversion review versions"));
    };
    let uid = orlop_base::id::uuid();
    let review = json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": { "uid": uid, "desiredAPIVersion": wanted, "objects": objects },
    });
    let answer = webhook::call(store, &conversion.client, &review, TIMEOUT).await;
    let converted = answer.and_then(|answer| verify(answer, version, &uid));
    let converted = converted.map_err(|why| failed(first, &format!("failed: {why}")))?;
    if converted.len() != objects.len() {
        let (got, expected) = (converted.len(), objects.len());
        return Err(failed(first, &format!("returned {got} objects, expected {expected}")));
    }
    let checked = objects.iter().zip(converted).map(|(original, mut object)| {
        check(original, &object, wanted)
            .and_then(|()| restore_metadata(original, &mut object))
            .map(|()| object)
            .map_err(|why| failed(original, &format!("returned invalid {why}")))
    });
    checked.collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The objects of an answer, or what is wrong with it. The first version of reviews checked less.
fn verify(mut answer: Value, version: &str, uid: &str) -> Result<Vec<Value>, String> {
    if version == "v1" && (answer["apiVersion"] != "apiextensions.k8s.io/v1" || answer["kind"] != "ConversionReview") {
        let (api_version, kind) = (text(&answer["apiVersion"]), text(&answer["kind"]));
        return Err(format!(
            "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {api_version}, Kind={kind}"
        ));
    }
    let response = answer.get_mut("response").filter(|response| response.is_object()).ok_or("no response provided")?;
    if version == "v1" && response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", text(&response["uid"])));
    }
    let result = &response["result"];
    match (text(&result["status"]), text(&result["message"])) {
        ("Success", _) => {}
        (status, "") => return Err(format!("response.result.status was '{status}', not 'Success'")),
        (_, message) => return Err(message.to_owned()),
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// Still the same object, in the version wanted.
fn check(original: &Value, object: &Value, wanted: &str) -> Result<(), String> {
    if object["apiVersion"] != wanted {
        let got = text(&object["apiVersion"]);
        return Err(format!("object at index 0: invalid groupVersion (expected {wanted}, received {got})"));
    }
    let (expected, got) = (text(&original["kind"]), text(&object["kind"]));
    if expected != got {
        return Err(format!("object at index 0: invalid kind (expected {expected}, received {got})"));
    }
    for (what, field) in [("name", "name"), ("namespace", "namespace"), ("UID", "uid")] {
        let (was, is) = (meta::get(original, field), meta::get(object, field));
        if was != is {
            return Err(format!("object: must have the same {what}: {was} != {is}"));
        }
    }
    Ok(())
}

/// A conversion may change labels and annotations, but no other metadata.
fn restore_metadata(original: &Value, object: &mut Value) -> Result<(), String> {
    let answered = match object.get_mut("metadata").map(Value::take) {
        Some(Value::Object(metadata)) => metadata,
        Some(other) => {
            return Err(format!("metadata: invalid metadata of type {} in converted object", go_type(&other)));
        }
        None => return Err("metadata: missing metadata in converted object".to_owned()),
    };
    let mut metadata = original["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        let was = metadata.remove(field).unwrap_or_default();
        match answered.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                check_strings(field, map, was.as_object())?;
                metadata.insert(field.to_owned(), map.clone().into());
            }
            Some(other) => {
                let found = go_type(other);
                return Err(format!("metadata: invalid metadata.{field} of type {found} in converted object"));
            }
        }
    }
    object["metadata"] = metadata.into();
    Ok(())
}

fn check_strings(field: &str, map: &Map<String, Value>, was: Option<&Map<String, Value>>) -> Result<(), String> {
    if let Some((key, value)) = map.iter().find(|(_, value)| !value.is_string()) {
        let found = go_type(value);
        return Err(format!("metadata: metadata.{field}[{key}] must be a string, but is {found} in converted object"));
    }
    if was == Some(map) {
        return Ok(());
    }
    let (map, mut errors) = (map.clone().into(), ErrorList::default());
    match field {
        "labels" => object_meta::check_labels(&map, &Path::new("metadata.labels"), &mut errors),
        // Upstream's path.
        _ => object_meta::check_annotations(&map, &Path::new("metadata.annotation"), &mut errors),
    }
    if errors.is_empty() { Ok(()) } else { Err(format!("metadata: {}", errors.aggregate())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(metadata: Value) -> Value {
        json!({ "apiVersion": "g/v2", "kind": "K", "metadata": metadata })
    }

    #[test]
    fn metadata_is_not_the_webhooks_to_change() {
        let original = json!({"apiVersion": "g/v1", "kind": "K",
            "metadata": {"name": "a", "uid": "u", "finalizers": ["f"], "annotations": {"a": "b"}}});
        let mut object = converted(json!({"name": "a", "uid": "u", "finalizers": [], "labels": {"x": "y"}}));
        check(&original, &object, "g/v2").unwrap();
        restore_metadata(&original, &mut object).unwrap();
        assert_eq!(object["metadata"], json!({"name": "a", "uid": "u", "finalizers": ["f"], "labels": {"x": "y"}}));
    }

    #[test]
    fn answers_are_checked() {
        let original = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a", "uid": "u"}});
        let why = |object: Value| check(&original, &object, "g/v2").unwrap_err();
        assert_eq!(
            why(json!({"apiVersion": "g/v1", "kind": "K"})),
            "object at index 0: invalid groupVersion (expected g/v2, received g/v1)"
        );
        assert_eq!(why(converted(json!({"name": "b"}))), "object: must have the same name: a != b");
        let why = |metadata: Value| restore_metadata(&original, &mut converted(metadata)).unwrap_err();
        assert_eq!(
            why(json!({"labels": {"x": 1}})),
            "metadata: metadata.labels[x] must be a string, but is int64 in converted object"
        );
        assert!(why(json!({"labels": {"x": "no spaces"}})).starts_with("metadata: metadata.labels: Invalid value"));
    }

    #[test]
    fn reviews_are_checked() {
        let answer = |response: Value| {
            let answer =
                json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
            verify(answer, "v1", "u")
        };
        assert_eq!(answer(Value::Null).unwrap_err(), "no response provided");
        assert_eq!(answer(json!({"uid": "w"})).unwrap_err(), "expected response.uid=\"u\", got \"w\"");
        assert_eq!(answer(json!({"uid": "u"})).unwrap_err(), "response.result.status was '', not 'Success'");
        let refused = json!({"uid": "u", "result": {"status": "Failure", "message": "no way"}});
        assert_eq!(answer(refused).unwrap_err(), "no way");
        let done = json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{}]});
        assert_eq!(answer(done).unwrap(), [json!({})]);
        assert!(verify(json!({}), "v1", "u").unwrap_err().starts_with("expected webhook response of"));
    }
}
