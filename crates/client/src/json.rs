//! Cutting lists and watch events into the bytes of their objects, without building a tree.
//!
//! Each piece is then decoded once, by its own kind's decoder, which also judges whether it is
//! JSON at all: the cutter only counts brackets and skips strings.

/// One member of a JSON object: raw key text (without quotes) and raw value.
pub struct Member<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// The members of the object that `json` starts with; stops at the first thing that is not one.
pub fn members(json: &[u8]) -> impl Iterator<Item = Member<'_>> {
    let mut cursor = Cursor { json, at: 0 };
    let opened = cursor.eat(b'{');
    std::iter::from_fn(move || {
        if !opened {
            return None;
        }
        cursor.eat(b',');
        let key = cursor.value().filter(|k| k.first() == Some(&b'"'))?;
        if !cursor.eat(b':') {
            return None;
        }
        Some(Member { key: key.get(1..key.len() - 1)?, value: cursor.value()? })
    })
}

/// The elements of the array that `json` starts with.
pub fn elements(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut cursor = Cursor { json, at: 0 };
    let opened = cursor.eat(b'[');
    std::iter::from_fn(move || {
        if !opened {
            return None;
        }
        cursor.eat(b',');
        cursor.value()
    })
}

struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        while self.json.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.json.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// The next whole value.
    fn value(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match *self.json.get(self.at)? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' if depth > 0 => self.at += 1,
                b',' | b':' => return None,
                _ => self.skip_scalar(),
            }
            if depth == 0 {
                return self.json.get(start..self.at);
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match *self.json.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    fn skip_scalar(&mut self) {
        let rest = &self.json[self.at..];
        let end = rest.iter().position(|b| b",:]}\"{[ \n\r\t".contains(b)).unwrap_or(rest.len());
        self.at += end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(json: &str) -> Vec<(String, String)> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        members(json.as_bytes()).map(|m| (text(m.key), text(m.value))).collect()
    }

    #[test]
    fn objects_fall_into_members() {
        let pairs = cut(r#" { "a" : {"x":[1,"}\""]} , "b":-1.5e3,"c":null, "d":"\\" }"#);
        let want = [("a", r#"{"x":[1,"}\""]}"#), ("b", "-1.5e3"), ("c", "null"), ("d", r#""\\""#)];
        assert_eq!(pairs, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn arrays_fall_into_elements() {
        let parts: Vec<&[u8]> = elements(br#"[ {"a":[1,2]}, [], "x,]", 3 ]"#).collect();
        assert_eq!(parts, [&br#"{"a":[1,2]}"#[..], b"[]", br#""x,]""#, b"3"]);
        assert_eq!(elements(b"[]").count(), 0);
    }

    #[test]
    fn nonsense_ends_the_cut() {
        for text in ["", "{", "[1", r#"{"a"}"#, r#"{"a":"#, r#"{"a":"x"#, "}", "{1:2}", r#"{"a":}"#, "\"", "{\"\\"] {
            assert_eq!(cut(text).len(), 0, "{text}");
        }
    }
}
