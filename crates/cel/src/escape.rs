//! Property names as identifiers: `foo-bar` is `foo__dash__bar`, `import` is `__import__`.

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Escapes, longest first.
const ESCAPES: [(&str, &str); 4] = [("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")];

/// The identifier of a property, if it can have one.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c)) {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let escaped = ESCAPES.into_iter().find(|(plain, _)| rest.starts_with(plain));
        let taken = match escaped {
            Some((plain, escaped)) => {
                out.push_str(escaped);
                plain.len()
            }
            None => {
                out.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Some(out)
}

/// The property an identifier stands for.
pub fn unescape(ident: &str) -> Option<String> {
    let mut out = String::with_capacity(ident.len());
    let mut rest = ident;
    while let Some(at) = rest.find("__") {
        let after = &rest[at + 2..];
        // An escape is `__word__` with no underscore in the word.
        let Some(end) = after.find('_').filter(|end| *end > 0 && after[*end..].starts_with("__")) else {
            out.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        };
        let whole = format!("__{}__", &after[..end]);
        out.push_str(&rest[..at]);
        match ESCAPES.into_iter().find(|(_, escaped)| *escaped == whole) {
            Some((plain, _)) => out.push_str(plain),
            None if RESERVED.contains(&&after[..end]) && whole.len() == ident.len() => out.push_str(&after[..end]),
            None => return None,
        }
        rest = &after[end + 2..];
    }
    out.push_str(rest);
    Some(out)
}
