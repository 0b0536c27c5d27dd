//! URLs, read as Go's `net/url` reads them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::strings::text;
use crate::decls::Op;
use crate::value::{Key, Map, Result, Text, Value, fail, no_overload};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub scheme: String,
    pub host: String,
    /// As written, with the escapes it needs.
    pub path: String,
    pub query: String,
    /// The rest, for equality: user and fragment.
    rest: String,
}

pub fn op(_function: &str, overload: &str) -> Option<Op> {
    Some(match overload {
        "string_to_url" => |_, args| match parse(text(&args[0])?) {
            Ok(url) => Ok(Value::Url(Arc::new(url))),
            Err(error) => fail(format!("URL parse error during conversion from string: {error}")),
        },
        "is_url_string" => |_, args| Ok(Value::Bool(parse(text(&args[0])?).is_ok())),
        "url_get_scheme" => |_, args| Ok(Value::string(url(&args[0])?.scheme.clone())),
        "url_get_host" => |_, args| Ok(Value::string(url(&args[0])?.host.clone())),
        "url_get_hostname" => |_, args| Ok(Value::string(url(&args[0])?.hostname().to_owned())),
        "url_get_port" => |_, args| Ok(Value::string(url(&args[0])?.port().to_owned())),
        "url_get_escaped_path" => |_, args| Ok(Value::string(url(&args[0])?.path.clone())),
        "url_get_query" => |_, args| Ok(Value::Map(Map::Entries(Arc::new(url(&args[0])?.pairs())))),
        _ => return None,
    })
}

fn url<'v>(value: &'v Value<'_>) -> Result<&'v Url> {
    match value {
        Value::Url(url) => Ok(url),
        _ => no_overload(),
    }
}

impl Url {
    fn split_port(&self) -> (&str, &str) {
        match self.host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
            _ => (&self.host, ""),
        }
    }

    fn hostname(&self) -> &str {
        let host = self.split_port().0;
        host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
    }

    fn port(&self) -> &str {
        self.split_port().1
    }

    fn pairs<'a>(&self) -> BTreeMap<Key<'a>, Value<'a>> {
        let mut lists: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
        for part in self.query.split('&').filter(|part| !part.is_empty() && !part.contains(';')) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (Ok(key), Ok(value)) = (decode(key, true), decode(value, true)) else { continue };
            lists.entry(key).or_default().push(Value::string(value));
        }
        lists.into_iter().map(|(key, values)| (Key::String(Text::from(key)), Value::list(values))).collect()
    }
}

/// Reads an absolute URL or an absolute path, as a request line would hold.
pub fn parse(text: &str) -> Result<Url, String> {
    let wrong = |why: String| format!("parse {text:?}: {why}");
    if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err(wrong("net/url: invalid control character in URL".to_owned()));
    }
    if text.is_empty() {
        return Err(wrong("empty url".to_owned()));
    }
    let (body, fragment) = text.split_once('#').unwrap_or((text, ""));
    // A request's URL has no fragment: what follows `#` must still be a path or query.
    let (scheme, rest) = split_scheme(body).map_err(|why| wrong(why.to_owned()))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        if scheme.is_empty() {
            return Err(wrong("invalid URI for request".to_owned()));
        }
        // Opaque: `mailto:a@b`.
        let (path, query) = (String::new(), query.to_owned());
        return Ok(Url { scheme, host: String::new(), path, query, rest: rest.to_owned() + fragment });
    }
    let (authority, path) = match rest.strip_prefix("//").filter(|after| !scheme.is_empty() || !after.starts_with('/'))
    {
        Some(after) => after.find('/').map_or((after, ""), |at| after.split_at(at)),
        None => ("", rest),
    };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !user.chars().all(|c| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c)) {
        return Err(wrong("net/url: invalid userinfo".to_owned()));
    }
    decode(user, false).map_err(wrong)?;
    let host = parse_host(&scheme, host).map_err(wrong)?;
    let path = escape_path(path).map_err(wrong)?;
    decode(fragment, false).map_err(wrong)?;
    Ok(Url { scheme, host, path, query: query.to_owned(), rest: format!("{user}#{fragment}") })
}

fn split_scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn parse_host(scheme: &str, host: &str) -> Result<String, String> {
    let port_fine =
        |port: &str| port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    let bad_port = |port: &str| Err(format!("invalid port {port:?} after host"));
    if let Some(inner) = host.strip_prefix('[') {
        let Some((address, port)) = inner.rsplit_once(']') else { return Err("missing ']' in host".to_owned()) };
        if !port_fine(port) {
            return bad_port(port);
        }
        let address = decode(address, false)?;
        let bare = address.split('%').next().unwrap_or_default();
        return match bare.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(format!("[{address}]{port}")),
            Err(_) if bare.parse::<std::net::Ipv4Addr>().is_ok() => Err("invalid IP-literal".to_owned()),
            Err(_) => Err(format!("invalid host: ParseAddr({address:?}): unable to parse IP")),
        };
    }
    if host.contains('[') {
        return Err("invalid IP-literal".to_owned());
    }
    let strict = matches!(scheme, "http" | "https");
    let colon = if strict { host.find(':') } else { host.rfind(':') };
    if let Some(port) = colon.map(|colon| &host[colon..]).filter(|port| !port_fine(port)) {
        return bad_port(port);
    }
    if let Some(bad) = host.chars().find(|c| c.is_ascii() && !host_char(*c)) {
        return Err(format!("invalid character {:?} in host name", bad.to_string()));
    }
    decode(host, false)
}

fn host_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c)
}

/// Replaces `%xx`; in a query `+` is a space.
fn decode(text: &str, query: bool) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
                let valid = digits.filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let Some(code) = valid.and_then(|pair| u8::from_str_radix(pair, 16).ok()) else {
                    let shown: String = text[at..].chars().take(3).collect();
                    return Err(format!("invalid URL escape {shown:?}"));
                };
                out.push(code);
                at += 3;
            }
            b'+' if query => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The path with what must be escaped escaped, as it was written where that is valid.
fn escape_path(path: &str) -> Result<String, String> {
    let decoded = decode(path, false)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~$&+,/:;=@".contains(c);
    let valid = |c: char| plain(c) || "!'()*[]%".contains(c);
    if path.chars().all(valid) {
        return Ok(path.to_owned());
    }
    let mut out = String::new();
    for byte in decoded.bytes() {
        if plain(char::from(byte)) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Ok(out)
}
