//! Events as lines of a file or of standard output (`k8s.io/apiserver/plugin/pkg/audit/log`).

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::Counters;
use super::event::{Event, TYPE_META};
use super::file::{LogFile, Rotation};
use super::options::{LogOptions, Mode, OptionsError};

/// How an event becomes a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Legacy,
}

/// Lines written at once: waiting ones leave together.
const WRITE_BYTES: usize = 64 * 1024;

enum Out {
    Stdout,
    File(LogFile),
}

/// Where lines go.
pub struct Log {
    format: Format,
    way: Way,
    counters: Arc<Counters>,
}

enum Way {
    /// Whoever makes the event writes it.
    Now(Out),
    /// A thread does.
    Later { queue: SyncSender<Message>, writer: Mutex<Option<JoinHandle<()>>> },
}

enum Message {
    Line(Bytes),
    End,
}

impl Out {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().write_all(lines),
            Self::File(file) => file.append(lines),
        }
    }
}

impl Log {
    pub fn open(options: &LogOptions, counters: Arc<Counters>) -> Result<Self, OptionsError> {
        let count = |n: i64| n.max(0).unsigned_abs();
        let out = if options.path == Path::new("-") {
            Out::Stdout
        } else {
            let rotation = Rotation {
                path: options.path.clone(),
                max_size: count(options.max_size),
                max_backups: count(options.max_backups) as usize,
                max_age: options.max_age,
                compress: options.compress,
            };
            Out::File(LogFile::open(rotation).map_err(OptionsError::Log)?)
        };
        let way = if options.mode == Mode::Batch {
            let (queue, lines) = sync_channel(count(options.batch.buffer_size) as usize);
            let lost = counters.clone();
            let writer = std::thread::Builder::new().name("audit-log".into()).spawn(move || write(out, &lines, &lost));
            Way::Later { queue, writer: Mutex::new(Some(writer.map_err(OptionsError::Log)?)) }
        } else {
            Way::Now(out)
        };
        Ok(Self { format: options.format, way, counters })
    }

    /// Whether the event is written, or will be.
    pub fn process(&self, event: &Event<'_>, encoded: &Bytes) -> bool {
        let line = self.line(event, encoded);
        let result = match &self.way {
            Way::Now(out) => out.append(&line).map_err(|error| error.to_string()),
            Way::Later { queue, .. } => queue.try_send(Message::Line(line.into())).map_err(|error| match error {
                TrySendError::Full(_) => "audit buffer queue blocked".into(),
                TrySendError::Disconnected(_) => "audit backend shut down".into(),
            }),
        };
        if let Err(why) = &result {
            self.counters.lost("log", 1, why);
        }
        result.is_ok()
    }

    fn line(&self, event: &Event<'_>, encoded: &Bytes) -> Vec<u8> {
        match self.format {
            Format::Legacy => (event.legacy() + "\n").into_bytes(),
            Format::Json => {
                let mut line = Vec::with_capacity(TYPE_META.len() + encoded.len() + 1);
                line.extend_from_slice(TYPE_META);
                line.extend_from_slice(encoded);
                line.push(b'\n');
                line
            }
        }
    }

    /// Waits until every line is written.
    pub async fn close(&self) {
        let Way::Later { queue, writer } = &self.way else { return };
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(writer), queue) = (writer, queue.clone()) else { return };
        let end = move || {
            // The writer ends when it comes upon this; it has ended already when nobody takes it.
            let _ = queue.send(Message::End);
            writer.join()
        };
        if !matches!(tokio::task::spawn_blocking(end).await, Ok(Ok(()))) {
            tracing::error!("the writer of the audit log panicked");
        }
    }
}

/// Writes what waits, together, until the end.
fn write(out: Out, lines: &Receiver<Message>, counters: &Counters) {
    let mut buffer = Vec::with_capacity(WRITE_BYTES);
    while let Ok(Message::Line(line)) = lines.recv() {
        buffer.extend_from_slice(&line);
        let mut count = 1;
        let mut over = false;
        while buffer.len() < WRITE_BYTES && !over {
            match lines.try_recv() {
                Ok(Message::Line(line)) => {
                    buffer.extend_from_slice(&line);
                    count += 1;
                }
                Ok(Message::End) => over = true,
                Err(_) => break,
            }
        }
        if let Err(error) = out.append(&buffer) {
            counters.lost("log", count, &error);
        }
        buffer.clear();
        if over {
            break;
        }
    }
}
