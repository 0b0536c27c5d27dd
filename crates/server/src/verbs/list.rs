//! GET of a collection: stored bytes, strung together.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use orlop_api::status::StatusError;
use orlop_api::{Map, Value, codec};
use orlop_base::clock;
use orlop_client::transport::Body;
use orlop_store::{Entry, Revision, Snapshot, StoreError};

use super::get;
use crate::Server;
use crate::call::Call;
use crate::filter::Filter;
use crate::observe::{Layer, counted, in_cache};
use crate::options::{Continue, ListOptions, VersionMatch};
use crate::resource::Resource;
use crate::wire::negotiate::{Media, MetaVersion, Output, Shape};
use crate::wire::pieces::Pieces;
use crate::wire::respond;
use crate::wire::shape::{self, Include};

pub(crate) async fn list(server: &Arc<Server>, call: &Call) -> Result<Response<Body>, StatusError> {
    let output = call.output(false)?;
    let options = ListOptions::parse(&call.info, false)?;
    let filter = Filter::parse(&call.info, &call.resource)?;
    let page = collect(server, call, &options, &filter).await?;
    write(call, output, &page)
}

/// Some objects of one revision.
pub(super) struct Page {
    pub entries: Vec<Arc<Entry>>,
    pub revision: Revision,
    next: Option<Continue>,
    remaining: Option<usize>,
}

impl Page {
    /// `metadata` of the list.
    fn metadata(&self) -> Value {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), self.revision.to_string().into());
        if let Some(next) = &self.next {
            metadata.insert("continue".into(), next.encode().into());
        }
        if let Some(remaining) = self.remaining {
            metadata.insert("remainingItemCount".into(), remaining.into());
        }
        Value::Object(metadata)
    }
}

pub(super) async fn collect(
    server: &Server,
    call: &Call,
    options: &ListOptions,
    filter: &Filter,
) -> Result<Page, StatusError> {
    in_cache("cacher.GetList", &call.resource, gather(server, call, options, filter)).await
}

async fn gather(server: &Server, call: &Call, options: &ListOptions, filter: &Filter) -> Result<Page, StatusError> {
    let (snapshot, start) = find_snapshot(server, call, options).await?;
    let revision = snapshot.revision();
    let namespace = scope(call, filter);
    let resource = &call.resource;
    if let (Some(name), Some(namespace)) = (&filter.name, single_namespace(call, namespace)) {
        let found = snapshot.get(resource.storage_key(), namespace, name);
        let entries = server.pick(resource, filter, found.cloned().into_iter().collect()).await?;
        return Ok(Page { entries, revision, next: None, remaining: None });
    }
    let after = start.as_ref().map(|start| split_start(start, namespace, resource));
    let after = after.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
    let range = snapshot.range(resource.storage_key(), namespace, after);
    if resource.conversion().is_some() && !filter.is_empty() {
        let converted = server.present(resource, range.cloned().collect()).await?;
        return Ok(cut(converted.iter(), filter, resource, options, (revision, namespace)));
    }
    let mut page = cut(range, filter, resource, options, (revision, namespace));
    page.entries = server.present(resource, page.entries).await?;
    Ok(page)
}

/// As many of the wanted entries as may stand on a page.
fn cut<'a>(
    mut range: impl Iterator<Item = &'a Arc<Entry>>,
    filter: &Filter,
    resource: &Resource,
    options: &ListOptions,
    (revision, namespace): (Revision, Option<&str>),
) -> Page {
    let limit = if options.limit == 0 { usize::MAX } else { options.limit };
    let wanted = range.by_ref().filter(|entry| filter.matches(resource, entry));
    let entries: Vec<Arc<Entry>> = wanted.take(limit).cloned().collect();
    let mut page = Page { entries, revision, next: None, remaining: None };
    let left = range.count();
    if let Some(last) = page.entries.last().filter(|_| left > 0 && page.entries.len() == limit) {
        page.next = Some(Continue { revision: revision as i64, start: start_after(last, namespace) });
        page.remaining = filter.is_empty().then_some(left);
    }
    page
}

/// The namespace to look in; a field selector may narrow a list over all.
pub(super) fn scope<'a>(call: &'a Call, filter: &'a Filter) -> Option<&'a str> {
    if !call.resource.info().namespaced {
        return None;
    }
    match call.namespace() {
        "" => filter.namespace.as_deref().filter(|namespace| !namespace.is_empty()),
        namespace => Some(namespace),
    }
}

fn single_namespace<'a>(call: &Call, namespace: Option<&'a str>) -> Option<&'a str> {
    if call.resource.info().namespaced { namespace } else { Some("") }
}

/// The state to list and where to go on in it.
async fn find_snapshot(
    server: &Server,
    call: &Call,
    options: &ListOptions,
) -> Result<(Snapshot, Option<String>), StatusError> {
    let version = &*options.resource_version;
    if !options.continue_token.is_empty() {
        let token = Continue::decode(&options.continue_token)?;
        if !matches!(version, "" | "0") {
            let text = "specifying resource version is not allowed when using continue";
            return Err(StatusError::bad_request(text));
        }
        if token.revision < 0 {
            return Ok((get::snapshot_not_older(server, &call.resource, "").await?, Some(token.start)));
        }
        let snapshot = exact(server, token.revision as u64, Some(&token.start))?;
        return Ok((snapshot, Some(token.start)));
    }
    let legacy_exact = options.version_match.is_none() && options.limit > 0 && !matches!(version, "" | "0");
    if options.version_match == Some(VersionMatch::Exact) || legacy_exact {
        let revision = get::parse(version)?;
        get::wait_for(server, revision).await?;
        return Ok((exact(server, revision, None)?, None));
    }
    Ok((get::snapshot_not_older(server, &call.resource, version).await?, None))
}

fn exact(server: &Server, revision: Revision, start: Option<&str>) -> Result<Snapshot, StatusError> {
    server.store.snapshot_at(revision).map_err(|error| match (error, start) {
        (StoreError::Compacted { .. }, None) => {
            StatusError::expired("The resourceVersion for the provided list is too old.")
        }
        (StoreError::Compacted { .. }, Some(start)) => {
            let mut status = StatusError::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new \
                 list without the continue parameter, or use the continue token in this response to retrieve the \
                 remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
                 that were created, modified, or deleted between the time the first chunk was returned and now may show \
                 up in the list.",
            );
            status.continue_token = Continue { revision: -1, start: start.to_owned() }.encode();
            status
        }
        (StoreError::Future { requested, newest }, _) => get::too_large(requested, newest),
        (other, _) => crate::server::store_failed(other),
    })
}

/// Just after `last`, relative to the listed prefix, as upstream's etcd keys have it.
fn start_after(last: &Entry, namespace: Option<&str>) -> String {
    match (&*last.key.namespace, namespace) {
        ("", _) | (_, Some(_)) => format!("{}\0", last.key.name),
        (of, None) => format!("{of}/{}\0", last.key.name),
    }
}

/// The (namespace, name) that a start key comes after.
fn split_start(start: &str, namespace: Option<&str>, resource: &Resource) -> (String, String) {
    let start = start.strip_suffix('\0').unwrap_or(start);
    match (namespace, resource.info().namespaced) {
        (Some(namespace), _) => (namespace.to_owned(), start.to_owned()),
        (None, true) => {
            let (namespace, name) = start.split_once('/').unwrap_or((start, ""));
            (namespace.to_owned(), name.to_owned())
        }
        (None, false) => (String::new(), start.to_owned()),
    }
}

/// Encodes a page as the client accepts it.
pub(super) fn write(call: &Call, output: Output, page: &Page) -> Result<Response<Body>, StatusError> {
    call.serialize(output, || written(call, output, page))
}

fn written(call: &Call, output: Output, page: &Page) -> Result<Response<Body>, StatusError> {
    let resource = &call.resource;
    let pieces = match output.shape {
        None if output.media == Media::Protobuf => protobuf(resource, page)?,
        None if output.media == Media::Cbor => cbor(resource, page)?,
        None => {
            let info = resource.info();
            let head = list_head(&info.list_kind, resource.api_version(), page);
            joined(head, page.entries.iter().map(|entry| resource.json(entry)), b"]}")
        }
        Some(Shape::Partial(version) | Shape::PartialList(version)) => {
            if matches!(output.shape, Some(Shape::Partial(_))) {
                return Err(StatusError::new(
                    406,
                    "NotAcceptable",
                    format!(
                        "you requested PartialObjectMetadata, but the requested object is a list ({})",
                        resource.info().list_kind
                    ),
                ));
            }
            if page.entries.is_empty() {
                // Upstream makes the list of nothing, which Go writes as null.
                let (api_version, metadata) = (version.api_version(), page.metadata());
                let list = format!(
                    r#"{{"kind":"PartialObjectMetadataList","apiVersion":"{api_version}","metadata":{metadata},"items":null}}"#
                );
                joined(Bytes::from(list), std::iter::empty(), b"")
            } else {
                let head = list_head("PartialObjectMetadataList", version.api_version(), page);
                joined(
                    head,
                    page.entries.iter().map(|entry| shape::partial(resource.kind(), &entry.json, version)),
                    b"]}",
                )
            }
        }
        Some(Shape::Table(version)) => table(call, version, page)?,
    };
    let pieces = reencode(output, pieces)?;
    Ok(respond::finish(&call.head.headers, 200, output.media, pieces))
}

fn list_head(kind: &str, api_version: &str, page: &Page) -> Bytes {
    let metadata = page.metadata();
    Bytes::from(format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#))
}

fn joined(head: Bytes, items: impl Iterator<Item = Bytes>, tail: &'static [u8]) -> Pieces {
    let mut pieces = Pieces::default();
    pieces.push(head);
    for (i, item) in items.enumerate() {
        if i > 0 {
            pieces.push(Bytes::from_static(b","));
        }
        pieces.push(item);
    }
    pieces.push(Bytes::from_static(tail));
    pieces
}

fn table(call: &Call, version: MetaVersion, page: &Page) -> Result<Pieces, StatusError> {
    let include = Include::parse(call.info.query("includeObject").unwrap_or_default())?;
    let (resource, now) = (&call.resource, clock::unix_seconds());
    let columns = shape::columns(resource.kind());
    let head = shape::table_head(version, &page.metadata(), Some(&columns));
    let rows = in_order_of_rows(resource, &page.entries)?.into_iter().map(|entry| {
        let cells = shape::cells_of(resource, entry, now)?;
        Ok(shape::row(resource.kind(), &cells, &resource.json(entry), include, version))
    });
    let rows: Vec<Bytes> = counted(Layer::Transformation, || rows.collect::<Result<_, StatusError>>())?;
    Ok(joined(head, rows.into_iter(), shape::TABLE_TAIL))
}

/// A page's entries as a table has them.
fn in_order_of_rows<'a>(resource: &Resource, page: &'a [Arc<Entry>]) -> Result<Vec<&'a Arc<Entry>>, StatusError> {
    let Some(place) = resource.kind().row_place() else { return Ok(page.iter().collect()) };
    let placed = page.iter().map(|entry| Ok((place(&resource.parse(entry)?), entry)));
    let mut placed: Vec<(i64, &Arc<Entry>)> = placed.collect::<Result<_, StatusError>>()?;
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, entry)| entry).collect())
}

fn protobuf(resource: &Resource, page: &Page) -> Result<Pieces, StatusError> {
    let items: Vec<Bytes> =
        page.entries.iter().map(|entry| respond::protobuf(resource, entry)).collect::<Result<_, _>>()?;
    let messages = items.iter().map(|item| codec::protobuf::message_of(item).unwrap_or_default());
    let mut pieces = Pieces::default();
    let info = resource.info();
    pieces.push(codec::protobuf::encode_list(resource.api_version(), &info.list_kind, &page.metadata(), messages));
    Ok(pieces)
}

fn cbor(resource: &Resource, page: &Page) -> Result<Pieces, StatusError> {
    let items: Vec<Bytes> =
        page.entries.iter().map(|entry| respond::cbor(resource, entry)).collect::<Result<_, _>>()?;
    let (api_version, kind) = (resource.api_version(), &resource.info().list_kind);
    let items = items.iter().map(|item| &item[..]);
    let mut pieces = Pieces::default();
    pieces.push(codec::cbor::encode_list(api_version, kind, &page.metadata(), items));
    Ok(pieces)
}

/// Lists are put together in JSON; other forms are made from that.
fn reencode(output: Output, pieces: Pieces) -> Result<Pieces, StatusError> {
    let ready = match output.media {
        Media::Json => !output.pretty,
        Media::Protobuf | Media::Cbor => output.shape.is_none(),
        Media::Yaml => false,
    };
    if ready {
        return Ok(pieces);
    }
    let mut out = Pieces::default();
    out.push(respond::encode_json(output, pieces.into_bytes())?);
    Ok(out)
}
