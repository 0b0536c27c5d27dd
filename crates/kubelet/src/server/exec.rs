//! `/exec`, `/attach`, `/run`: commands in containers, with or without somebody on the line.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use orlop_client::streams::remote_command::{Options, Outcome, Resizes, Session, accept};
use orlop_client::streams::{Reader, Writer};
use orlop_client::transport::Body;
use orlop_runtime::{ExecConfig, RuntimeError, Streams};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncWriteExt;

use super::find_pod;
use super::reply::plain;
use super::routes::Target;
use crate::context::Context;
use crate::fd_io::{self, FdReader};
use crate::probes::command;

/// Output of `/run` that is kept.
const MAX_RUN_BYTES: u64 = 16 << 20;

/// Runs a command on the caller's streams.
pub async fn exec(
    context: &Arc<Context>,
    target: &Target,
    query: &[(String, String)],
    mut request: Request<Incoming>,
) -> Response<Body> {
    let (id, options) = match prepare(context, target, query) {
        Ok(prepared) => prepared,
        Err(refusal) => return refusal,
    };
    let command = query.iter().filter(|(key, _)| key == "command").map(|(_, value)| value.clone());
    let config = ExecConfig {
        args: command.collect(),
        tty: options.tty,
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
    };
    let accepted = match accept(&mut request, options) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    let context = context.clone();
    orlop_base::task::spawn(async move {
        let Ok(session) = accepted.session.await else { return };
        match context.runtime.exec(&id, &config).await {
            Ok(exec) => converse(session, exec.streams, exec.exit).await,
            Err(error) => session.ending.finish(Outcome::Failed(error.to_string())).await,
        }
    });
    accepted.response
}

/// Joins the caller to a running container's own streams.
pub async fn attach(
    context: &Arc<Context>,
    target: &Target,
    query: &[(String, String)],
    mut request: Request<Incoming>,
) -> Response<Body> {
    let (id, mut options) = match prepare(context, target, query) {
        Ok(prepared) => prepared,
        Err(refusal) => return refusal,
    };
    // The container's own choice holds, not the caller's.
    let pod = find_pod(context, target).map(|handle| handle.pod());
    let tty = pod.as_ref().and_then(|pod| pod.container(&target.container)).is_some_and(|(_, c)| c.tty == Some(true));
    options.tty = tty;
    options.stderr &= !tty;
    let accepted = match accept(&mut request, options) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    let context = context.clone();
    orlop_base::task::spawn(async move {
        let Ok(session) = accepted.session.await else { return };
        match context.runtime.attach(&id).await {
            Ok(streams) => {
                // The end of an attach is the end of the output; there is no exit code to tell.
                converse(session, streams, Box::pin(async { Ok(0) })).await;
            }
            Err(error) => session.ending.finish(Outcome::Failed(error.to_string())).await,
        }
    });
    accepted.response
}

/// Runs a command to its end and returns its output.
pub async fn run(context: &Arc<Context>, target: &Target, query: &[(String, String)]) -> Response<Body> {
    let id = match running(context, target) {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    let text = query.iter().find(|(key, _)| key == "cmd").map(|(_, value)| value.as_str()).unwrap_or_default();
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    match command::run(&*context.runtime, &id, &words, None, MAX_RUN_BYTES).await {
        Ok(ended) => plain(StatusCode::OK, String::from_utf8_lossy(&ended.output).into_owned()),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn prepare(
    context: &Context,
    target: &Target,
    query: &[(String, String)],
) -> Result<(String, Options), Response<Body>> {
    let pairs = query.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let options = Options::from_kubelet_query(pairs).map_err(|e| plain(StatusCode::BAD_REQUEST, e.to_string()))?;
    Ok((running(context, target)?, options))
}

/// The id of the running instance a path names.
fn running(context: &Context, target: &Target) -> Result<String, Response<Body>> {
    let handle = find_pod(context, target).ok_or_else(|| plain(StatusCode::NOT_FOUND, "pod does not exist"))?;
    let view = context.observed.view(handle.pod().uid());
    let instance = view.latest(&target.container).filter(|i| i.is_running());
    instance
        .map(|i| i.id().to_owned())
        .ok_or_else(|| plain(StatusCode::NOT_FOUND, format!("container not found (\"{}\")", target.container)))
}

/// Carries bytes both ways until the command has ended and all its output is told, or the caller
/// is gone; dropping `exit` then kills the command.
async fn converse(session: Session, streams: Streams, exit: BoxFuture<'static, Result<i32, RuntimeError>>) {
    let Session { stdin, stdout, stderr, resize, ending } = session;
    let input = orlop_base::task::spawn(feed(stdin, streams.stdin, resize, streams.tty));
    let whole = async {
        let ((), (), exit) = tokio::join!(drain(streams.stdout, stdout), drain(streams.stderr, stderr), exit);
        exit
    };
    let ended = tokio::select! {
        biased;
        exit = whole => Some(exit),
        () = ending.disconnected() => None,
    };
    input.abort();
    match ended {
        Some(Ok(0)) => ending.finish(Outcome::Success).await,
        Some(Ok(code)) => ending.finish(Outcome::Exit(code)).await,
        Some(Err(error)) => ending.finish(Outcome::Failed(error.to_string())).await,
        None => {}
    }
}

async fn drain(from: Option<OwnedFd>, to: Option<Writer>) {
    let Some(from) = from else { return };
    let Ok(mut from) = FdReader::new(from) else { return };
    let Some(mut to) = to else {
        // Who is attached and closes one stream counts as gone from all, so what nobody asked for is read as well.
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
        return;
    };
    // A caller that is gone ends the copy; the command's end is judged elsewhere.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// Input, and the terminal's size as the caller changes it.
async fn feed(from: Option<Reader>, to: Option<OwnedFd>, resize: Option<Resizes>, tty: Option<OwnedFd>) {
    let input = async {
        let (Some(mut from), Some(to)) = (from, to) else { return };
        let Ok(mut to) = fd_io::writer(to) else { return };
        let _ = tokio::io::copy(&mut from, &mut to).await;
        // Dropping the descriptor tells the command that its input is over.
    };
    let sizes = async {
        let (Some(mut resize), Some(tty)) = (resize, tty) else { return };
        while let Some(size) = resize.next().await {
            let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(&tty, size);
        }
    };
    tokio::join!(input, sizes);
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_nobody_asked_for_stays_open() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut drained = pin!(drain(Some(read), None));
        assert!(drained.as_mut().now_or_never().is_none(), "closed");
        rustix::io::write(&write, b"nobody reads this").unwrap();
        drop(write);
        drained.await;
    }
}
