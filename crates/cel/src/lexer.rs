//! Characters to tokens: the longest match wins, as in CEL's grammar.

use crate::source::{Issue, Source};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    /// Operators and punctuation, `in`, `true`, `false`, `null`: they are their own text.
    Sign(&'static str),
    Float,
    Int,
    Uint,
    String,
    Bytes,
    Ident,
    EscapedIdent,
    End,
}

/// A token and the range of characters it covers.
#[derive(Clone, Copy, Debug)]
pub struct Lexeme {
    pub token: Token,
    pub start: usize,
    pub end: usize,
}

const SIGNS: [&str; 27] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*",
    "/", "%", "true", "false", "null",
];

/// All tokens, the last being `End`, and what could not be read.
pub fn lex(source: &Source) -> (Vec<Lexeme>, Vec<Issue>) {
    let mut lexer = Lexer { chars: &source.chars, at: 0 };
    let mut tokens = Vec::new();
    let mut issues = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        if start >= source.chars.len() {
            tokens.push(Lexeme { token: Token::End, start, end: start });
            return (tokens, issues);
        }
        match lexer.token() {
            Ok((token, end)) => {
                tokens.push(Lexeme { token, start, end });
                lexer.at = end;
            }
            Err(stuck) => {
                // The character that did not fit is shown and skipped.
                let end = (stuck + 1).min(source.chars.len());
                let text: String = source.chars[start..end].iter().collect();
                let message = format!("Syntax error: token recognition error at: '{}'", escape_blanks(&text));
                issues.push(Issue { location: source.location(start), message });
                lexer.at = end;
            }
        }
    }
}

/// Line ends and tabs made visible, as in every syntax error.
pub fn escape_blanks(text: &str) -> String {
    text.replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r")
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn char(&self, at: usize) -> Option<char> {
        self.chars.get(at).copied()
    }

    fn starts_with(&self, at: usize, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.char(at + i) == Some(c))
    }

    fn run(&self, mut at: usize, accept: impl Fn(char) -> bool) -> usize {
        while self.char(at).is_some_and(&accept) {
            at += 1;
        }
        at
    }

    fn skip_blank(&mut self) {
        loop {
            self.at = self.run(self.at, |c| matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{c}'));
            if !self.starts_with(self.at, "//") {
                return;
            }
            self.at = self.run(self.at, |c| c != '\n');
        }
    }

    /// The token at `self.at` and its end, or the place where no token could go on.
    fn token(&self) -> Result<(Token, usize), usize> {
        let start = self.at;
        let c = self.chars[start];
        let next = self.char(start + 1);
        if c.is_ascii_digit() || (c == '.' && next.is_some_and(|d| d.is_ascii_digit())) {
            return Ok(self.number(start));
        }
        match self.string(start) {
            Some(Ok(found)) => return Ok(found),
            Some(Err(stuck)) if matches!(c, '"' | '\'') => return Err(stuck),
            _ => {}
        }
        if c.is_ascii_alphabetic() || c == '_' {
            let end = self.run(start, |c| c.is_ascii_alphanumeric() || c == '_');
            let text: String = self.chars[start..end].iter().collect();
            let sign = ["in", "true", "false", "null"].into_iter().find(|word| *word == text);
            return Ok((sign.map_or(Token::Ident, Token::Sign), end));
        }
        if c == '`' {
            let end = self.run(start + 1, |c| c.is_ascii_alphanumeric() || "_.-/ ".contains(c));
            let closed = end > start + 1 && self.char(end) == Some('`');
            return if closed { Ok((Token::EscapedIdent, end + 1)) } else { Err(end) };
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| self.starts_with(start, sign)) {
            return Ok((Token::Sign(sign), start + sign.len()));
        }
        // Half an operator is stuck at its second character.
        Err(if matches!(c, '=' | '&' | '|') { start + 1 } else { start })
    }

    fn number(&self, start: usize) -> (Token, usize) {
        let digits = |at| self.run(at, |c| c.is_ascii_digit());
        if self.starts_with(start, "0x") {
            let end = self.run(start + 2, |c| c.is_ascii_hexdigit());
            if end > start + 2 {
                return self.unsigned(end);
            }
        }
        let whole = digits(start);
        let mut end = whole;
        let mut float = false;
        if self.char(whole) == Some('.') && digits(whole + 1) > whole + 1 {
            end = digits(whole + 1);
            float = true;
        }
        if matches!(self.char(end), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.char(end + 1), Some('+' | '-')));
            let exponent = digits(end + 1 + sign);
            if exponent > end + 1 + sign {
                end = exponent;
                float = true;
            }
        }
        if float { (Token::Float, end) } else { self.unsigned(end) }
    }

    fn unsigned(&self, end: usize) -> (Token, usize) {
        if matches!(self.char(end), Some('u' | 'U')) { (Token::Uint, end + 1) } else { (Token::Int, end) }
    }

    /// A string or bytes literal, or where it broke off; nothing if none begins here.
    fn string(&self, start: usize) -> Option<Result<(Token, usize), usize>> {
        let mut at = start;
        let mut token = Token::String;
        if matches!(self.char(at), Some('b' | 'B')) {
            token = Token::Bytes;
            at += 1;
        }
        let raw = matches!(self.char(at), Some('r' | 'R'));
        at += usize::from(raw);
        let quote = self.char(at).filter(|c| matches!(c, '"' | '\''))?;
        let triple: String = [quote; 3].iter().collect();
        let mut stuck = None;
        if self.starts_with(at, &triple) {
            match self.string_body(at + 3, quote, raw, true) {
                Ok(end) => return Some(Ok((token, end))),
                Err(place) => stuck = Some(place),
            }
        }
        // An unclosed `"""` still begins with an empty string.
        Some(match self.string_body(at + 1, quote, raw, false) {
            Ok(end) => Ok((token, end)),
            Err(place) => Err(stuck.unwrap_or(place)),
        })
    }

    fn string_body(&self, mut at: usize, quote: char, raw: bool, triple: bool) -> Result<usize, usize> {
        loop {
            let Some(c) = self.char(at) else { return Err(at) };
            if triple && c == quote && self.char(at + 1) == Some(quote) && self.char(at + 2) == Some(quote) {
                return Ok(at + 3);
            }
            if !triple && c == quote {
                return Ok(at + 1);
            }
            if !triple && matches!(c, '\n' | '\r') {
                return Err(at);
            }
            at = if c == '\\' && !raw { self.escape(at)? } else { at + 1 };
        }
    }

    fn escape(&self, at: usize) -> Result<usize, usize> {
        let hex = |count: usize| {
            let end = self.run(at + 2, |c| c.is_ascii_hexdigit()).min(at + 2 + count);
            if end == at + 2 + count { Ok(end) } else { Err(end) }
        };
        let Some(c) = self.char(at + 1) else { return Err(at + 1) };
        match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' => Ok(at + 2),
            'x' | 'X' => hex(2),
            'u' => hex(4),
            'U' => hex(8),
            '0'..='3' => {
                let end = self.run(at + 2, |c| matches!(c, '0'..='7')).min(at + 4);
                if end == at + 4 { Ok(end) } else { Err(end) }
            }
            _ => Err(at + 1),
        }
    }
}
