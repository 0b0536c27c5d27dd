//! exec: run a command in the container. Also what hooks and `/run` use.

use std::time::Duration;

use orlop_runtime::{ContainerRuntime, ExecConfig, RuntimeError};
use tokio::io::AsyncReadExt;

use super::Answer;
use crate::fd_io::FdReader;

/// Output kept of a probe's command (`maxReadLength`).
const MAX_PROBE_BYTES: u64 = 10 << 10;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub exit_code: i32,
    /// Standard output and error, interleaved as they came.
    pub output: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("command timed out: \"{command}\" timed out after {seconds}s")]
    TimedOut { command: String, seconds: u64 },
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("reading the command's output: {0}")]
    Output(#[from] std::io::Error),
}

/// Asks by a command: exit code 0 is yes.
pub async fn probe(runtime: &dyn ContainerRuntime, id: &str, command: &[String], timeout: Duration) -> Answer {
    match run(runtime, id, command, Some(timeout), MAX_PROBE_BYTES).await {
        Ok(Ended { exit_code: 0, .. }) => Answer::Success,
        Ok(Ended { output, .. }) => Answer::Failure(String::from_utf8_lossy(&output).into_owned()),
        Err(error @ CommandError::TimedOut { .. }) => Answer::Failure(error.to_string()),
        Err(error) => Answer::Error(error.to_string()),
    }
}

/// Runs a command and keeps up to `max_bytes` of its output; on a timeout it is killed.
pub async fn run(
    runtime: &dyn ContainerRuntime,
    id: &str,
    command: &[String],
    timeout: Option<Duration>,
    max_bytes: u64,
) -> Result<Ended, CommandError> {
    let whole = to_end(runtime, id, command, max_bytes);
    let Some(timeout) = timeout else { return whole.await };
    match tokio::time::timeout(timeout, whole).await {
        Ok(result) => result,
        Err(_) => Err(CommandError::TimedOut { command: command.join(" "), seconds: timeout.as_secs() }),
    }
}

async fn to_end(
    runtime: &dyn ContainerRuntime,
    id: &str,
    command: &[String],
    max_bytes: u64,
) -> Result<Ended, CommandError> {
    let config = ExecConfig { args: command.to_vec(), stdout: true, stderr: true, ..ExecConfig::default() };
    let exec = runtime.exec(id, &config).await?;
    let mut streams = exec.streams;
    let stdout = streams.stdout.take().map(FdReader::new).transpose()?;
    let stderr = streams.stderr.take().map(FdReader::new).transpose()?;
    let output = std::sync::Mutex::new(Vec::new());
    let (out, err, exit) = tokio::join!(keep(stdout, &output, max_bytes), keep(stderr, &output, max_bytes), exec.exit);
    out?;
    err?;
    let output = output.into_inner().unwrap_or_default();
    Ok(Ended { exit_code: exit?, output })
}

/// Reads to the end; what exceeds the limit is read and dropped, so that the command never blocks.
async fn keep(stream: Option<FdReader>, output: &std::sync::Mutex<Vec<u8>>, max_bytes: u64) -> std::io::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut buffer = vec![0; 8 << 10];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut output = output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let room = usize::try_from(max_bytes).unwrap_or(usize::MAX).saturating_sub(output.len());
        output.extend_from_slice(&buffer[..count.min(room)]);
    }
}
