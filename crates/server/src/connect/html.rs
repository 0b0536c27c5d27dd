//! Rewrites the URLs in an HTML stream, piece by piece.

use super::rewrite::Rewrite;

/// Attributes that hold a URL, by element.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is text, whatever it looks like.
const RAW_TEXT: [&str; 8] = ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"];

/// A tag that is longer is passed on as it is: no page has one, and memory is not the page's.
const MAX_TAG: usize = 64 * 1024;

/// The state between two pieces.
#[derive(Debug)]
pub(super) struct HtmlRewriter {
    rewrite: Rewrite,
    /// The beginning of something whose end has not come.
    pending: Vec<u8>,
    /// The element whose raw text we are in.
    raw: Option<&'static str>,
}

impl HtmlRewriter {
    pub fn new(rewrite: Rewrite) -> Self {
        Self { rewrite, pending: Vec::new(), raw: None }
    }

    /// Takes a piece and returns what can be passed on.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.pending);
        input.extend_from_slice(piece);
        let mut out = Vec::with_capacity(input.len() + 256);
        let mut rest = &input[..];
        while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            match self.token(rest) {
                Some((length, replacement)) => {
                    match replacement {
                        Some(text) => out.extend_from_slice(&text),
                        None => out.extend_from_slice(&rest[..length]),
                    }
                    rest = &rest[length..];
                }
                None if rest.len() > MAX_TAG => {
                    out.push(b'<');
                    rest = &rest[1..];
                }
                None => {
                    self.pending = rest.to_vec();
                    return out;
                }
            }
        }
        out.extend_from_slice(rest);
        out
    }

    /// What is left when no more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// The length of what stands at a `<`, and what to write instead; `None` when its end is not
    /// there yet.
    fn token(&mut self, text: &[u8]) -> Option<(usize, Option<Vec<u8>>)> {
        const LESS: Option<(usize, Option<Vec<u8>>)> = Some((1, None));
        let next = *text.get(1)?;
        if let Some(element) = self.raw {
            // `</`, the name, and at least one more byte.
            let end = text.get(..element.len() + 3)?;
            let closes = end[1] == b'/' && end[2..2 + element.len()].eq_ignore_ascii_case(element.as_bytes());
            if !closes || end[2 + element.len()].is_ascii_alphanumeric() {
                return LESS;
            }
            self.raw = None;
            return LESS;
        }
        if text.starts_with(b"<!--") {
            let end = find(&text[4..], b"-->")?;
            return Some((4 + end + 3, None));
        }
        if !next.is_ascii_alphabetic() {
            return LESS;
        }
        let end = tag_end(text)?;
        let tag = &text[..end];
        let name_end = tag[1..].iter().position(|b| !b.is_ascii_alphanumeric()).map_or(tag.len(), |at| at + 1);
        let name = String::from_utf8_lossy(&tag[1..name_end]).to_ascii_lowercase();
        self.raw = RAW_TEXT.into_iter().find(|element| *element == name);
        let attributes = ATTRIBUTES.iter().find(|(element, _)| *element == name).map(|(_, attributes)| *attributes);
        Some((end, attributes.map(|attributes| self.rewrite_tag(tag, name_end, attributes))))
    }

    /// Copies a tag, with the values of `attributes` rewritten.
    fn rewrite_tag(&self, tag: &[u8], name_end: usize, attributes: &[&str]) -> Vec<u8> {
        let mut out = tag[..name_end].to_vec();
        let mut at = name_end;
        while at < tag.len() {
            let Some(attribute) = next_attribute(tag, at) else { break };
            let name = String::from_utf8_lossy(&tag[attribute.name.clone()]).to_ascii_lowercase();
            match (attributes.contains(&&*name), std::str::from_utf8(&tag[attribute.value.clone()])) {
                (true, Ok(value)) if !attribute.value.is_empty() => {
                    out.extend_from_slice(&tag[at..attribute.value.start]);
                    out.extend_from_slice(self.rewrite.url(value).as_bytes());
                }
                _ => out.extend_from_slice(&tag[at..attribute.value.end]),
            }
            at = attribute.value.end;
        }
        out.extend_from_slice(&tag[at..]);
        out
    }
}

/// Where an attribute's name and value stand in a tag.
struct Attribute {
    name: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

/// The next attribute from `at` on; `None` when there is none before the end.
fn next_attribute(tag: &[u8], at: usize) -> Option<Attribute> {
    let skip = |from: usize, over: &dyn Fn(u8) -> bool| {
        tag[from..].iter().position(|byte| !over(*byte)).map_or(tag.len(), |n| from + n)
    };
    let space = |byte: u8| byte.is_ascii_whitespace();
    let start = skip(at, &|byte| space(byte) || matches!(byte, b'/' | b'"' | b'\''));
    if matches!(tag.get(start), None | Some(b'>')) {
        return None;
    }
    let name_end = skip(start + 1, &|byte| !space(byte) && !matches!(byte, b'=' | b'>' | b'/'));
    let name = start..name_end;
    let equals = skip(name_end, &space);
    if tag.get(equals) != Some(&b'=') {
        return Some(Attribute { name, value: name_end..name_end });
    }
    let start = skip(equals + 1, &space);
    let value = match tag.get(start) {
        Some(quote @ (b'"' | b'\'')) => start + 1..skip(start + 1, &|byte| byte != *quote),
        _ => start..skip(start, &|byte| !space(byte) && byte != b'>'),
    };
    Some(Attribute { name, value })
}

/// One past the `>` that ends a tag, quotes respected.
fn tag_end(text: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (i, byte) in text.iter().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            (None, b'>') => return Some(i + 1),
            _ => {}
        }
    }
    None
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewriter() -> HtmlRewriter {
        HtmlRewriter::new(Rewrite { prefix: "/p".into(), backend: "b".into(), caller: "c".into() })
    }

    fn rewritten(pieces: &[&[u8]]) -> Vec<u8> {
        let mut rewriter = rewriter();
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| rewriter.push(piece)).collect();
        out.extend(rewriter.finish());
        out
    }

    #[test]
    fn only_urls_in_known_attributes_change() {
        for (page, expected) in [
            (r#"<a href="/rewriteme">test</a>"#, r#"<a href="/p/rewriteme">test</a>"#),
            (r"<A class=x HREF='/a'>", r"<A class=x HREF='/p/a'>"),
            ("<a href=/a>b</a>", "<a href=/p/a>b</a>"),
            (r#"<img alt="/x" src = "/y" usemap>"#, r#"<img alt="/x" src = "/p/y" usemap>"#),
            (r#"<p title="<a href='/q'>">/z</p>"#, r#"<p title="<a href='/q'>">/z</p>"#),
            (r#"<!-- <a href="/c"> --><a href="/d">"#, r#"<!-- <a href="/c"> --><a href="/p/d">"#),
            (
                r#"<script src="/s">"<a href='/in'>"</script><a href="/e">"#,
                r#"<script src="/p/s">"<a href='/in'>"</script><a href="/p/e">"#,
            ),
            ("1 < 2 <", "1 < 2 <"),
            ("<a href=\"/never ends", "<a href=\"/never ends"),
        ] {
            assert_eq!(String::from_utf8_lossy(&rewritten(&[page.as_bytes()])), expected);
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(cut in 0usize..80) {
            let page = br#"<html><script>if (a<b) "</s"</script><!-- x --><a href="/a"><img src='/b'></html>"#;
            let (a, b) = page.split_at(cut.min(page.len()));
            prop_assert_eq!(rewritten(&[a, b]), rewritten(&[page]));
        }

        #[test]
        fn any_input_is_total(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..6)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = rewritten(&pieces);
        }
    }
}
