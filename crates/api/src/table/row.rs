//! Rows that are made once for an object and told again later: all that time changes in them is their ages.

use std::io::Write as _;

use serde_json::Value;

use super::human_duration;
use crate::kind::Kind;

/// Stands around the Unix seconds that an age counts from.
const MARK: char = '\u{1}';
/// The mark as JSON has it.
const MARK_JSON: &str = r"\u0001";

/// What ages count to.
#[derive(Clone, Copy, Debug)]
pub enum Now {
    /// Unix seconds.
    At(i64),
    /// Not known yet: an age becomes a mark, which a [`Row`] fills in when it is told.
    Later,
}

impl Now {
    /// How long ago `then` (Unix seconds) was, as humans read it.
    pub fn since(self, then: i64) -> String {
        match self {
            Self::At(now) => human_duration(now - then),
            Self::Later => format!("{MARK}{then}{MARK}"),
        }
    }
}

/// The cells of one object as JSON, but for its ages.
#[derive(Debug)]
pub struct Row {
    json: Box<str>,
    /// Where an age belongs, in bytes of `json`, and since when; in order.
    ages: Box<[(usize, i64)]>,
}

impl Row {
    /// None for an object whose JSON has what ages are marked with: its row must be made anew each time.
    pub fn new(kind: &dyn Kind, object: &Value, object_json: &[u8]) -> Option<Self> {
        if object_json.windows(MARK_JSON.len()).any(|bytes| bytes == MARK_JSON.as_bytes()) {
            return None;
        }
        let marked = Value::Array(kind.row(object, Now::Later)).to_string();
        let mut json = String::with_capacity(marked.len());
        let mut ages = Vec::new();
        for (at, part) in marked.split(MARK_JSON).enumerate() {
            // What stands between two marks is a time.
            if at % 2 == 0 { json.push_str(part) } else { ages.push((json.len(), part.parse().ok()?)) }
        }
        Some(Self { json: json.into(), ages: ages.into() })
    }

    /// The cells as a JSON array, with ages counted to `now` (Unix seconds).
    pub fn write(&self, now: i64, out: &mut Vec<u8>) {
        let mut written = 0;
        for (at, then) in &self.ages {
            out.extend_from_slice(&self.json.as_bytes()[written..*at]);
            // A vector takes all there is.
            let _ = write!(out, "{}", human_duration(now - then));
            written = *at;
        }
        out.extend_from_slice(&self.json.as_bytes()[written..]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::by_kind;

    fn pod(message: &str) -> Value {
        json!({
            "metadata": { "name": "x\"y", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "containers": [{ "name": "c" }] },
            "status": { "phase": "Running", "reason": message, "containerStatuses": [{
                "name": "c", "restartCount": 2,
                "lastState": { "terminated": { "finishedAt": "2026-01-01T00:00:30Z" } },
            }] },
        })
    }

    #[test]
    fn a_row_told_later_is_the_row_made_then() {
        let kind = by_kind("", "v1", "Pod").unwrap();
        let object = pod("");
        let row = Row::new(kind, &object, object.to_string().as_bytes()).unwrap();
        for now in [1_767_225_690, 1_767_229_200] {
            let mut told = Vec::new();
            row.write(now, &mut told);
            let told: Vec<Value> = serde_json::from_slice(&told).unwrap();
            assert_eq!(told, kind.row(&object, Now::At(now)));
            assert!(told[3].as_str().unwrap().starts_with("2 ("), "{told:?}");
        }
    }

    #[test]
    fn what_looks_like_a_mark_is_none() {
        let object = pod("\u{1}5\u{1}");
        assert!(Row::new(by_kind("", "v1", "Pod").unwrap(), &object, object.to_string().as_bytes()).is_none());
    }
}
