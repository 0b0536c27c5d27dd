//! Finding values inside stored JSON without parsing it.
//!
//! Works on bytes the server encoded itself, so they are valid JSON; on anything else the answer
//! may be `None` or a wrong range inside the slice, never a panic.

use std::ops::Range;

/// Where the value at `path` (object keys only) stands in `json`.
pub fn find(json: &[u8], path: &[&str]) -> Option<Range<usize>> {
    let mut at = skip_space(json, 0);
    for key in path {
        at = member(json, at, key)?;
    }
    Some(at..value_end(json, at))
}

/// The string at `path` when it holds no escapes.
pub fn find_str<'a>(json: &'a [u8], path: &[&str]) -> Option<&'a str> {
    let range = find(json, path)?;
    let text = json.get(range.start + 1..range.end.checked_sub(1)?)?;
    if json[range.start] != b'"' || text.contains(&b'\\') {
        return None;
    }
    std::str::from_utf8(text).ok()
}

/// Start of the value of `key` in the object that starts at `start`.
fn member(json: &[u8], start: usize, key: &str) -> Option<usize> {
    if json.get(start) != Some(&b'{') {
        return None;
    }
    let mut at = skip_space(json, start + 1);
    while json.get(at) == Some(&b'"') {
        let end = string_end(json, at);
        let name = json.get(at + 1..end.saturating_sub(1))?;
        let colon = skip_space(json, end);
        let value = skip_space(json, colon + 1);
        if name == key.as_bytes() {
            return Some(value);
        }
        at = skip_space(json, value_end(json, value));
        if json.get(at) != Some(&b',') {
            return None;
        }
        at = skip_space(json, at + 1);
    }
    None
}

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Just past the string whose opening quote is at `at`.
fn string_end(json: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    loop {
        match json.get(i) {
            None => return json.len(),
            Some(b'"') => return i + 1,
            Some(b'\\') => i += 2,
            Some(_) => i += 1,
        }
    }
}

/// Just past the value that starts at `at`.
fn value_end(json: &[u8], at: usize) -> usize {
    match json.get(at) {
        None => json.len(),
        Some(b'"') => string_end(json, at),
        Some(b'{' | b'[') => nested_end(json, at),
        Some(_) => {
            let rest = &json[at..];
            at + rest
                .iter()
                .position(|b| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace())
                .unwrap_or(rest.len())
        }
    }
}

fn nested_end(json: &[u8], at: usize) -> usize {
    let mut depth = 0usize;
    let mut i = at;
    while let Some(byte) = json.get(i) {
        match byte {
            b'"' => {
                i = string_end(json, i);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
        i += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_path_and_not_in_strings() {
        let json =
            br#"{"a":"\"metadata\":{","metadata":{"labels":{"x":"1"},"resourceVersion":"42"},"n":[1,{"q":"}"}],"z":7}"#;
        let text = |path: &[&str]| find(json, path).map(|r| std::str::from_utf8(&json[r]).unwrap());
        assert_eq!(text(&["metadata", "resourceVersion"]), Some(r#""42""#));
        assert_eq!(text(&["metadata", "labels"]), Some(r#"{"x":"1"}"#));
        assert_eq!(text(&["z"]), Some("7"));
        assert_eq!(text(&["n"]), Some(r#"[1,{"q":"}"}]"#));
        assert_eq!(text(&["metadata", "uid"]), None);
        assert_eq!(text(&["z", "uid"]), None);
        assert_eq!(find_str(json, &["metadata", "resourceVersion"]), Some("42"));
        assert_eq!(find_str(json, &["a"]), None);
    }

    #[test]
    fn total_on_broken_input() {
        for json in ["", "{", "{\"a", "{\"a\":", "{\"a\":{\"b\":\"c", "[]", "\"", "{\"a\":\"\\"] {
            let _ = find(json.as_bytes(), &["a", "b"]);
            let _ = find_str(json.as_bytes(), &["a"]);
        }
    }
}
