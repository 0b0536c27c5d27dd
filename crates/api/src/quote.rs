//! Go's `strconv.Quote` (`%q`), in which upstream's messages quote what they were given.

/// The text in double quotes, everything unprintable escaped as Go does.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\x07' => quoted.push_str(r"\a"),
            '\x08' => quoted.push_str(r"\b"),
            '\x0c' => quoted.push_str(r"\f"),
            '\n' => quoted.push_str(r"\n"),
            '\r' => quoted.push_str(r"\r"),
            '\t' => quoted.push_str(r"\t"),
            '\x0b' => quoted.push_str(r"\v"),
            '\0'..' ' | '\x7f' => quoted.extend([r"\x", &format!("{:02x}", u32::from(c))]),
            ' '..'\x7f' => quoted.push(c),
            _ if is_printable(c) => quoted.push(c),
            '\u{80}'..='\u{ffff}' => quoted.extend([r"\u", &format!("{:04x}", u32::from(c))]),
            _ => quoted.extend([r"\U", &format!("{:08x}", u32::from(c))]),
        }
    }
    quoted.push('"');
    quoted
}

/// Rust's own tables say so, if the character does not come first (where it would escape combining marks).
fn is_printable(c: char) -> bool {
    ['a', c].iter().collect::<String>().escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quotes_as_go_does() {
        for (text, want) in [
            ("plain", r#""plain""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\x08\n\t\x01\x7f", r#""\b\n\t\x01\x7f""#),
            ("é😀", "\"é😀\""),
            ("\u{a0}\u{2028}\u{feff}", r#""\u00a0\u2028\ufeff""#),
            ("e\u{301}", "\"e\u{301}\""),
        ] {
            assert_eq!(quote(text), want);
        }
    }
}
