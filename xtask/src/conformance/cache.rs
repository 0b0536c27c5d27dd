//! Where assembled images are kept, apart for every version of their recipes: checkouts of one machine that make them
//! differently leave each other's alone.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use orlop_image::Digest;

use super::root::absent_is_fine;

/// What the directories' names begin with.
const PREFIX: &str = "images";
/// So many versions of the recipes keep their images.
const KEPT: usize = 3;

/// The directory of what these recipes make. Those in use longest ago go.
pub fn directory(cache: &Path, recipes: &str) -> Result<PathBuf> {
    let dir = cache.join(format!("{PREFIX}-{}", &Digest::of(recipes.as_bytes()).hex()[..12]));
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    File::open(&dir)?.set_modified(SystemTime::now()).with_context(|| format!("using {}", dir.display()))?;
    for old in by_last_use(cache)?.iter().skip(KEPT) {
        absent_is_fine(std::fs::remove_dir_all(old)).with_context(|| format!("removing {}", old.display()))?;
    }
    Ok(dir)
}

/// The newest first.
fn by_last_use(cache: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn recipes_share_nothing_and_the_last_used_stay() {
        let cache = tempfile::tempdir().unwrap();
        let other = cache.path().join("bin");
        std::fs::create_dir(&other).unwrap();
        let made = ["a", "b", "c"].map(|recipes| directory(cache.path(), recipes).unwrap());
        for (age, dir) in [1, 3, 2].into_iter().zip(&made) {
            std::fs::write(dir.join("pause.tar"), "").unwrap();
            let used = SystemTime::now() - Duration::from_hours(age);
            File::open(dir).unwrap().set_modified(used).unwrap();
        }
        assert_eq!(directory(cache.path(), "b").unwrap(), made[1]);
        let new = directory(cache.path(), "d").unwrap();
        let [a, b, c] = made.map(|dir| dir.join("pause.tar").exists());
        assert!(a && b && !c && new.exists() && other.exists());
    }
}
