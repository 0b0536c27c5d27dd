//! A whole image: find who has it, fetch what is missing, unpack while fetching.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use http::header;

use super::blob::{self, Arrived};
use super::fetch::Session;
use super::hosts::{Endpoint, Hosts};
use super::transport::Http;
use crate::digest::Digest;
use crate::reference::Reference;
use crate::spec::{self, Descriptor, Document, MANIFEST_BYTES_MAX, Manifest, OCI_INDEX, OCI_MANIFEST};
use crate::store::{Local, Names, Source, find, io_error};
use crate::{Credentials, ImageError, Progress};

/// Layers fetched at once, as containerd's `max_concurrent_downloads`.
const LAYERS_AT_ONCE: usize = 3;
/// An index in an index in an index is somebody's mistake.
const NESTED_MAX: usize = 4;

/// Everything a pull needs.
pub struct Context {
    pub local: Arc<Local>,
    pub hosts: Hosts,
    pub http: Http,
}

/// Fetches and records the image and returns its id: endpoints in order, and at each the credentials in
/// order, then those of the node, then none.
pub async fn pull(
    context: &Context,
    reference: &Reference,
    credentials: &[Credentials],
    progress: Option<Progress>,
) -> Result<String, ImageError> {
    let local = context.local.clone();
    // Waits for a sweep that is under way, so not on an async thread.
    let making = tokio::task::spawn_blocking(move || local.making());
    let _making = making.await.map_err(|e| io_error("lock the image store", std::io::Error::other(e)))??;
    let mut failures = Vec::new();
    for endpoint in context.hosts.endpoints(&reference.domain)? {
        let remote = match endpoint {
            Endpoint::Remote(remote) => remote,
            Endpoint::Local => match find(&*context.local.index().read()?, &reference.to_string())? {
                Some((id, _)) => return Ok(id.clone()),
                None => continue,
            },
        };
        let of_node = context.hosts.auth(&remote).map(|auth| Credentials {
            username: auth.username.clone(),
            password: auth.password.clone(),
            identity_token: auth.identity_token.clone(),
        });
        let all = credentials.iter().cloned().chain(of_node).map(Some).chain([None]);
        for credentials in all {
            let session = Session::new(&context.http, &context.hosts, remote.clone(), &reference.path, credentials);
            match pull_from(context, &session, reference, progress.as_ref()).await {
                Ok(id) => return Ok(id),
                Err(error @ ImageError::Unauthorized(_)) => failures.push(error),
                Err(error) => {
                    failures.push(error);
                    break;
                }
            }
        }
    }
    Err(verdict(reference, failures))
}

/// Of all that went wrong, what tells most: the host itself, asked last, knows best what does not exist;
/// otherwise broken content and refusals say more than hosts that did not answer.
fn verdict(reference: &Reference, mut failures: Vec<ImageError>) -> ImageError {
    let rank = |error: &ImageError| match error {
        ImageError::NotFound(_) => 0,
        ImageError::Registry(_) => 1,
        ImageError::Unauthorized(_) => 2,
        _ => 3,
    };
    if matches!(failures.last(), None | Some(ImageError::NotFound(_))) {
        return ImageError::NotFound(reference.to_string());
    }
    // Stable: of equals the first asked, which is a mirror that somebody chose, comes last and is taken.
    failures.reverse();
    failures.sort_by_key(rank);
    failures.pop().unwrap_or_else(|| ImageError::NotFound(reference.to_string()))
}

async fn pull_from(
    context: &Context,
    session: &Session<'_>,
    reference: &Reference,
    progress: Option<&Progress>,
) -> Result<String, ImageError> {
    let (source, manifest, top) = resolve(context, session, reference).await?;
    if let Some(layer) = manifest.layers.iter().find(|layer| !layer.urls.is_empty()) {
        return Err(ImageError::Malformed(format!("layer {} is kept outside of the registry", layer.digest)));
    }
    let total = manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
    let arrived = counter(total, progress.cloned());
    blob::fetch(session, &context.local, &manifest.config, &arrived).await?;
    let config = context.local.config_of(&manifest)?;
    let fetches = manifest
        .layers
        .iter()
        .zip(&config.diff_ids)
        .enumerate()
        .map(|(at, (layer, diff_id))| fetch_layer(context, session, layer, diff_id, at == 0, &arrived));
    // Collected first: a stream of borrowing closures is more than the compiler follows.
    let fetches: Vec<_> = fetches.collect();
    stream::iter(fetches).buffer_unordered(LAYERS_AT_ONCE).try_collect::<Vec<()>>().await?;
    let names = Names {
        tags: reference.tagged().into_iter().filter(|_| reference.digest.is_none()).collect(),
        digests: vec![reference.with_digest(&top)],
    };
    let local = context.local.clone();
    let assembled = tokio::task::spawn_blocking(move || local.assemble(&source, &manifest, &names));
    assembled.await.map_err(|e| io_error("assemble the image", std::io::Error::other(e)))?
}

async fn fetch_layer(
    context: &Context,
    session: &Session<'_>,
    layer: &Descriptor,
    diff_id: &Digest,
    bottom: bool,
    arrived: &Arrived,
) -> Result<(), ImageError> {
    blob::fetch(session, &context.local, layer, arrived).await?;
    let (local, layer, diff_id) = (context.local.clone(), layer.digest.clone(), diff_id.clone());
    // A layer that needs those below is unpacked when they are here.
    let unpacked = tokio::task::spawn_blocking(move || local.unpack_ahead(&layer, &diff_id, bottom));
    unpacked.await.map_err(|e| io_error("unpack a layer", std::io::Error::other(e)))?.map(drop)
}

/// Adds up what arrives and tells.
fn counter(total: u64, progress: Option<Progress>) -> Arrived {
    let done = AtomicI64::new(0);
    Arc::new(move |bytes| {
        let now = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(progress) = &progress {
            progress(now.max(0).cast_unsigned(), total);
        }
    })
}

/// From a tag or digest to this machine's manifest. The digest returned names what was asked for: that of
/// the index, if there is one.
async fn resolve(
    context: &Context,
    session: &Session<'_>,
    reference: &Reference,
) -> Result<(Source, Manifest, Digest), ImageError> {
    let mut documents = Vec::new();
    let mut wanted = reference.identifier().to_owned();
    for _ in 0..NESTED_MAX {
        let bytes = document(context, session, &wanted).await?;
        let digest = match Digest::parse(&wanted) {
            Some(expected) => {
                let mut hasher = expected.hasher();
                hasher.update(&bytes);
                expected.verify(&hasher.finish())?;
                expected
            }
            None => Digest::of(&bytes),
        };
        let parsed = Document::parse(&bytes)?;
        context.local.put_document(&digest, &bytes)?;
        documents.push(digest.clone());
        match parsed {
            Document::Index(index) => wanted = spec::select(&index)?.digest.to_string(),
            Document::Manifest(manifest) => {
                let top = documents[0].clone();
                return Ok((Source { manifest: digest, documents }, manifest, top));
            }
        }
    }
    Err(ImageError::Malformed(format!("{reference}: indexes are nested too deeply")))
}

/// A manifest or index, from here if it is named by its digest and known.
async fn document(context: &Context, session: &Session<'_>, wanted: &str) -> Result<Vec<u8>, ImageError> {
    if let Some(digest) = Digest::parse(wanted).filter(|digest| context.local.has_blob(digest)) {
        return context.local.read_blob(&digest, MANIFEST_BYTES_MAX);
    }
    let accept = [OCI_INDEX, OCI_MANIFEST, spec::DOCKER_LIST, spec::DOCKER_MANIFEST].join(", ");
    let answer = session.get(&format!("manifests/{wanted}"), &[(header::ACCEPT, accept)]).await?;
    let read = session.http.read(answer, MANIFEST_BYTES_MAX as usize).await;
    read.map_err(|broken| ImageError::Registry(format!("manifest {wanted}: {}", broken.0)))
}
