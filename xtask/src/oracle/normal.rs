//! Takes out of an answer what two right servers may do differently: uids, times, revisions, what they allocate.

use serde_json::{Map, Value};

use super::exchange::{Answer, Ask, Side};

/// What a random suffix of `generateName` is made of, and how long it is.
const SUFFIX: &str = "?????";
const UUID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
/// The volume that the ServiceAccount plugin adds.
const TOKEN_VOLUME: &str = "kube-api-access-?????";
/// What errors say before a revision.
const BEFORE_REVISIONS: [&str; 3] =
    ["does not match the ResourceVersion in record (", "ResourceVersion in object meta: ", ", current: "];
const TIME: &str = "dddd-dd-ddTdd:dd:dd";
/// Where upstream and Orlop draw node ports from.
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30000..=32767;

pub fn normalize(mut answer: Answer, ask: &Ask, side: &Side) -> Answer {
    let sent = String::from_utf8_lossy(&ask.body).into_owned() + &ask.path;
    let generated = serde_json::from_slice::<Value>(&ask.body).ok();
    let generated = generated.and_then(|o| o["metadata"]["generateName"].as_str().map(str::to_owned));
    let normal = Normal { sent, generated, port: format!(":{}", side.port) };
    if answer.body["kind"] == "Table" {
        ages(&mut answer.body);
    }
    if answer.body["reason"] == "Conflict" {
        sort_conflicts(&mut answer.body);
    }
    for rules in ["/status/resourceRules", "/status/nonResourceRules"] {
        // What a subject may do stands in no order.
        if let Some(Value::Array(rules)) = answer.body.pointer_mut(rules) {
            rules.sort_by_key(ToString::to_string);
        }
    }
    normal.value(&mut answer.body, "");
    for (_, value) in &mut answer.headers {
        *value = normal.text(value);
    }
    answer
}

struct Normal {
    /// What the request says is compared, whatever it looks like.
    sent: String,
    generated: Option<String>,
    /// As `:6443`.
    port: String,
}

impl Normal {
    fn value(&self, value: &mut Value, key: &str) {
        match value {
            Value::Object(fields) => self.fields(fields),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, key)),
            Value::String(text) if !text.is_empty() => match key {
                "resourceVersion" | "continue" | "resourceVersionMatch" => *text = format!("<{key}>"),
                "token" if text.starts_with("ey") => *text = "<token>".into(),
                _ => *text = self.text(text),
            },
            Value::Number(number) if self.port[1..] == number.to_string() => *value = "<port>".into(),
            Value::Number(number) => {
                let allocated = matches!(key, "nodePort" | "healthCheckNodePort")
                    && number.as_u64().is_some_and(|n| NODE_PORTS.contains(&n))
                    && !self.sent.contains(&number.to_string());
                if allocated {
                    *value = "<node port>".into();
                }
            }
            _ => {}
        }
    }

    fn fields(&self, fields: &mut Map<String, Value>) {
        without_generated_name(fields);
        for (key, value) in fields {
            if key == "managedFields"
                && let Value::Array(entries) = value
            {
                // They stand in order of their times, of which two may be one second or two.
                let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
                entries.sort_by_key(|entry| ["operation", "manager", "subresource"].map(|field| text(entry, field)));
            }
            self.value(value, key);
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (shape, with) in [(UUID, "<uid>"), (TIME, "<time>"), (TOKEN_VOLUME, "<token volume>")] {
            // Most texts have no room for it.
            if text.len() >= shape.len() && text.contains('-') {
                text = self.mask(&text, shape, with);
            }
        }
        if let Some(prefix) = self.generated.as_ref().filter(|prefix| text.contains(*prefix)) {
            text = self.mask(&text, &format!("{prefix}{SUFFIX}"), &format!("{prefix}<random>"));
        }
        for before in BEFORE_REVISIONS {
            if let Some((head, tail)) =
                text.split_once(before).filter(|(_, tail)| tail.starts_with(|c: char| c.is_ascii_digit()))
            {
                let tail = tail.trim_start_matches(|c: char| c.is_ascii_digit());
                text = format!("{head}{before}<resourceVersion>{tail}");
            }
        }
        if text == self.port[1..] {
            return "<port>".into();
        }
        if is_service_address(&text) && !self.sent.contains(&text) {
            text = "<cluster IP>".into();
        }
        if text.contains(&self.port) { text.replace(&self.port, ":<port>") } else { text }
    }

    /// Replaces what has the shape, unless the request says the same.
    fn mask(&self, text: &str, shape: &str, with: &str) -> String {
        let (mut masked, mut rest) = (String::new(), text);
        while let Some(first) = rest.chars().next() {
            match rest.get(..shape.len()).filter(|found| fits(found, shape) && !self.sent.contains(found)) {
                Some(_) => {
                    masked.push_str(with);
                    rest = &rest[shape.len()..];
                }
                None => {
                    masked.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        masked
    }
}

/// Of metadata.
fn without_generated_name(fields: &mut Map<String, Value>) {
    let prefix = fields.get("generateName").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(Value::String(name)) = fields.get_mut("name")
        && !prefix.is_empty()
        && name.strip_prefix(&prefix).is_some_and(|random| random.len() == SUFFIX.len())
    {
        *name = format!("{prefix}<random>");
    }
}

/// Conflicts stand in the order of a Go map.
fn sort_conflicts(status: &mut Value) {
    if let Some(Value::Array(causes)) = status.pointer_mut("/details/causes") {
        causes.sort_by_key(ToString::to_string);
    }
}

/// `x` is a hexadecimal digit, `d` a digit, `?` a letter or digit; in a prefix they also stand for themselves.
fn fits(text: &str, shape: &str) -> bool {
    text.bytes().zip(shape.bytes()).all(|(c, shape)| match shape {
        b'x' => c.is_ascii_hexdigit() || c == shape,
        b'd' => c.is_ascii_digit() || c == shape,
        b'?' => c.is_ascii_lowercase() || c.is_ascii_digit(),
        other => c == other,
    })
}

/// In 10.96.0.0/12, but for the first: that is the API server's by right.
fn is_service_address(text: &str) -> bool {
    let Ok(address) = text.parse::<std::net::Ipv4Addr>() else { return false };
    let [a, b, c, d] = address.octets();
    a == 10 && (96..112).contains(&b) && (b, c, d) != (96, 0, 1)
}

/// Cells that tell how long ago something was, or a name that was drawn.
fn ages(table: &mut Value) {
    let columns = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
    let is_age = |at: usize| {
        matches!(
            columns.get(at).and_then(|c| c["name"].as_str()),
            Some("Age" | "Last Seen" | "First Seen" | "LastSeen")
        )
    };
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        let metadata = &row["object"]["metadata"];
        let generated = metadata["generateName"].as_str().is_some_and(|prefix| !prefix.is_empty());
        let name = metadata["name"].as_str().filter(|_| generated).unwrap_or_default().to_owned();
        for (at, cell) in row["cells"].as_array_mut().into_iter().flatten().enumerate() {
            let text = cell.as_str().unwrap_or_default();
            // What stands in no column is an age, too.
            let is_age = is_age(at) || at >= columns.len();
            if is_age && text.starts_with(|c: char| c.is_ascii_digit()) {
                *cell = "<age>".into();
            } else if !name.is_empty() && text == name {
                *cell = "<generated>".into();
            }
        }
    }
}
