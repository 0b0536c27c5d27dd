//! Keeps logs small: a log that has grown past its limit is set aside, the oldest of those removed
//! (`pkg/kubelet/logs/container_log_manager.go`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orlop_base::clock;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Between two looks at the sizes (`containerLogMonitorInterval`). The sizes of files that grow
/// through another process cannot be waited for.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks until `shutdown`; a node without running containers does not look.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        for (id, path) in context.observed.running_logs() {
            if let Err(error) = rotate(&context, &id, &path).await {
                tracing::warn!(container = id, %error, "rotating a log");
            }
        }
    }
}

async fn rotate(context: &Context, id: &str, path: &Path) -> io::Result<()> {
    let limits = context.config.logs;
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > limits.max_bytes => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    // One file is written, one is set aside now.
    remove_oldest(path, limits.max_files.saturating_sub(2))?;
    let aside = aside(path);
    fs::rename(path, &aside)?;
    if let Err(error) = context.runtime.reopen_log(id).await {
        fs::rename(&aside, path)?;
        return Err(io::Error::other(error.to_string()));
    }
    Ok(())
}

/// `0.log.20260102-150405`
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", clock::now().strftime("%Y%m%d-%H%M%S")));
    PathBuf::from(name)
}

fn remove_oldest(path: &Path, keep: usize) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else { return Ok(()) };
    let prefix = format!("{name}.");
    let entries = fs::read_dir(dir)?.flatten().map(|entry| entry.path());
    let is_old = |path: &PathBuf| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(&prefix));
    let mut old: Vec<PathBuf> = entries.filter(is_old).collect();
    old.sort();
    let surplus = old.len().saturating_sub(keep);
    old.into_iter().take(surplus).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    #[test]
    fn only_the_newest_are_kept() {
        let dir = temp_dir();
        let path = dir.path().join("0.log");
        for suffix in ["", ".20260101-000001", ".20260101-000002", ".20260101-000003"] {
            fs::write(dir.path().join(format!("0.log{suffix}")), "x").unwrap();
        }
        fs::write(dir.path().join("1.log.20250101-000000"), "x").unwrap();
        remove_oldest(&path, 1).unwrap();
        let mut left: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["0.log", "0.log.20260101-000003", "1.log.20250101-000000"]);
    }
}
