//! From CBOR to the JSON that says the same, under upstream's rules (`k8s.io/apimachinery/.../cbor/internal/modes`)
//! and in the words of the library it reads with.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;

use super::head::{self, BREAK, Head, INDEFINITE, Major};
use crate::codec::MAX_DEPTH;
use crate::codec::json::base64 as standard;
use crate::quote::quote;
use crate::time;

/// Upstream's bounds for what a head may announce; the body's own bound comes first.
const MAX_ITEMS: u64 = i32::MAX as u64;
const MAX_PAIRS: u64 = 2 * 1024 * 1024;

/// A document made JSON.
pub struct Document {
    pub json: Vec<u8>,
    /// What its strings are: a writer has them all as one or the other.
    pub strings: &'static str,
    pub wrong: Option<Wrong>,
}

/// What is well-formed and still cannot be taken; the first of it.
pub struct Wrong {
    pub why: String,
    /// A field of the object itself, among which its kind is looked for.
    pub of_root: bool,
}

/// Why the bytes are no CBOR, or none that upstream would look into.
type Result<T> = std::result::Result<T, String>;

/// What upstream reads a document into first. Both are objects: nothing else can be one.
#[derive(Clone, Copy)]
pub enum Root {
    Object,
    Any,
}

pub fn document(bytes: &[u8], root: Root) -> Result<Document> {
    if bytes.is_empty() {
        return Err("EOF".to_owned());
    }
    let strings = Major::Bytes.name();
    let document = Document { json: Vec::with_capacity(bytes.len() * 2), strings, wrong: None };
    let mut reader = Reader { bytes, at: 0, depth: 0, root, document };
    reader.item(None)?;
    let left = bytes.len() - reader.at;
    if left > 0 {
        return Err(format!("cbor: {left} bytes of extraneous data starting at index {}", reader.at));
    }
    Ok(reader.document)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    root: Root,
    document: Document,
}

impl<'a> Reader<'a> {
    /// One item with all it holds; `later` is how byte strings in it are to be written.
    fn item(&mut self, later: Option<u64>) -> Result<()> {
        let head = self.head()?;
        let scalar = self.depth == 0 && !matches!(head.major, Major::Map | Major::Tag) && !head.is_null();
        if scalar {
            let (wanted, more) = match (self.root, head.major) {
                (Root::Any, _) => ("map[string]interface {}", ""),
                (Root::Object, Major::Array) => {
                    ("v1.TypeMeta", " (cannot decode CBOR array to struct without toarray option)")
                }
                (Root::Object, _) => ("v1.TypeMeta", ""),
            };
            let found = head.major.name();
            self.wrong(true, format!("cbor: cannot unmarshal {found} into Go value of type {wanted}{more}"));
        }
        match head.major {
            Major::Positive | Major::Negative => self.integer(&head),
            Major::Bytes | Major::Text => {
                let text = self.string(&head, later)?;
                self.write_string(&text);
            }
            Major::Array => self.array(&head, later)?,
            Major::Map => self.map(&head, later)?,
            Major::Tag => self.tagged(head.argument, later)?,
            Major::Primitive => self.primitive(&head),
        }
        Ok(())
    }

    fn head(&mut self) -> Result<Head> {
        let first = self.take(1)?[0];
        let (major, info) = (Major::of(first), first & 0x1f);
        let size = match info {
            0..head::ONE_BYTE => 0,
            head::ONE_BYTE..=head::EIGHT_BYTES => 1 << (info - head::ONE_BYTE),
            INDEFINITE if major == Major::Primitive => return Err("cbor: unexpected \"break\" code".to_owned()),
            INDEFINITE if !matches!(major, Major::Positive | Major::Negative | Major::Tag) => 0,
            _ => return Err(format!("cbor: invalid additional information {info} for type {}", major.name())),
        };
        let number = self.take(size)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let argument = if size == 0 { info.into() } else { number };
        if major == Major::Primitive && info == head::ONE_BYTE && argument < 32 {
            return Err(format!("cbor: invalid simple value {argument} for type {}", major.name()));
        }
        let head = Head { major, info, argument };
        match head.float() {
            Some(float) if float.is_nan() => Err(unacceptable(major, "floating-point NaN")),
            Some(float) if float.is_infinite() => Err(unacceptable(major, "floating-point infinity")),
            _ => Ok(head),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let taken = self.bytes[self.at..].get(..length).ok_or_else(unexpected_end)?;
        self.at += length;
        Ok(taken)
    }

    fn peek(&self) -> Result<u8> {
        self.bytes.get(self.at).copied().ok_or_else(unexpected_end)
    }

    /// Remembers what is wrong; reading goes on, for what is not well-formed counts more.
    fn wrong(&mut self, of_root: bool, why: String) {
        self.document.wrong.get_or_insert(Wrong { why, of_root });
    }

    fn write(&mut self, text: &str) {
        self.document.json.extend_from_slice(text.as_bytes());
    }

    fn write_string(&mut self, text: &str) {
        serde_json::to_writer(&mut self.document.json, text).expect("writing to memory cannot fail");
    }

    /// As many digits as it has: whether they fit is for who knows the type to say.
    fn integer(&mut self, head: &Head) {
        let magnitude = i128::from(head.argument);
        let number = if head.major == Major::Negative { -1 - magnitude } else { magnitude };
        self.write(&number.to_string());
    }

    fn primitive(&mut self, head: &Head) {
        let text = match (head.info, head.float()) {
            (_, Some(float)) => float_text(float),
            (head::FALSE, _) => "false".to_owned(),
            (head::TRUE, _) => "true".to_owned(),
            (head::NULL, _) => "null".to_owned(),
            _ => {
                let why = format!("simple value {} is not recognized", head.argument);
                self.wrong(false, unacceptable(head.major, &why));
                "null".to_owned()
            }
        };
        self.write(&text);
    }

    /// The text of a string of either type.
    fn string(&mut self, head: &Head, later: Option<u64>) -> Result<Cow<'a, str>> {
        let is_text = head.major == Major::Text;
        if is_text {
            self.document.strings = Major::Text.name();
        }
        let bytes =
            if head.info == INDEFINITE { self.chunks(head.major)?.into() } else { self.string_bytes(head)?.into() };
        if is_text {
            return Ok(utf8(bytes).unwrap_or_else(|| {
                self.wrong(false, "cbor: invalid UTF-8 string".to_owned());
                Cow::default()
            }));
        }
        Ok(match later {
            Some(head::BASE64_URL) => URL_SAFE_NO_PAD.encode(&bytes).into(),
            Some(head::BASE64) => standard::encode(&bytes).into(),
            Some(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            // Upstream would keep what is no UTF-8 until JSON is made of it.
            None => match bytes {
                Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
                Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
            },
        })
    }

    fn string_bytes(&mut self, head: &Head) -> Result<&'a [u8]> {
        let length = usize::try_from(head.argument).ok().filter(|length| isize::try_from(*length).is_ok());
        let (name, length_text) = (head.major.name(), head.argument);
        let too_large = || format!("cbor: {name} length {length_text} is too large, causing integer overflow");
        self.take(length.ok_or_else(too_large)?)
    }

    /// A string in pieces, each with a length.
    fn chunks(&mut self, major: Major) -> Result<Vec<u8>> {
        let (name, mut joined) = (major.name(), Vec::new());
        while self.peek()? != BREAK {
            let found = Major::of(self.peek()?);
            if found != major {
                return Err(format!("cbor: wrong element type {} for indefinite-length {name}", found.name()));
            }
            let head = self.head()?;
            if head.info == INDEFINITE {
                return Err(format!("cbor: indefinite-length {name} chunk is not definite-length"));
            }
            joined.extend_from_slice(self.string_bytes(&head)?);
        }
        self.at += 1;
        Ok(joined)
    }

    fn array(&mut self, head: &Head, later: Option<u64>) -> Result<()> {
        self.enter()?;
        self.write("[");
        let mut count = 0;
        while self.has_more(head, count, MAX_ITEMS)? {
            if count > 0 {
                self.write(",");
            }
            self.item(later)?;
            count += 1;
        }
        self.write("]");
        self.depth -= 1;
        Ok(())
    }

    fn map(&mut self, head: &Head, later: Option<u64>) -> Result<()> {
        self.enter()?;
        let of_root = self.depth == 1;
        self.write("{");
        let (begin, mut keys, mut count) = (self.document.json.len(), BTreeSet::new(), 0);
        while self.has_more(head, count, MAX_PAIRS)? {
            let mark = self.document.json.len();
            let key = self.key(later, of_root)?;
            if mark > begin {
                self.write(",");
            }
            let key = key.filter(|key| {
                let is_new = keys.insert(key.clone());
                if !is_new {
                    let why = format!("cbor: found duplicate map key {} at map element index {count}", quote(key));
                    self.wrong(of_root, why);
                }
                is_new
            });
            self.write_string(key.as_deref().unwrap_or_default());
            self.write(":");
            self.item(later)?;
            if key.is_none() {
                self.document.json.truncate(mark);
            }
            count += 1;
        }
        self.write("}");
        self.depth -= 1;
        Ok(())
    }

    /// A key; JSON has none but strings.
    fn key(&mut self, later: Option<u64>, of_root: bool) -> Result<Option<Cow<'a, str>>> {
        let start = self.at;
        let head = self.head()?;
        if matches!(head.major, Major::Bytes | Major::Text) {
            return self.string(&head, later).map(Some);
        }
        self.wrong(of_root, format!("cbor: cannot unmarshal {} into Go value of type string", head.major.name()));
        let mark = self.document.json.len();
        self.at = start;
        self.item(later)?;
        self.document.json.truncate(mark);
        Ok(None)
    }

    /// Whether an array or map goes on after `count`.
    fn has_more(&mut self, head: &Head, count: u64, most: u64) -> Result<bool> {
        let more = if head.info == INDEFINITE { self.peek()? != BREAK } else { count < head.argument };
        let announced = if head.info == INDEFINITE { count + u64::from(more) } else { head.argument };
        if announced > most {
            return Err(match (i64::try_from(announced), head.major) {
                (Err(_), major) => {
                    let name = major.name();
                    format!("cbor: {name} length {announced} is too large, it would cause integer overflow")
                }
                (_, Major::Map) => format!("cbor: exceeded max number of key-value pairs {most} for CBOR map"),
                _ => format!("cbor: exceeded max number of elements {most} for CBOR array"),
            });
        }
        if head.info == INDEFINITE && !more {
            self.at += 1;
        }
        Ok(more)
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(format!("cbor: exceeded max nested level {MAX_DEPTH}")) } else { Ok(()) }
    }

    /// What stands behind a tag, or several.
    fn tagged(&mut self, mut tag: u64, mut later: Option<u64>) -> Result<()> {
        let depth = self.depth;
        loop {
            let next = self.peek()?;
            if head::BIGNUMS.contains(&tag) {
                return Err(unacceptable(Major::Tag, "bignum"));
            }
            self.check_content(tag, next);
            if (head::BASE64_URL..=head::BASE16).contains(&tag) {
                later = Some(tag);
            }
            if Major::of(next) != Major::Tag {
                break;
            }
            self.enter()?;
            tag = self.head()?.argument;
        }
        self.depth = depth;
        // Around the document itself a tag means nothing: what it stands before must be an object all the same.
        if tag == head::EPOCH && depth > 0 { self.epoch() } else { self.item(later) }
    }

    /// What the tags that stand for a time stand before.
    fn check_content(&mut self, tag: u64, first: u8) {
        let major = Major::of(first);
        let wanted = match tag {
            head::TIME if major != Major::Text => "text string",
            head::EPOCH if !matches!(major, Major::Positive | Major::Negative) && !matches!(first, 0xf9..=0xfb) => {
                "integer or floating-point number"
            }
            _ => return,
        };
        self.wrong(false, format!("cbor: tag number {tag} must be followed by {wanted}, got {}", major.name()));
    }

    /// Seconds since 1970 as RFC 3339.
    fn epoch(&mut self) -> Result<()> {
        let start = self.at;
        let head = self.head()?;
        let since = match (head.major, head.float()) {
            (_, Some(float)) => Some(SignedDuration::new(float.trunc() as i64, (float.fract() * 1e9) as i32)),
            (Major::Positive, _) => i64::try_from(head.argument).ok().map(SignedDuration::from_secs),
            (Major::Negative, _) => i64::try_from(head.argument).ok().map(|n| SignedDuration::from_secs(-1 - n)),
            _ => {
                self.at = start;
                return self.item(None);
            }
        };
        let Some(moment) = since.and_then(time::utc) else {
            let why = "decoded time cannot be represented in RFC3339 format with sub-second precision";
            self.wrong(false, format!("cbor: {why}: Time.MarshalText: year outside of range [0,9999]"));
            self.write("null");
            return Ok(());
        };
        self.write_string(&format!("{moment}Z"));
        Ok(())
    }
}

fn unexpected_end() -> String {
    "unexpected EOF".to_owned()
}

fn unacceptable(major: Major, why: &str) -> String {
    format!("cbor: data item of cbor type {} is not accepted by protocol: {why}", major.name())
}

fn float_text(float: f64) -> String {
    serde_json::Number::from_f64(float).map_or_else(|| "null".to_owned(), |number| number.to_string())
}

fn utf8(bytes: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}
