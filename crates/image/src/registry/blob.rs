//! One blob onto disk, however often the connection breaks.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use orlop_base::backoff::Backoff;

use super::fetch::Session;
use super::transport::Broken;
use crate::ImageError;
use crate::spec::Descriptor;
use crate::store::{BlobWriter, Local, io_error};

/// Broken connections in a row that brought nothing.
const FRUITLESS_MAX: u32 = 5;
const BACKOFF: Backoff = Backoff { initial: FIRST_WAIT, max: Duration::from_secs(10) };
/// Tests speak to servers of their own.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 250 });
/// Bytes collected before a thread that may wait for the disk takes them.
const WRITE_BYTES: usize = 1 << 20;

/// Told of bytes that arrived.
pub type Arrived = Arc<dyn Fn(i64) + Send + Sync>;

/// Fetches a blob into the store unless it is there.
pub async fn fetch(
    session: &Session<'_>,
    local: &Arc<Local>,
    blob: &Descriptor,
    arrived: &Arrived,
) -> Result<(), ImageError> {
    if local.has_blob(&blob.digest) {
        arrived(blob.size.cast_signed());
        return Ok(());
    }
    let mut writer = local.blob_writer(Some(&blob.digest))?;
    let mut fruitless = 0;
    loop {
        let before = writer.len();
        let (back, result) = continue_at(session, blob, writer, arrived).await;
        writer = back.ok_or_else(|| io_error("write content", std::io::Error::other("the writer failed")))?;
        let why = match result? {
            Ok(()) => break,
            Err(Broken(_)) if writer.len() == blob.size => break,
            Err(Broken(why)) => why,
        };
        fruitless = if writer.len() > before { 0 } else { fruitless + 1 };
        if fruitless >= FRUITLESS_MAX {
            return Err(ImageError::Registry(format!("{}: {why}", session.url(&blob_path(session, blob)))));
        }
        tokio::time::sleep(BACKOFF.delay(fruitless + 1)).await;
    }
    let (local, expected) = (local.clone(), blob.digest.clone());
    let committed = tokio::task::spawn_blocking(move || local.commit_blob(writer, Some(&expected)));
    committed.await.map_err(|e| io_error("store content", std::io::Error::other(e)))??;
    Ok(())
}

/// Asks for what is missing and writes what comes; the writer always comes back.
async fn continue_at(
    session: &Session<'_>,
    blob: &Descriptor,
    mut writer: BlobWriter,
    arrived: &Arrived,
) -> (Option<BlobWriter>, Result<Result<(), Broken>, ImageError>) {
    let mut headers = Vec::new();
    if writer.len() > 0 {
        headers.push((header::RANGE, format!("bytes={}-", writer.len())));
    }
    let mut answer = match session.get(&format!("blobs/{}", blob.digest), &headers).await {
        Ok(answer) => answer,
        Err(error) => return (Some(writer), Err(error)),
    };
    if writer.len() > 0 && answer.status != StatusCode::PARTIAL_CONTENT {
        // This server does not know ranges.
        arrived(-writer.len().cast_signed());
        if let Err(error) = writer.restart(&blob.digest) {
            return (Some(writer), Err(io_error("write content", error)));
        }
    }
    let mut pending = BytesMut::new();
    let mut promised = writer.len();
    let end = loop {
        let chunk = match answer.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break None,
            Err(broken) => break Some(broken),
        };
        promised += chunk.len() as u64;
        if promised > blob.size {
            let why = format!("content {} is larger than its {} bytes", blob.digest, blob.size);
            return (Some(writer), Err(ImageError::Malformed(why)));
        }
        arrived(chunk.len() as i64);
        pending.extend_from_slice(&chunk);
        if pending.len() >= WRITE_BYTES {
            writer = match write(writer, pending.split().freeze()).await {
                Ok(writer) => writer,
                Err(error) => return (None, Err(error)),
            };
        }
    };
    writer = match write(writer, pending.freeze()).await {
        Ok(writer) => writer,
        Err(error) => return (None, Err(error)),
    };
    let result = match end {
        Some(broken) => Err(broken),
        None if writer.len() < blob.size => Err(Broken("the connection ended early".into())),
        None => {
            session.http.keep(answer);
            Ok(())
        }
    };
    (Some(writer), Ok(result))
}

async fn write(mut writer: BlobWriter, bytes: Bytes) -> Result<BlobWriter, ImageError> {
    use std::io::Write;
    let written = tokio::task::spawn_blocking(move || writer.write_all(&bytes).map(|()| writer));
    let written = written.await.map_err(std::io::Error::other).and_then(|result| result);
    written.map_err(|e| io_error("write content", e))
}

fn blob_path(session: &Session<'_>, blob: &Descriptor) -> String {
    format!("{}/v2/{}/blobs/{}", session.remote.prefix, session.repository, blob.digest)
}
