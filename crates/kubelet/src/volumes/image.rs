//! image: the file system of an image, read-only (KEP-4639).

use super::{One, Setup};
use crate::corev1::ImageVolumeSource;
use crate::images::puller::{Policy, Wanted};

/// As its directory is named on disk.
pub const KIND: &str = "image";

pub async fn set_up(setup: &Setup<'_>, name: &str, source: &ImageVolumeSource) -> Result<One, String> {
    let context = setup.context;
    let reference = source.reference.as_deref().unwrap_or_default();
    let dir = setup.dir(KIND, name);
    if context.mounter.is_mounted(&dir).map_err(|e| e.to_string())? {
        return Ok(read_only(dir));
    }
    let wanted = Wanted {
        pod: setup.pod,
        container: None,
        reference,
        policy: Policy::parse(source.pull_policy.as_deref(), reference),
    };
    let pull = async { context.puller.ensure(context, &wanted, setup.now).await.map_err(|failure| failure.message) };
    let image = setup.waited(pull).await?;
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    context.mounter.layers(&image.layers, &dir).map_err(|e| format!("mounting image {reference}: {e}"))?;
    Ok(read_only(dir))
}

fn read_only(dir: std::path::PathBuf) -> One {
    One::content(dir, None)
}
