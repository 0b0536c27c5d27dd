//! What a container leaves behind: its termination message, or the end of its log.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use orlop_runtime::Container;

use super::format::Line;
use crate::names;

/// Bytes of a termination message (`MaxContainerTerminationMessageLength`).
const MAX_BYTES: u64 = 4096;
/// Bytes and lines taken from a log instead (`MaxContainerTerminationMessageLog*`).
const MAX_LOG_BYTES: usize = 2048;
const MAX_LOG_LINES: usize = 80;
/// Enough of a log's end to hold that much text under its line headers.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// The message of an exited container; empty without one.
pub async fn read(container: &Container) -> String {
    let annotation = |name: &str| container.annotations.get(name).cloned().unwrap_or_default();
    let file = annotation(names::TERMINATION_FILE);
    let falls_back = annotation(names::TERMINATION_POLICY) == "FallbackToLogsOnError"
        && container.exit_code != 0
        && container.reason != "ContainerCannotRun";
    let log = container.log_path.clone();
    let read = tokio::task::spawn_blocking(move || {
        let own = if file.is_empty() { Ok(String::new()) } else { tail(Path::new(&file), MAX_BYTES) };
        match own {
            Ok(text) if text.is_empty() && falls_back => from_log(&log),
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && falls_back => from_log(&log),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => format!("Error on reading termination log {file}: {error}"),
        }
    });
    read.await.unwrap_or_default()
}

/// The last `max` bytes of a file.
fn tail(path: &Path, max: u64) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(max)))?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn from_log(path: &Path) -> String {
    let text = match tail(path, LOG_TAIL_BYTES) {
        Ok(text) => text,
        Err(error) => return format!("Error on reading termination message from logs: {error}"),
    };
    let lines: Vec<Line<'_>> = text.lines().filter_map(|line| Line::parse(line.as_bytes())).collect();
    let mut message = Vec::new();
    for line in &lines[lines.len().saturating_sub(MAX_LOG_LINES)..] {
        message.extend_from_slice(line.text);
        if !line.partial {
            message.push(b'\n');
        }
    }
    let start = message.len().saturating_sub(MAX_LOG_BYTES);
    String::from_utf8_lossy(&message[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{instance, pod, temp_dir};

    #[tokio::test]
    async fn own_words_first_then_the_log() {
        let dir = temp_dir();
        let pod = pod(json!({"containers": [{"name": "a"}]}));
        let mut container = instance(&pod, "a", 0).runtime;
        container.exit_code = 1;
        container.log_path = dir.path().join("0.log");
        std::fs::write(&container.log_path, "2026-01-01T00:00:00Z stdout P one \n2026-01-01T00:00:00Z stdout F two\n")
            .unwrap();
        assert_eq!(read(&container).await, "");
        container.annotations.insert(names::TERMINATION_POLICY.into(), "FallbackToLogsOnError".into());
        assert_eq!(read(&container).await, "one two\n");
        let file = dir.path().join("message");
        container.annotations.insert(names::TERMINATION_FILE.into(), file.display().to_string());
        assert_eq!(read(&container).await, "one two\n");
        std::fs::write(&file, "x".repeat(5000)).unwrap();
        assert_eq!(read(&container).await.len(), 4096);
    }
}
