//! Removes images that nothing uses, least recently used first, when they fill their file system
//! (`pkg/kubelet/images/image_gc_manager.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_base::{clock, error::chain};
use orlop_client::events::EventType;
use orlop_image::{Image, ImageError};
use tokio_util::sync::CancellationToken;

use crate::config::ImageGc;
use crate::context::Context;

/// `ImageGCPeriod`.
const LOOK_EVERY: Duration = Duration::from_secs(300);
const SECOND: i64 = 1_000_000_000;

/// What is known of the images' use.
#[derive(Debug, Default)]
pub struct Uses(Mutex<BTreeMap<String, Use>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    first_seen_nanos: i64,
    last_used_nanos: i64,
}

/// Looks until `shutdown`.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    // What is here already at the start is not young.
    match context.images.list().await {
        Ok(images) => context.image_uses.learn(&images, &BTreeSet::new(), 0),
        Err(error) => tracing::warn!(%error, "listing images"),
    }
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        if let Err(error) = collect(&context).await {
            tracing::warn!(error = %chain(&error), "removing unused images");
        }
    }
}

/// Frees space down to the low mark, if the high mark has been passed.
async fn collect(context: &Context) -> Result<(), ImageError> {
    let limits = context.config.image_gc;
    let unused = unused(context).await?;
    let Some(disk) = context.gauges.file_system(&context.config.dirs.root).filter(|disk| disk.total_bytes > 0) else {
        return Ok(());
    };
    let wanted = excess(disk.total_bytes, disk.available_bytes, limits);
    if wanted == 0 {
        return Ok(());
    }
    let freed = remove(context, unused, wanted).await;
    if freed < wanted {
        let text = format!(
            "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
        );
        context.node_event(EventType::Warning, "FreeDiskSpaceFailed", text);
    }
    Ok(())
}

/// Removes whatever nothing uses; returns the bytes freed.
pub async fn remove_all_unused(context: &Context) -> Result<u64, ImageError> {
    let unused = unused(context).await?;
    Ok(remove(context, unused, u64::MAX).await)
}

/// Bytes above the low mark, once usage is above the high one.
fn excess(total: u64, available: u64, limits: ImageGc) -> u64 {
    let used = total.saturating_sub(available);
    if used.saturating_mul(100) < total.saturating_mul(u64::from(limits.high_percent)) {
        return 0;
    }
    used.saturating_sub(total / 100 * u64::from(limits.low_percent))
}

async fn unused(context: &Context) -> Result<Vec<Image>, ImageError> {
    let images = context.images.list().await?;
    let in_use = in_use(context, &images);
    let now = clock::unix_nanos();
    context.image_uses.learn(&images, &in_use, now);
    Ok(context.image_uses.removable(images, &in_use, now, context.config.image_gc.min_age_seconds))
}

/// Ids of images that a container was made of, or that a pod here is about to need.
fn in_use(context: &Context, images: &[Image]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (_, view) in context.observed.all() {
        for instance in &view.containers {
            names.extend([instance.runtime.image.clone(), instance.runtime.image_id.clone()]);
        }
    }
    for pod in context.pods.all().iter().filter(|handle| !handle.is_done()).map(|handle| handle.pod()) {
        names.extend(pod.containers().filter_map(|(_, c)| normal(c.image.as_deref()?)));
        let volumes = pod.spec().volumes.iter().flatten();
        names.extend(volumes.filter_map(|v| normal(v.image.as_ref()?.reference.as_deref()?)));
    }
    let known = |image: &&Image| {
        let mut own = [&image.id].into_iter().chain(&image.repo_tags).chain(&image.repo_digests);
        own.any(|name| names.contains(name))
    };
    images.iter().filter(known).map(|image| image.id.clone()).collect()
}

/// `nginx` is `docker.io/library/nginx:latest`.
fn normal(name: &str) -> Option<String> {
    orlop_image::Reference::parse(name).ok().map(|reference| reference.to_string())
}

async fn remove(context: &Context, images: Vec<Image>, wanted: u64) -> u64 {
    let mut freed = 0;
    for image in images {
        if freed >= wanted {
            break;
        }
        match context.images.remove(&image.id).await {
            Ok(()) => freed += image.size_bytes,
            Err(error) => tracing::warn!(image = image.id, error = %chain(&error), "removing an image"),
        }
    }
    if freed > 0 {
        context.node_changed.notify_one();
    }
    freed
}

impl Uses {
    fn learn(&self, images: &[Image], in_use: &BTreeSet<String>, now: i64) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.retain(|id, _| images.iter().any(|image| image.id == *id));
        for image in images {
            let known = uses.entry(image.id.clone()).or_insert(Use { first_seen_nanos: now, last_used_nanos: 0 });
            if in_use.contains(&image.id) {
                known.last_used_nanos = now;
            }
        }
    }

    /// Least recently used first; those never used, by the time they came.
    fn removable(&self, images: Vec<Image>, in_use: &BTreeSet<String>, now: i64, min_age_seconds: i64) -> Vec<Image> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |image: &Image| uses.get(&image.id).copied().unwrap_or_default();
        let old_enough = |image: &Image| now - of(image).first_seen_nanos >= min_age_seconds.saturating_mul(SECOND);
        let mut removable: Vec<Image> =
            images.into_iter().filter(|image| !in_use.contains(&image.id) && old_enough(image)).collect();
        removable.sort_by_key(|image| (of(image).last_used_nanos, of(image).first_seen_nanos));
        removable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(ids: &[&str]) -> Vec<Image> {
        ids.iter().map(|id| Image { id: (*id).to_owned(), ..Image::default() }).collect()
    }

    #[test]
    fn the_least_recently_used_go_first_and_the_young_stay() {
        let uses = Uses::default();
        let all = images(&["a", "b", "c", "d"]);
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        uses.learn(&images(&["a", "b", "c"]), &set(&[]), 0);
        uses.learn(&all, &set(&["a"]), 100 * SECOND);
        uses.learn(&all, &set(&["c"]), 150 * SECOND);
        let removable = |in_use: &[&str], now| {
            let found = uses.removable(all.clone(), &set(in_use), now * SECOND, 120);
            found.into_iter().map(|image| image.id).collect::<Vec<_>>()
        };
        assert_eq!(removable(&["c"], 200), ["b", "a"]);
        assert_eq!(removable(&[], 300), ["b", "d", "a", "c"]);
    }

    #[test]
    fn frees_down_to_the_low_mark() {
        let limits = ImageGc { high_percent: 85, low_percent: 80, min_age_seconds: 0 };
        assert_eq!(excess(1000, 200, limits), 0);
        assert_eq!(excess(1000, 151, limits), 0);
        assert_eq!(excess(1000, 150, limits), 50);
        assert_eq!(excess(0, 0, limits), 0);
    }
}
