//! What the binary itself says: log lines and short messages, both on standard error.

use std::io::Write;

use tracing::level_filters::LevelFilter;

/// Log lines from now on, of this level and above.
pub fn start(level: LevelFilter) {
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).init();
}

/// One line for the person at the terminal.
pub fn say(text: impl AsRef<str>) {
    // Nobody may be listening any more; there is nothing to do about it.
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// One line of the answer itself.
pub fn answer(text: impl AsRef<str>) {
    if writeln!(std::io::stdout().lock(), "{}", text.as_ref()).is_err() {
        std::process::exit(0);
    }
}
