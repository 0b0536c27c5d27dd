//! `fieldPath` of a rule: fields and map keys that its schema knows, `.spec['x.y'].z`.

use std::fmt::Write as _;

use orlop_api::Value as Json;

/// The path as errors print it, or why it leads nowhere in the schema.
pub fn resolve(path: &str, schema: &Json) -> Result<String, String> {
    let (mut out, mut schema) = (String::new(), schema);
    let mut rest = path;
    while !rest.is_empty() {
        let name;
        (name, rest) = step(rest)?;
        if schema["properties"].is_object() {
            schema = schema["properties"].get(&name).ok_or("does not refer to a valid field")?;
            let dot = if out.is_empty() { "" } else { "." };
            out.push_str(dot);
            out.push_str(&name);
        } else if schema["additionalProperties"].is_object() {
            schema = &schema["additionalProperties"];
            let _ = write!(out, "[{name}]");
        } else {
            return Err("does not refer to a valid field".to_owned());
        }
    }
    Ok(out)
}

/// The first step of a path and what comes after it.
fn step(path: &str) -> Result<(String, &str), String> {
    const END: &str = "unexpected end of JSON path";
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        // A delimiter where a name should be is taken for the name, which no schema has.
        let end = if rest.is_empty() { return Err(END.to_owned()) } else { end.max(1) };
        return Ok((rest[..end].to_owned(), &rest[end..]));
    }
    let Some(rest) = path.strip_prefix('[') else { return Err(format!("expected [ or . but got: {path}")) };
    let Some(text) = rest.strip_prefix('\'') else {
        return Err(if rest.is_empty() {
            END.to_owned()
        } else {
            format!("expected single quoted string but got {rest}")
        });
    };
    let end = closing(text).ok_or_else(|| format!("expected single quoted string but got {rest}"))?;
    let name = unescape(&text[..end])?;
    match text[end + 1..].strip_prefix(']') {
        Some(rest) => Ok((name, rest)),
        None if text.len() == end + 1 => Err(END.to_owned()),
        None => Err(format!("expected ] but got {}", &text[end + 1..])),
    }
}

/// Where the quote ends: at one that no backslash precedes.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len()).find(|at| bytes[*at] == b'\'' && (*at == 0 || bytes[at - 1] != b'\\'))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(same @ ('\'' | '\\')) => same,
            other => {
                return Err(format!("invalid string literal: invalid escape char \\{}", other.unwrap_or_default()));
            }
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_followed_through_the_schema() {
        let map = json!({"type": "object", "additionalProperties": {"type": "object", "properties": {"x.y": {}}}});
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"m": map}}}});
        for (path, want) in [
            (".spec", Ok("spec")),
            (".spec.m.key", Ok("spec.m[key]")),
            ("['spec']['m']['it\\'s']", Ok("spec.m[it's]")),
            (".spec.m.a['x.y']", Ok("spec.m[a].x.y")),
            (".other", Err("does not refer to a valid field")),
            ("spec", Err("expected [ or . but got: spec")),
            (".", Err("unexpected end of JSON path")),
            ("['spec'", Err("unexpected end of JSON path")),
            ("[0]", Err("expected single quoted string but got 0]")),
            ("['\\q']", Err("invalid string literal: invalid escape char \\q")),
        ] {
            assert_eq!(resolve(path, &schema), want.map(str::to_owned).map_err(str::to_owned), "{path}");
        }
    }
}
