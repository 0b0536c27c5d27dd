//! JSON's grammar over bytes, with Go's words for what breaks it.

use std::borrow::Cow;

use crate::codec::MAX_DEPTH;

/// What is wrong with the text.
#[derive(Debug)]
pub struct SyntaxError(pub String);

pub type Scanned<T> = Result<T, SyntaxError>;

/// What a value starts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl Start {
    /// Go's name of it in type errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// A position in a text.
pub struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scan<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// The kind of value that comes next.
    pub fn start(&mut self) -> Scanned<Start> {
        self.skip_space();
        Ok(match self.peek() {
            Some(b'{') => Start::Object,
            Some(b'[') => Start::Array,
            Some(b'"') => Start::String,
            Some(b'-' | b'0'..=b'9') => Start::Number,
            Some(b't' | b'f') => Start::Bool,
            Some(b'n') => Start::Null,
            _ => return Err(self.unexpected("looking for beginning of value")),
        })
    }

    /// Nothing but space may follow.
    pub fn end(&mut self) -> Scanned<()> {
        self.skip_space();
        if self.at < self.bytes.len() { Err(self.unexpected("after top-level value")) } else { Ok(()) }
    }

    pub fn null(&mut self) -> Scanned<()> {
        self.word("null")
    }

    pub fn bool(&mut self) -> Scanned<bool> {
        let value = self.peek() == Some(b't');
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Opens an array or object.
    pub fn open(&mut self) -> Scanned<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(SyntaxError("exceeded max depth".to_owned())) } else { Ok(()) }
    }

    /// Whether another item follows; closes the array when not.
    pub fn next_item(&mut self, first: bool) -> Scanned<bool> {
        self.skip_space();
        match self.peek() {
            Some(b']') => {
                self.close();
                Ok(false)
            }
            _ if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.unexpected("after array element")),
        }
    }

    /// The next key, with the colon behind it read; closes the object when there is none.
    pub fn next_key(&mut self, first: bool) -> Scanned<Option<Cow<'a, str>>> {
        self.skip_space();
        match self.peek() {
            Some(b'}') => {
                self.close();
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_space();
            }
            _ if first => {}
            _ => return Err(self.unexpected("after object key:value pair")),
        }
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("looking for beginning of object key string"));
        }
        let key = self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    pub fn string(&mut self) -> Scanned<Cow<'a, str>> {
        self.at += 1;
        let begin = self.at;
        let plain = self.bytes[begin..].iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..=0x1f)).count();
        self.at += plain;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(String::from_utf8_lossy(&self.bytes[begin..begin + plain]));
        }
        let mut text = String::from_utf8_lossy(&self.bytes[begin..begin + plain]).into_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(0x20..) => {
                    let rest = &self.bytes[self.at..];
                    let plain = rest.iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..=0x1f)).count();
                    text.push_str(&String::from_utf8_lossy(&rest[..plain]));
                    self.at += plain;
                }
                _ => return Err(self.unexpected("in string literal")),
            }
        }
    }

    /// The text of a number.
    pub fn number(&mut self) -> Scanned<&'a str> {
        let begin = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(std::str::from_utf8(&self.bytes[begin..self.at]).expect("digits and signs are ASCII"))
    }

    /// Reads over a value, and gives its text.
    pub fn skip(&mut self) -> Scanned<&'a [u8]> {
        let start = self.start()?;
        let begin = self.at;
        match start {
            Start::Null => self.null()?,
            Start::Bool => drop(self.bool()?),
            Start::Number => drop(self.number()?),
            Start::String => drop(self.string()?),
            Start::Array => {
                self.open()?;
                let mut first = true;
                while self.next_item(std::mem::take(&mut first))? {
                    self.skip()?;
                }
            }
            Start::Object => {
                self.open()?;
                let mut first = true;
                while self.next_key(std::mem::take(&mut first))?.is_some() {
                    self.skip()?;
                }
            }
        }
        Ok(&self.bytes[begin..self.at])
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn close(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, context: &str) -> Scanned<()> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected(context));
        }
        self.digits();
        Ok(())
    }

    fn word(&mut self, word: &str) -> Scanned<()> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(self.unexpected(&context));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn escape(&mut self) -> Scanned<char> {
        self.at += 1;
        let short = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        Ok(short)
    }

    /// `XXXX`, or two of them for a surrogate pair; half a pair becomes U+FFFD.
    fn unicode_escape(&mut self) -> Scanned<char> {
        let unit = self.hex4()?;
        if !(0xd800..0xdc00).contains(&unit) || !self.bytes[self.at..].starts_with(b"\\u") {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let back = self.at;
        self.at += 2;
        let low = self.hex4()?;
        if (0xdc00..0xe000).contains(&low) {
            let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.at = back;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Scanned<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.unexpected("in \\u hexadecimal character escape"))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn unexpected(&self, context: &str) -> SyntaxError {
        SyntaxError(match self.peek() {
            None => "unexpected end of JSON input".to_owned(),
            Some(byte) => format!("invalid character {} {context}", quote(byte)),
        })
    }
}

/// A byte in single quotes, as Go's `strconv` prints it.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0..=0x1f | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}
