//! Commands in containers: exec and attach, over WebSocket or SPDY.
//!
//! A session has up to five streams: standard input, output and error, terminal sizes, and one on
//! which the server tells how the command ended.

pub(super) mod client;
mod outcome;
mod resize;
mod server;

pub use client::{ClientSession, connect, connect_spdy};
pub use outcome::Outcome;
pub use resize::{Resizes, TerminalSize};
pub use server::{Accepted, Ending, Session, accept};

/// Which streams the caller asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// The request asked for no stream at all (400).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("you must specify at least 1 of stdin, stdout, stderr")]
pub struct NoStreams;

impl Options {
    /// Reads the kubelet's query parameters: `input`, `output`, `error`, `tty`, each `1` when set.
    /// A terminal has no separate error output.
    pub fn from_kubelet_query<'a>(query: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, NoStreams> {
        let mut options = Self::default();
        for (key, value) in query {
            let flag = match key {
                "input" => &mut options.stdin,
                "output" => &mut options.stdout,
                "error" => &mut options.stderr,
                "tty" => &mut options.tty,
                _ => continue,
            };
            *flag |= value == "1";
        }
        options.stderr &= !options.tty;
        if options.stdin || options.stdout || options.stderr { Ok(options) } else { Err(NoStreams) }
    }
}

/// Channel numbers (`k8s.io/apimachinery/pkg/util/remotecommand`).
mod channel {
    pub const STDIN: u8 = 0;
    pub const STDOUT: u8 = 1;
    pub const STDERR: u8 = 2;
    pub const ERROR: u8 = 3;
    pub const RESIZE: u8 = 4;
}

/// Values of SPDY's `streamtype` header (`k8s.io/api/core/v1`).
mod stream_type {
    pub const STDIN: &str = "stdin";
    pub const STDOUT: &str = "stdout";
    pub const STDERR: &str = "stderr";
    pub const ERROR: &str = "error";
    pub const RESIZE: &str = "resize";
}

/// The sub-protocols by name; a later one knows all that an earlier one knows.
mod protocol {
    pub const V1: &str = "channel.k8s.io";
    pub const V2: &str = "v2.channel.k8s.io";
    pub const V3: &str = "v3.channel.k8s.io";
    pub const V4: &str = "v4.channel.k8s.io";
    pub const V5: &str = "v5.channel.k8s.io";
    pub const V1_BASE64: &str = "base64.channel.k8s.io";
    pub const V4_BASE64: &str = "v4.base64.channel.k8s.io";

    /// Whether the end is told as a Status object; before v4 it was bare text, empty for success.
    pub fn has_status(name: &str) -> bool {
        matches!(name, V4 | V5 | V4_BASE64)
    }

    /// Whether terminal sizes have a stream.
    pub fn has_resize(name: &str) -> bool {
        matches!(name, V3 | V4 | V5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_from_the_kubelets_query() {
        let all = [("input", "1"), ("output", "1"), ("error", "1"), ("tty", "1"), ("command", "sh")];
        let options = Options::from_kubelet_query(all).expect("has streams");
        assert_eq!(options, Options { stdin: true, stdout: true, stderr: false, tty: true });
        assert_eq!(Options::from_kubelet_query([("tty", "1"), ("error", "1")]), Err(NoStreams));
        assert_eq!(Options::from_kubelet_query([("input", "true")]), Err(NoStreams));
    }
}
