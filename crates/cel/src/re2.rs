//! Go's regular expressions in the words of the `regex` crate. Both descend from RE2; they differ in what
//! a few escapes and stray characters mean.

use regex::{Regex, RegexBuilder};

/// Bytes a compiled pattern may take.
const MAX_SIZE: usize = 10 << 20;
/// Go's bound on counted repetition.
const MAX_REPEAT: u32 = 1000;

/// Compiles a pattern as Go would read it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = Translate { rest: pattern, out: String::with_capacity(pattern.len()) }.run()?;
    RegexBuilder::new(&translated).size_limit(MAX_SIZE).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
        error => format!("error parsing regexp: {}", reason(&error.to_string(), pattern)),
    })
}

/// Go's words for what the crate found wrong.
fn reason(error: &str, pattern: &str) -> String {
    let known = [
        ("unclosed group", "missing closing )"),
        ("unopened group", "unexpected )"),
        ("repetition operator missing expression", "missing argument to repetition operator"),
        ("invalid character class range", "invalid character class range"),
    ];
    let found = known.into_iter().find(|(crates, _)| error.contains(crates));
    format!("{}: `{pattern}`", found.map_or("invalid expression", |(_, go)| go))
}

struct Translate<'p> {
    rest: &'p str,
    out: String,
}

impl Translate<'_> {
    fn run(mut self) -> Result<String, String> {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '{' => self.brace()?,
                _ => self.copy(c),
            }
        }
        Ok(self.out)
    }

    fn copy(&mut self, c: char) {
        self.out.push(c);
        self.rest = &self.rest[c.len_utf8()..];
    }

    /// A brace that is no repetition is itself.
    fn brace(&mut self) -> Result<(), String> {
        let body = self.rest[1..].split('}').next().unwrap_or_default();
        let closed = self.rest.len() > body.len() + 1;
        let (least, most) = body.split_once(',').unwrap_or((body, body));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !(closed && digits(least) && (most.is_empty() || digits(most))) {
            self.out.push('\\');
            self.copy('{');
            return Ok(());
        }
        let too_many = |text: &str| text.parse::<u32>().map_or(!text.is_empty(), |count| count > MAX_REPEAT);
        if too_many(least) || too_many(most) {
            return Err(format!("error parsing regexp: invalid repeat count: `{{{body}}}`"));
        }
        self.out.push_str(&self.rest[..body.len() + 2]);
        self.rest = &self.rest[body.len() + 2..];
        Ok(())
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(c) = self.rest[1..].chars().next() else {
            return Err("error parsing regexp: trailing backslash at end of expression: ``".to_owned());
        };
        let after = &self.rest[1 + c.len_utf8()..];
        let known = match (c, in_class) {
            // Perl's classes are ASCII here.
            ('d', true) => "0-9",
            ('w', true) => "0-9A-Za-z_",
            ('s', true) => "\\t\\n\\x0C\\r ",
            ('d', false) => "[0-9]",
            ('w', false) => "[0-9A-Za-z_]",
            ('s', false) => "[\\t\\n\\x0C\\r ]",
            ('D', _) => "[^0-9]",
            ('W', _) => "[^0-9A-Za-z_]",
            ('S', _) => "[^\\t\\n\\x0C\\r ]",
            ('b', false) => "(?-u:\\b)",
            ('B', false) => "(?-u:\\B)",
            ('<', _) => "<",
            ('>', _) => ">",
            _ => "",
        };
        if !known.is_empty() {
            self.out.push_str(known);
            self.rest = after;
            return Ok(());
        }
        match c {
            'Q' if !in_class => {
                let (literal, rest) = after.split_once("\\E").unwrap_or((after, ""));
                self.out.push_str(&regex::escape(literal));
                self.rest = rest;
            }
            '0'..='7' => {
                let digits = 1 + after.bytes().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                if c != '0' && digits == 1 {
                    return Err(format!("error parsing regexp: invalid escape sequence: `\\{c}`"));
                }
                let code = u32::from_str_radix(&self.rest[1..=digits], 8).unwrap_or_default();
                self.out.push_str(&format!("\\x{{{code:x}}}"));
                self.rest = &self.rest[1 + digits..];
            }
            'p' | 'P' if after.starts_with("{^") => {
                self.out.push_str(if c == 'p' { "\\P{" } else { "\\p{" });
                self.rest = &after[2..];
            }
            'p' | 'P' | 'x' | 'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'A' | 'z' => {
                self.out.push('\\');
                self.out.push(c);
                self.rest = after;
            }
            c if c.is_ascii_punctuation() => {
                self.out.push('\\');
                self.out.push(c);
                self.rest = after;
            }
            c => return Err(format!("error parsing regexp: invalid escape sequence: `\\{c}`")),
        }
        Ok(())
    }

    /// `[...]`: what would be an operation on sets is only characters.
    fn class(&mut self) -> Result<(), String> {
        let start = self.rest;
        self.copy('[');
        if self.rest.starts_with('^') {
            self.copy('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.chars().next() else {
                return Err(format!("error parsing regexp: missing closing ]: `{start}`"));
            };
            match c {
                ']' if !first => {
                    self.copy(']');
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' if self.rest.starts_with("[:") && self.rest.contains(":]") => {
                    let end = self.rest.find(":]").unwrap_or_default() + 2;
                    self.out.push_str(&self.rest[..end]);
                    self.rest = &self.rest[end..];
                }
                ']' | '[' | '&' | '~' => {
                    self.out.push('\\');
                    self.copy(c);
                }
                '-' if self.rest.starts_with("--") => {
                    self.out.push('\\');
                    self.copy(c);
                }
                c => self.copy(c),
            }
            first = false;
        }
    }
}
