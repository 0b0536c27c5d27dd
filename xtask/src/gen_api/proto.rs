//! The `generated.proto` files: which messages exist, and the number of each field.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Field number -> field name.
pub type Message = BTreeMap<u32, String>;

/// (package import path, message name) -> message.
pub type Messages = BTreeMap<(String, String), Message>;

pub fn read(packages: &[(String, PathBuf)]) -> anyhow::Result<Messages> {
    let mut messages = Messages::new();
    for (package, folder) in packages {
        if let Ok(text) = std::fs::read_to_string(folder.join("generated.proto")) {
            messages.extend(parse(&text).map(|(name, message)| ((package.clone(), name), message)));
        }
    }
    Ok(messages)
}

/// These files hold flat messages, one field a line; that is all this reads.
fn parse(text: &str) -> impl Iterator<Item = (String, Message)> {
    let mut messages = Vec::new();
    let mut open: Option<(String, Message)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("message ") {
            open = Some((rest.trim_end_matches(['{', ' ']).to_owned(), Message::new()));
        } else if line == "}" {
            messages.extend(open.take());
        } else if let Some((_, message)) = &mut open
            && let Some((name, number)) = field(line)
        {
            message.insert(number, name);
        }
    }
    messages.into_iter()
}

/// `optional string name = 3;`
fn field(line: &str) -> Option<(String, u32)> {
    let (left, right) = line.strip_suffix(';').filter(|_| !line.starts_with("//"))?.split_once('=')?;
    let number = right.trim().split(' ').next()?.parse().ok()?;
    Some((left.trim().rsplit(' ').next()?.to_owned(), number))
}
