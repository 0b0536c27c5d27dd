//! `exec`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use orlop_client::streams::remote_command::{self, ClientSession, Options, Outcome, TerminalSize};
use rustix::termios::{self, OptionalActions, Termios};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use crate::print::Printer;
use crate::resources::one;
use crate::session::{Session, query};

#[derive(Args, Debug)]
pub struct Arguments {
    /// POD or pod/NAME
    pod: String,
    /// Container; the pod's default one when not given
    #[arg(short, long)]
    container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Standard input is a terminal
    #[arg(short, long)]
    tty: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    let pods = session.catalogue().await?.find("pods")?.resource.clone();
    let name = if arguments.pod.contains('/') {
        let target = one(session.catalogue().await?, &arguments.pod)?;
        if target.resource != pods {
            bail!("exec needs a pod, not a {}", target.resource.kind);
        }
        target.name.unwrap_or_default()
    } else {
        arguments.pod.clone()
    };
    let terminal = arguments.tty && termios::isatty(std::io::stdin());
    if arguments.tty && !terminal {
        Printer.note("Unable to use a TTY - input is not a terminal or the right kind of file");
    }
    let options = Options { stdin: arguments.stdin, stdout: true, stderr: !terminal, tty: terminal };
    let mut pairs: Vec<(&str, &str)> = arguments.command.iter().map(|word| ("command", word.as_str())).collect();
    pairs.push(("container", arguments.container.as_deref().unwrap_or_default()));
    for (key, on) in [("stdin", options.stdin), ("stdout", true), ("stderr", options.stderr), ("tty", options.tty)] {
        pairs.push((key, if on { "true" } else { "" }));
    }
    let path = format!("{}?{}", pods.path(&session.namespace, &name, "exec"), query(&pairs));
    let remote =
        remote_command::connect(&*session.transport, &path, options).await.context("unable to upgrade connection")?;
    let raw = if terminal { Some(RawTerminal::enter()?) } else { None };
    let outcome = carry(remote).await;
    drop(raw);
    match outcome? {
        Outcome::Success => Ok(ExitCode::SUCCESS),
        Outcome::Exit(code) => {
            Printer.note(format!("command terminated with exit code {code}"));
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
        }
        Outcome::Failed(why) => bail!("{why}"),
    }
}

/// Moves bytes between this process and the command until it has ended.
async fn carry(mut remote: ClientSession) -> Result<Outcome> {
    let (stdin, stdout, stderr) = (remote.stdin.take(), remote.stdout.take(), remote.stderr.take());
    let input = tokio::spawn(async move {
        let Some(mut remote) = stdin else { return };
        let (mut local, mut buffer) = (tokio::io::stdin(), vec![0; 32 * 1024]);
        while let Ok(length @ 1..) = local.read(&mut buffer).await {
            if remote.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
        let _ = remote.shutdown().await;
    });
    let out = async {
        let Some(mut reader) = stdout else { return };
        while let Ok(Some(bytes)) = reader.chunk().await {
            Printer.bytes(&bytes);
        }
    };
    let err = async {
        let Some(mut reader) = stderr else { return };
        while let Ok(Some(bytes)) = reader.chunk().await {
            Printer.error_bytes(&bytes);
        }
    };
    let mut resized = signal(SignalKind::window_change())?;
    let outcome = std::mem::replace(&mut remote.outcome, Box::pin(std::future::pending()));
    let sizes = async {
        loop {
            if let Ok(size) = termios::tcgetwinsize(std::io::stdout()) {
                let size = TerminalSize { width: size.ws_col, height: size.ws_row };
                if remote.resize(size).await.is_err() {
                    break;
                }
            }
            if resized.recv().await.is_none() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let ended = async {
        let ((), (), outcome) = tokio::join!(out, err, outcome);
        outcome
    };
    let outcome = tokio::select! { outcome = ended => outcome, () = sizes => unreachable!("never ends") };
    // A read of standard input cannot be interrupted; the process ends without it.
    input.abort();
    Ok(outcome)
}

/// The terminal passes every key through until this is dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Result<Self> {
        let before = termios::tcgetattr(std::io::stdin()).context("reading the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).context("setting the terminal")?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
