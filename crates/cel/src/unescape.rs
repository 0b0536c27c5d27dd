//! What the text of a string or bytes literal means.

/// The characters of a string literal, prefix and quotes included in `text`.
pub fn string(text: &str) -> Result<String, &'static str> {
    let (body, raw) = body(text);
    if raw || !body.contains('\\') {
        return Ok(body);
    }
    let mut out = String::with_capacity(body.len());
    unescape(&body, |escape| match escape {
        Escape::Char(c) => {
            out.push(c);
            Ok(())
        }
        Escape::Code(code, _) => {
            out.push(char::from_u32(code).ok_or("invalid unicode code point")?);
            Ok(())
        }
    })?;
    Ok(out)
}

/// The bytes of a bytes literal, without its `b`.
pub fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    let (body, raw) = body(text);
    if raw || !body.contains('\\') {
        return Ok(body.into_bytes());
    }
    let mut out = Vec::with_capacity(body.len());
    unescape(&body, |escape| match escape {
        Escape::Char(c) => {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            Ok(())
        }
        Escape::Code(_, true) => Err("unable to unescape string"),
        Escape::Code(code, false) => {
            out.push(code as u8);
            Ok(())
        }
    })?;
    Ok(out)
}

enum Escape {
    Char(char),
    /// A number; `true` if written as `\u` or `\U`.
    Code(u32, bool),
}

/// What stands between the quotes, with line ends as `\n`, and whether it is raw.
fn body(text: &str) -> (String, bool) {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (text, raw) = match text.strip_prefix(['r', 'R']) {
        Some(rest) => (rest, true),
        None => (text.as_str(), false),
    };
    let triple = text.len() >= 6 && (text.starts_with("'''") || text.starts_with("\"\"\""));
    let quotes = if triple { 3 } else { 1 };
    (text[quotes..text.len() - quotes].to_owned(), raw)
}

fn unescape(body: &str, mut emit: impl FnMut(Escape) -> Result<(), &'static str>) -> Result<(), &'static str> {
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            emit(Escape::Char(c))?;
            continue;
        }
        let c = chars.next().ok_or("unable to unescape string, found '\\' as last character")?;
        emit(match c {
            'a' => Escape::Char('\u{7}'),
            'b' => Escape::Char('\u{8}'),
            'f' => Escape::Char('\u{c}'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            't' => Escape::Char('\t'),
            'v' => Escape::Char('\u{b}'),
            '\\' | '\'' | '"' | '`' | '?' => Escape::Char(c),
            'x' | 'X' => Escape::Code(number(&mut chars, 2, 16)?, false),
            'u' => Escape::Code(number(&mut chars, 4, 16)?, true),
            'U' => Escape::Code(number(&mut chars, 8, 16)?, true),
            '0'..='3' => {
                let first = c.to_digit(8).unwrap_or_default();
                let rest = number(&mut chars, 2, 8).map_err(|_| "unable to unescape octal sequence in string")?;
                Escape::Code(first * 64 + rest, false)
            }
            _ => return Err("unable to unescape string"),
        })?;
    }
    Ok(())
}

fn number(chars: &mut std::str::Chars<'_>, digits: u32, radix: u32) -> Result<u32, &'static str> {
    let mut value: u32 = 0;
    for _ in 0..digits {
        let digit = chars.next().and_then(|c| c.to_digit(radix)).ok_or("unable to unescape string")?;
        value = value.wrapping_mul(radix).wrapping_add(digit);
    }
    Ok(value)
}
